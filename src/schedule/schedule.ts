/**
 * When a job is due. Times come from the cron expression alone, never from the end of the run before: nothing drifts.
 * The queue asks here too, so what fires and what counts as missed are the same times.
 */
import { createHash } from 'node:crypto';
import { CronTimes } from './cron-times.ts';

export type Schedule = {
  /** as src/config takes it: five fields, six with seconds first, or @daily and the like */
  cron: string;
  /** IANA name; the hours of `cron` are those of this zone */
  timeZone: string;
  /** a run starts so much later at most, in milliseconds: many clusters on one minute would all start at once */
  jitterMs: number;
  /** cluster and job: spreads the jitter, the same in every worker */
  key: string;
};

/** The first due time behind `time`. An hour that the clocks skip is due when they have moved on; one that comes twice, once. */
export function dueAfter({ cron, timeZone }: Schedule, time: Date): Date {
  return new Date(CronTimes.of(cron, timeZone).after(time.getTime()));
}

/** The last due time at or before `time`. */
export function dueAtOrBefore({ cron, timeZone }: Schedule, time: Date): Date {
  return new Date(CronTimes.of(cron, timeZone).atOrBefore(time.getTime()));
}

/** When the run for `due` starts: always the same for one schedule and one due time, and not the same for two clusters. */
export function startOf({ jitterMs, key }: Schedule, due: Date): Date {
  if (jitterMs <= 0) return due;
  const hash = createHash('sha256').update(`${key} ${due.getTime()}`).digest();
  return new Date(due.getTime() + Math.floor((hash.readUInt32BE(0) / 2 ** 32) * jitterMs));
}

/** The first start behind `time`, with the due time that it is for. */
export function nextStart(schedule: Schedule, time: Date): { due: Date; start: Date } {
  let due = dueAtOrBefore(schedule, time);
  for (;;) {
    const start = startOf(schedule, due);
    if (start > time) return { due, start };
    due = dueAfter(schedule, due);
  }
}

/**
 * The due time whose run should have started by `time`, and has not been missed by less than `graceMs`; the work for it is
 * missing when nothing was done since. A run that starts this moment is not missed yet.
 */
export function lastExpected(schedule: Schedule, time: Date, graceMs: number): Date {
  const latest = dueAtOrBefore(schedule, new Date(time.getTime() - graceMs));
  if (startOf(schedule, latest).getTime() + graceMs <= time.getTime()) return latest;
  return dueAtOrBefore(schedule, new Date(latest.getTime() - 1));
}
