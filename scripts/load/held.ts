/** Is a schedule held: does every run start when it is to start, and end before the next one is due? */
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { type Schedule, startOf } from '../../src/schedule/schedule.ts';
import { type LoadScene, nameOfCluster } from '../../test/support/load-scene.ts';
import { durations } from './ceiling.ts';
import { usageOf } from './usage.ts';
import { linesOf, saidBy, timeOf } from './watch.ts';

export type Held = {
  clusters: number;
  workers: number;
  everyMinutes: number;
  /** due times whose runs were all watched */
  periods: number;
  ended: number;
  failed: number;
  missed: number;
  /** runs for a due time that somebody had done already */
  twice: number;
  /** due times of clusters without a run that ended in time */
  notHeld: number;
  /** from when a run was to start until it did, in milliseconds */
  lateMs: { median: number; p99: number; latest: number };
  runMs: { median: number; slowest: number };
  /** processors in use on average, 1 = one processor, by each worker; and the share of runs that each made */
  cpu: number[];
  share: number[];
  rssBytes: number[];
  peakBytes: number[];
  redisBytes: number;
  load: number[];
};

export type HeldOptions = { clusters: number; workers: number; everyMinutes: number; periods: number };

const LOAD_EVERY_MS = 60_000;

/** Every cluster of the scene has to have a backup by now, or what is missed is made up for in between. The workers are ended. */
export async function measureHeld(scene: LoadScene, options: HeldOptions): Promise<Held> {
  const { clusters, workers: count, everyMinutes, periods } = options;
  const periodMs = everyMinutes * 60_000;
  const cron = everyMinutes === 60 ? '0 * * * *' : `*/${everyMinutes} * * * *`;
  const jitterMs = Math.round(periodMs * 0.9);
  await scene.configure(clusters, { cron, jitter: `${jitterMs / 1000}s` }, { lookEvery: '2m' });
  const workers = Array.from({ length: count }, () => scene.worker());
  await saidBy(workers, 'looked for missed runs', count, periodMs);
  // The first due time in front of us is the first whose runs are all seen.
  const firstDue = Math.ceil(Date.now() / periodMs) * periodMs;
  const end = firstDue + periods * periodMs;
  const load: number[] = [];
  const used = await Promise.all(workers.map(({ pid }) => usageOf(pid)));
  const watchedFrom = Date.now();
  while (Date.now() < end) {
    await delay(Math.min(LOAD_EVERY_MS, end - Date.now()));
    load.push(loadavg()[0] ?? 0);
  }
  const usedAtEnd = await Promise.all(workers.map(({ pid }) => usageOf(pid)));
  const elapsedMs = Date.now() - watchedFrom;
  const redisBytes = await scene.redisBytes();
  await Promise.all(workers.map((worker) => worker.end()));

  const isWatched = (due: unknown): boolean => {
    const time = new Date(due as string).getTime();
    return time >= firstDue && time < end;
  };
  const ended = linesOf(workers, 'run ended').filter((line) => isWatched(line['dueAt']) && timeOf(line) <= end);
  const late = linesOf(workers, 'run started')
    .filter((line) => isWatched(line['dueAt']))
    .map((line) => {
      const name = String(line['cluster']);
      const schedule: Schedule = { cron, timeZone: 'UTC', jitterMs, key: `${name} backup` };
      return timeOf(line) - startOf(schedule, new Date(line['dueAt'] as string)).getTime();
    })
    .toSorted((a, b) => a - b);
  const inTime = new Set(ended.map((line) => `${String(line['cluster'])} ${String(line['dueAt'])}`));
  let notHeld = 0;
  for (let due = firstDue; due < end; due += periodMs) {
    for (let index = 0; index < clusters; index += 1) {
      if (!inTime.has(`${nameOfCluster(index)} ${new Date(due).toISOString()}`)) notHeld += 1;
    }
  }
  const times = durations(workers);
  return {
    clusters,
    workers: count,
    everyMinutes,
    periods,
    ended: ended.length,
    failed: linesOf(workers, 'run failed').length,
    missed: linesOf(workers, 'a run was missed; it is made up for now').length,
    twice: linesOf(workers, 'was done already').length,
    notHeld,
    lateMs: {
      median: late[late.length >> 1] ?? Number.NaN,
      p99: late[Math.floor(late.length * 0.99)] ?? Number.NaN,
      latest: late.at(-1) ?? Number.NaN,
    },
    runMs: { median: times[times.length >> 1] ?? Number.NaN, slowest: times.at(-1) ?? Number.NaN },
    cpu: usedAtEnd.map(({ cpuMs }, i) => (cpuMs - (used[i]?.cpuMs ?? 0)) / elapsedMs),
    share: workers.map((worker) => worker.count('run ended')),
    rssBytes: usedAtEnd.map(({ rssBytes }) => rssBytes),
    peakBytes: usedAtEnd.map(({ peakBytes }) => peakBytes),
    redisBytes,
    load,
  };
}
