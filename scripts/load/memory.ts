/** What a worker that has nothing to do holds in memory, by the number of its clusters; and what its first look costs. */
import { loadavg } from 'node:os';
import type { LoadScene } from '../../test/support/load-scene.ts';
import { usageOf } from './usage.ts';
import { linesOf, saidBy, timeOf } from './watch.ts';

export type Memory = {
  clusters: number;
  rssBytes: number;
  peakBytes: number;
  /** the first look at every cluster, in milliseconds; CPU from the start of the process to the end of the second look */
  lookMs: number;
  cpuMs: number;
  /** until the schedules of all were set in an empty Redis, in milliseconds; and what it holds then, with what was missed */
  setSchedulesMs: number;
  redisBytes: number;
  /** runs that it found missed, and asked for; one of them waits for its snapshot */
  missed: number;
  load: number;
};

const PATIENCE_MS = 30 * 60_000;

/** A worker of its own on the first `clusters`, which gets no snapshot of any. It is killed, and Redis emptied. */
export async function measureMemory(scene: LoadScene, clusters: number): Promise<Memory> {
  const [load = 0] = loadavg();
  await scene.redis.flush();
  await scene.configure(clusters, { cron: '0 0 1 1 *' }, { lookEvery: '5s', backups: 1 });
  using _held = scene.fleet.hold();
  const worker = scene.worker();
  await saidBy([worker], 'looked for missed runs', 2, PATIENCE_MS);
  const { cpuMs, rssBytes, peakBytes } = await usageOf(worker.pid);
  const redisBytes = await scene.redisBytes();
  const [takes = Number.NaN] = linesOf([worker], 'the worker takes jobs').map(timeOf);
  const [looked = Number.NaN] = linesOf([worker], 'looked for missed runs').map(timeOf);
  const [set = Number.NaN] = linesOf([worker], 'schedules changed').map(timeOf);
  await worker.end('SIGKILL');
  await scene.redis.flush();
  return {
    clusters,
    rssBytes,
    peakBytes,
    lookMs: looked - set,
    cpuMs,
    setSchedulesMs: set - takes,
    redisBytes,
    missed: worker.count('a run was missed; it is made up for now'),
    load,
  };
}
