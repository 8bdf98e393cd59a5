/**
 * When a job is due. Times come from the cron expression alone, never from the end of the run before: nothing drifts.
 * The parser is the one that BullMQ uses, so what fires and what counts as missed are the same times.
 */
import { createHash } from 'node:crypto';
import { CronExpressionParser } from 'cron-parser';
import { StrongroomError } from '../core/errors.ts';

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
export function dueAfter(schedule: Schedule, time: Date): Date {
  return new Date(spanAt(schedule, time).next);
}

/** The last due time at or before `time`. */
export function dueAtOrBefore(schedule: Schedule, time: Date): Date {
  return new Date(spanAt(schedule, time).due);
}

function spanAt(schedule: Schedule, time: Date): Span {
  const known = spansOf(schedule);
  const at = time.getTime();
  const hit = known.find(({ due, next }) => due <= at && at < next);
  if (hit !== undefined) return hit;
  const span = findSpan(schedule, time);
  known.unshift(span);
  if (known.length > SPANS_KEPT) known.pop();
  return span;
}

function findSpan(schedule: Schedule, time: Date): Span {
  // Backwards the parser sees other times than forwards where clocks change, so it only finds where to start.
  const back = iterate(schedule, time);
  back.prev();
  back.prev();
  const times = iterate(schedule, new Date(back.prev().getTime() - 1));
  let due = times.next().toDate();
  let next = times.next().toDate();
  for (; next <= time; next = times.next().toDate()) due = next;
  return { due: due.getTime(), next: next.getTime() };
}

/** A due time and the one after it, in milliseconds since 1970. */
type Span = { due: number; next: number };

/**
 * The parser takes milliseconds to find one time, a yearly one tens of them, and a thousand clusters ask for the same few: at every
 * look, and at every scrape of the metrics, which would stand still for seconds. A due time is a pure function of these two words.
 */
const spans = new Map<string, Span[]>();
/** now, one grace ago, and the one before that */
const SPANS_KEPT = 4;
const CRONS_KEPT = 1_000;

function spansOf({ cron, timeZone }: Schedule): Span[] {
  const key = `${timeZone} ${cron}`;
  const known = spans.get(key);
  if (known !== undefined) return known;
  if (spans.size >= CRONS_KEPT) spans.clear();
  const fresh: Span[] = [];
  spans.set(key, fresh);
  return fresh;
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

function iterate({ cron, timeZone }: Schedule, from: Date): ReturnType<typeof CronExpressionParser.parse> {
  try {
    return CronExpressionParser.parse(cron, { currentDate: from, tz: timeZone });
  } catch (e) {
    throw new StrongroomError('E_CONFIG_INVALID', `the schedule "${cron}" cannot be read`, { cause: e });
  }
}
