/**
 * How fast, how much memory, and how long the server is kept busy: a bare download of a snapshot against `strongroom
 * backup`, in turns, on one real server whose state grows. `npm run bench -- --sizes 10MiB,200MiB --rounds 3 --json file`.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { formatBytes, parseSize } from '../src/core/units.ts';
import { startCluster } from '../test/support/bao-cluster.ts';
import { startKms } from '../test/support/kms-emulator.ts';
import { grow } from '../test/support/seed-bulk.ts';
import { build, type Program, sources } from './bench/build.ts';
import { measure } from './bench/measure.ts';
import { machine, median, type Run, renderTable, type Subject, summarise } from './bench/report.ts';
import { type Bench, run } from './bench/subjects.ts';
import { ensureTool } from './tools.ts';

const SUBJECTS: readonly Subject[] = ['download', 'directories', 'buckets'];
const HELP_ROUNDS = 9;
/** The promise: whatever the size of the state. */
const MAX_RSS_BYTES = 256 * 2 ** 20;

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '10MiB,200MiB,1GiB' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: SUBJECTS.join(',') },
    json: { type: 'string' },
    'cpu-prof': { type: 'string' },
  },
});
const sizes = values.sizes.split(',').map(parseSize);
const rounds = Number(values.rounds);
const subjects = SUBJECTS.filter((subject) => values.only.split(',').includes(subject));
const profile = values['cpu-prof'];

const say = (line: string): void => void process.stderr.write(`${line}\n`);

const program = await build();
const help = { built: await measureHelp(program), source: await measureHelp(await sources()) };
const runs = await measureRuns();
const rows = summarise(runs);
const document = { date: new Date().toISOString(), machine: machine(), help, rows, runs };
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(document, null, 2)}\n`);
process.stdout.write(`${renderTable(rows)}\n\n`);
const helpMs = ({ medianMs }: { medianMs: number }): string => `${medianMs.toFixed(0)} ms`;
process.stdout.write(`strongroom --help: ${helpMs(help.built)} built, ${helpMs(help.source)} from the sources\n`);
const tooLarge = rows.filter(({ subject, peakRssBytes }) => subject !== 'download' && peakRssBytes > MAX_RSS_BYTES);
if (tooLarge.length > 0) {
  say(`a backup took more than ${formatBytes(MAX_RSS_BYTES)} of memory`);
  process.exitCode = 1;
}

/** Of `--help` as a process, in milliseconds, after one run that fills the cache of compiled code. */
async function measureHelp({ path, nodeArgs }: Program): Promise<{ medianMs: number; leastMs: number; load: number }> {
  const ms: number[] = [];
  let load = 0;
  for (let i = 0; i <= HELP_ROUNDS; i += 1) {
    const measured = await measure(path, ['--help'], { nodeArgs });
    load = measured.load;
    if (i > 0) ms.push(measured.wallMs);
  }
  return { medianMs: median(ms), leastMs: Math.min(...ms), load };
}

async function measureRuns(): Promise<Run[]> {
  await Promise.all([ensureTool('bao-2.7.2'), ensureTool('versitygw')]);
  await using stack = new AsyncDisposableStack();
  const kms = stack.use(await startKms());
  const listenerTimeouts = { http_read_timeout: '30m', http_write_timeout: '30m' };
  const cluster = stack.use(await startCluster({ version: '2.7.2', nodes: 1, listenerTimeouts }));
  const bench: Bench = {
    cluster,
    kms,
    program,
    wrappingKey: kms.createKey({ region: 'eu-central-1' }),
    nodeArgs: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
  };
  // Files of the programs and the cache of compiled code come into memory.
  for (const subject of subjects) await run(bench, subject);
  const all: Run[] = [];
  let grown = 0;
  for (const state of sizes.toSorted((a, b) => a - b)) {
    say(`growing the state to ${formatBytes(state)}`);
    if (state > grown) await grow(cluster, state - grown, { mount: `bench-${state}` });
    grown = Math.max(grown, state);
    for (let round = 1; round <= rounds; round += 1) {
      for (const subject of subjects) {
        const result = await run(bench, subject);
        all.push({ state, subject, round, ...result });
        say(
          `${formatBytes(state)} round ${round} ${subject}: ${(result.wallMs / 1000).toFixed(2)} s, ` +
            `${formatBytes(result.peakRssBytes)}, load ${result.load.toFixed(1)}`,
        );
      }
    }
  }
  return all;
}
