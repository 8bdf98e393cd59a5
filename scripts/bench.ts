/**
 * Honest numbers: backup and restore against the least that a client must do, and against the script that a user would
 * write by hand, in turns, on one real server whose state grows.
 * `npm run bench -- --sizes 10MiB,200MiB --rounds 3 --only download,buckets --json file --cpu-prof folder`
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { formatBytes, formatDuration, parseSize } from '../src/core/units.ts';
import { startCluster } from '../test/support/bao-cluster.ts';
import { startKms } from '../test/support/kms-emulator.ts';
import { grow } from '../test/support/seed-bulk.ts';
import { aims, renderAim } from './bench/aims.ts';
import { BACKUPS } from './bench/backups.ts';
import type { Bench } from './bench/bench.ts';
import { build, type Program, sources } from './bench/build.ts';
import { measure, nodeCommand } from './bench/measure.ts';
import { machine, median, renderTables, seconds, summarise } from './bench/report.ts';
import { RESTORES, type Stock, takeStock } from './bench/restores.ts';
import { chosen, type Result, type Run, SUBJECTS, type Subject } from './bench/subjects.ts';
import { measureTotalLoss, type TotalLoss } from './bench/total-loss.ts';
import { ensureTool } from './tools.ts';

const HELP_ROUNDS = 9;

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '10MiB,200MiB,1GiB' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    json: { type: 'string' },
    'cpu-prof': { type: 'string' },
  },
});
const sizes = values.sizes.split(',').map(parseSize);
const rounds = Number(values.rounds);
const { subjects, extras } = chosen(values.only);
const profile = values['cpu-prof'];

const say = (line: string): void => void process.stderr.write(`${line}\n`);

const program = await build();
const help = extras.includes('help')
  ? { built: await measureHelp(program), source: await measureHelp(await sources()) }
  : null;
const runs = subjects.length > 0 ? await measureRuns() : [];
const totalLoss = extras.includes('total-loss') ? await measureTotalLoss() : null;
const rows = summarise(runs);
const held = aims(rows);
const document = { date: new Date().toISOString(), machine: machine(), help, rows, aims: held, totalLoss, runs };
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(document, null, 2)}\n`);
process.stdout.write(`${renderTables(rows)}\n\n${held.map((aim) => `${renderAim(aim)}\n`).join('')}`);
if (totalLoss !== null) process.stdout.write(`${renderTotalLoss(totalLoss)}\n`);
if (help !== null) process.stdout.write(`${renderHelp(help)}\n`);
if (held.some(({ isMet, isPromise }) => isPromise && !isMet)) process.exitCode = 1;

/** Of `--help` as a process, in milliseconds, after one run that fills the cache of compiled code. */
async function measureHelp({ path, nodeArgs }: Program): Promise<Start> {
  const ms: number[] = [];
  let load = 0;
  for (let i = 0; i <= HELP_ROUNDS; i += 1) {
    const measured = await measure([nodeCommand('--help', path, ['--help'], nodeArgs)]);
    load = measured.load;
    if (i > 0) ms.push(measured.wallMs);
  }
  return { medianMs: median(ms), leastMs: Math.min(...ms), load };
}

type Start = { medianMs: number; leastMs: number; load: number };

function renderHelp({ built, source }: { built: Start; source: Start }): string {
  const text = ({ medianMs }: Start): string => `${medianMs.toFixed(0)} ms`;
  return `strongroom --help: ${text(built)} built, ${text(source)} from the sources`;
}

async function measureRuns(): Promise<Run[]> {
  const [bao, age, aws] = await Promise.all([
    ensureTool('bao-2.7.2'),
    ensureTool('age'),
    ensureTool('aws'),
    ensureTool('versitygw'),
  ]);
  await using stack = new AsyncDisposableStack();
  const kms = stack.use(await startKms());
  const listenerTimeouts = { http_read_timeout: '30m', http_write_timeout: '30m' };
  // A seal that opens by itself: a restore then waits for no shares of anybody.
  const seal = { type: 'static', keyId: 'bench', keyHex: randomBytes(32).toString('hex') } as const;
  const cluster = stack.use(await startCluster({ version: '2.7.2', nodes: 1, seal, listenerTimeouts }));
  const bench: Bench = {
    cluster,
    kms,
    program,
    wrappingKey: kms.createKey({ region: 'eu-central-1' }),
    nodeArgs: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
    tools: { bao, age, aws },
  };
  const backups = subjects.filter((subject) => isIn(BACKUPS, subject));
  // Files of the programs and the cache of compiled code come into memory.
  for (const subject of backups) await BACKUPS[subject](bench);
  const all: Run[] = [];
  let grown = 0;
  for (const state of sizes.toSorted((a, b) => a - b)) {
    say(`growing the state to ${formatBytes(state)}`);
    if (state > grown) await grow(cluster, state - grown, { mount: `bench-${state}` });
    grown = Math.max(grown, state);
    all.push(...(await inTurns(state, backups, (subject) => BACKUPS[subject](bench))));
    all.push(...(await measureRestores(bench, state)));
  }
  return all;
}

async function measureRestores(bench: Bench, state: number): Promise<Run[]> {
  const restores = subjects.filter((subject) => isIn(RESTORES, subject));
  if (restores.length === 0) return [];
  await using stock: Stock = await takeStock(bench);
  return await inTurns(state, restores, (subject) => RESTORES[subject](bench, stock));
}

/** Every subject once a round; each round begins with another one, so that none always follows the same. */
async function inTurns<S extends Subject>(
  state: number,
  those: readonly S[],
  run: (subject: S) => Promise<Result>,
): Promise<Run[]> {
  const all: Run[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const first = (round - 1) % Math.max(1, those.length);
    for (const subject of [...those.slice(first), ...those.slice(0, first)]) {
      const result = await run(subject);
      all.push({ state, subject, round, ...result });
      say(
        `${formatBytes(state)} round ${round} ${SUBJECTS[subject].act}, ${SUBJECTS[subject].label}: ` +
          `${seconds(result.wallMs)}, CPU ${seconds(result.cpuMs)}, ${formatBytes(result.peakRssBytes)}, ` +
          `load ${result.load.toFixed(1)}`,
      );
    }
  }
  return all;
}

function isIn<S extends Subject>(those: Readonly<Record<S, unknown>>, subject: Subject): subject is S {
  return Object.hasOwn(those, subject);
}

function renderTotalLoss({ ms, acts }: TotalLoss): string {
  const parts = acts.map(({ what, ms: part }) => `${what} ${formatDuration(part)}`).join(', ');
  return `total loss to serving: ${formatDuration(ms)} (${parts})`;
}
