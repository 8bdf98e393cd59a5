/** How old the newest backup may be by its own schedule. */
import { dueAtOrBefore, lastExpected, type Schedule } from './schedule.ts';

/** A run is not late at the second it is due, in milliseconds. */
const GRACE_MS = 5 * 60_000;

/**
 * Two periods, in milliseconds: one run may be missed, and the next one of it may be at work. Where the times are uneven
 * the last ones count: after a weekend without backups that of Friday is good until the second run of Monday is due, and no longer.
 */
export function ageLimit(schedule: Schedule, now: Date): number {
  const last = lastExpected(schedule, now, GRACE_MS);
  const before = dueAtOrBefore(schedule, new Date(last.getTime() - 1));
  const first = dueAtOrBefore(schedule, new Date(before.getTime() - 1));
  const period = Math.min(last.getTime() - before.getTime(), before.getTime() - first.getTime());
  return Math.max(2 * period, now.getTime() - before.getTime());
}
