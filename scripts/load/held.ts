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
  /** watched from the first due time on */
  minutes: number;
  /** runs that were to start early enough to have ended meanwhile */
  expected: number;
  ended: number;
  failed: number;
  /** codes of what failed, each as often as it did */
  codes: string[];
  missed: number;
  /** runs for a due time that somebody had done already */
  twice: number;
  /** due times of clusters for which no run ended in time */
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

/** `minutes` may be less than a period: then the runs that start in that part of it are watched. */
export type HeldOptions = { clusters: number; workers: number; everyMinutes: number; minutes: number };

/** For the workers to begin and to look at every cluster once. */
const startMs = (clusters: number): number => 60_000 + clusters * 240;
const LOAD_EVERY_MS = 60_000;
/** A run that starts on time has ended so much later. */
const ENOUGH_MS = 2 * 60_000;

/** Every cluster of the scene has to have a backup by now, or what is missed is made up for in between. The workers are ended. */
export async function measureHeld(scene: LoadScene, options: HeldOptions): Promise<Held> {
  const { clusters, workers: count, everyMinutes, minutes } = options;
  const periodMs = everyMinutes * 60_000;
  // The first due time in front of us is the first whose runs are all seen. Until then the workers start, and look.
  const firstDue = Math.ceil((Date.now() + startMs(clusters)) / 60_000) * 60_000;
  const first = new Date(firstDue).getUTCMinutes() % everyMinutes;
  const at = Array.from({ length: 60 / everyMinutes }, (_, i) => first + i * everyMinutes);
  const cron = `${at.join(',')} * * * *`;
  const jitterMs = Math.round(periodMs * 0.9);
  await scene.configure(clusters, { cron, jitter: `${jitterMs / 1000}s` }, { lookEvery: '2m' });
  const workers = Array.from({ length: count }, () => scene.worker());
  await saidBy(workers, 'looked for missed runs', count, startMs(clusters));
  if (Date.now() > firstDue) throw new Error('the first look was not over when the first run was due');
  const end = firstDue + minutes * 60_000;
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
  // A run that was made up for a moment ago is the run of this due time, too.
  const done = linesOf(workers, 'was done already').filter((line) => timeOf(line) <= end);
  const inTime = new Set([...ended, ...done].map((line) => `${String(line['cluster'])} ${String(line['dueAt'])}`));
  let [expected, notHeld] = [0, 0];
  for (let due = firstDue; due < end; due += periodMs) {
    for (let index = 0; index < clusters; index += 1) {
      const schedule: Schedule = { cron, timeZone: 'UTC', jitterMs, key: `${nameOfCluster(index)} backup` };
      if (startOf(schedule, new Date(due)).getTime() > end - ENOUGH_MS) continue;
      expected += 1;
      if (!inTime.has(`${nameOfCluster(index)} ${new Date(due).toISOString()}`)) notHeld += 1;
    }
  }
  const times = durations(workers);
  return {
    clusters,
    workers: count,
    everyMinutes,
    minutes,
    expected,
    ended: ended.length,
    failed: linesOf(workers, 'run failed').length,
    codes: linesOf(workers, 'run failed').map((line) => codeOf(line['err'])),
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

function codeOf(err: unknown): string {
  return typeof err === 'object' && err !== null && 'code' in err ? String(err.code) : 'unknown';
}
