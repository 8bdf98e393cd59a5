/** How many backups workers make when they have nothing else to do: a fleet that was never backed up, all of it missed. */
import { loadavg } from 'node:os';
import type { LoadScene } from '../../test/support/load-scene.ts';
import type { RunningWorker } from '../../test/support/worker-scene.ts';
import { usageOf } from './usage.ts';
import { linesOf, saidBy, timeOf } from './watch.ts';

export type Ceiling = {
  workers: number;
  backups: number;
  failed: number;
  perMinute: number;
  /** from the start of the processes until they take jobs, the slowest, in milliseconds */
  startMs: number;
  /** from there until all schedules were set in Redis, in milliseconds */
  setSchedulesMs: number;
  /** of one backup, by worker processes and by this one with the replayed clusters and the KMS, in milliseconds */
  cpuMsPerBackup: { workers: number; clustersAndKms: number };
  /** median and slowest of a run, in milliseconds */
  runMs: { median: number; slowest: number };
  peakBytes: number;
  load: { before: number; after: number };
};

const PATIENCE_MS = 2 * 3_600_000;

/** The first `clusters` of the scene's, of which `done` have their backup already. The workers are ended. */
export async function measureCeiling(
  scene: LoadScene,
  { clusters, done, workers: count }: { clusters: number; done: number; workers: number },
): Promise<Ceiling> {
  const [before = 0] = loadavg();
  const backups = clusters - done;
  // Nothing becomes due for so long; what was due in January is missed.
  await scene.configure(clusters, { cron: '0 0 1 1 *' }, { lookEvery: '1h' });
  const own = process.cpuUsage();
  const spawned = Date.now();
  const workers = Array.from({ length: count }, () => scene.worker());
  await saidBy(workers, 'run ended', backups, PATIENCE_MS);
  const used = await Promise.all(workers.map(({ pid }) => usageOf(pid)));
  const { user, system } = process.cpuUsage(own);
  const [after = 0] = loadavg();
  const started = linesOf(workers, 'run started').map(timeOf);
  const ended = linesOf(workers, 'run ended').map(timeOf);
  const times = durations(workers);
  const takes = linesOf(workers, 'the worker takes jobs').map(timeOf);
  const set = linesOf(workers, 'schedules changed').map(timeOf);
  await Promise.all(workers.map((worker) => worker.end()));
  const ms = (ended.at(-1) ?? 0) - (started[0] ?? 0);
  return {
    workers: count,
    backups,
    failed: linesOf(workers, 'run failed').length,
    perMinute: (backups / ms) * 60_000,
    startMs: Math.max(...takes) - spawned,
    setSchedulesMs: Math.max(...set) - Math.min(...takes),
    cpuMsPerBackup: {
      workers: used.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / backups,
      clustersAndKms: (user + system) / 1000 / backups,
    },
    runMs: { median: times[times.length >> 1] ?? 0, slowest: times.at(-1) ?? 0 },
    peakBytes: Math.max(...used.map(({ peakBytes }) => peakBytes)),
    load: { before, after },
  };
}

/** Of every run that ended, in milliseconds, shortest first. */
export function durations(workers: readonly RunningWorker[]): number[] {
  const began = new Map<unknown, number>();
  const all: number[] = [];
  for (const worker of workers) {
    for (const line of worker.lines) {
      const run = `${worker.pid} ${String(line['cluster'])} ${String(line['dueAt'])}`;
      if (line.msg === 'run started') began.set(run, timeOf(line));
      if (line.msg === 'run ended') all.push(timeOf(line) - (began.get(run) ?? Number.NaN));
    }
  }
  return all.toSorted((a, b) => a - b);
}
