/**
 * The worker at a thousand clusters: what it can do, what it holds, what it asks of S3 and KMS, and whether it keeps to its
 * schedule. Real Redis, S3 server and cryptography; the clusters replay what one real server gave.
 * `npm run load -- --clusters 1000 --workers 2 --every 60 --minutes 60 --alone 200 --state 0B --only calls,ceiling,memory,held --json file`
 */
import { writeFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { formatBytes, parseSize } from '../src/core/units.ts';
import { LoadScene, recordSnapshot } from '../test/support/load-scene.ts';
import { build } from './bench/build.ts';
import { machine } from './bench/report.ts';
import { measureCalls } from './load/calls.ts';
import { measureCeiling } from './load/ceiling.ts';
import { measureHeld } from './load/held.ts';
import { measureMemory } from './load/memory.ts';

const PARTS = ['calls', 'ceiling', 'memory', 'held'] as const;

const { values } = parseArgs({
  options: {
    clusters: { type: 'string', default: '1000' },
    workers: { type: 'string', default: '2' },
    /** minutes between two due times; a divisor of 60 */
    every: { type: 'string', default: '60' },
    /** backups that all workers make together, for theirs; default: all that are left */
    together: { type: 'string' },
    /** clusters whose schedule is watched; default: all */
    watched: { type: 'string' },
    /** how long the schedule is watched */
    minutes: { type: 'string', default: '60' },
    /** backups that one worker makes alone, for its ceiling */
    alone: { type: 'string', default: '200' },
    /** how much the state of the recorded server is grown before */
    state: { type: 'string', default: '0B' },
    only: { type: 'string', default: PARTS.join(',') },
    json: { type: 'string' },
  },
});
const clusters = Number(values.clusters);
const workers = Number(values.workers);
const everyMinutes = Number(values.every);
const minutes = Number(values.minutes);
const watched = Number(values.watched ?? clusters);
const alone = Math.min(Number(values.alone), clusters - 1);
const together = Math.min(Number(values.together ?? clusters), clusters - alone);
const only = values.only.split(',');
const isWanted = (part: (typeof PARTS)[number]): boolean => only.includes(part);
const result: Record<string, unknown> = {
  date: new Date().toISOString(),
  machine: machine(),
  loadBefore: loadavg(),
  clusters,
};

async function tell(part: string, measured: unknown): Promise<void> {
  result[part] = measured;
  process.stdout.write(`${part}: ${JSON.stringify(measured, null, 2)}\n`);
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(result, null, 2)}\n`);
}

const { path: main, nodeArgs } = await build('load');
const how = { main, nodeArgs };
const archive = await recordSnapshot(parseSize(values.state));
await tell('archive', formatBytes(archive.length));
if (isWanted('calls')) await tell('calls', await measureCalls(archive, how));
if (isWanted('ceiling') || isWanted('memory') || isWanted('held')) {
  await using scene = await LoadScene.open({ clusters, archive, how });
  await tell('redisEmptyBytes', await scene.redisBytes());
  await tell('one worker', await measureCeiling(scene, { clusters: alone, done: 0, workers: 1 }));
  await tell('all workers', await measureCeiling(scene, { clusters: alone + together, done: alone, workers }));
  if (isWanted('held')) {
    const held = await measureHeld(scene, { clusters: watched, workers, everyMinutes, minutes });
    await tell('held', held);
    if (held.notHeld > 0 || held.failed > 0) process.exitCode = 1;
  }
  if (isWanted('memory')) {
    for (const some of [1, 100, clusters]) {
      if (some <= clusters) await tell(`memory ${some}`, await measureMemory(scene, some));
    }
  }
}
