/** What should have run by now and did not, by what the destinations hold. Redis is not asked what was done. */
import type { ScheduledJob } from '../queue/plan.ts';
import { attemptSince, type Sources } from '../run/done-since.ts';
import { lastExpected } from '../schedule/schedule.ts';

/** So long a run may take from its start until something of it is seen, in milliseconds; then it counts as missed. */
const GRACE_MS = 5 * 60_000;

/** The due time of `schedule` whose run should be seen by `now`. Only the last one counts: nobody needs yesterday's hourly backups made up for today. */
export function dueByNow({ schedule }: ScheduledJob, now: Date): Date {
  return lastExpected(schedule, now, GRACE_MS);
}

/**
 * Was the run of `job` for `due` missed? To be asked only when no run of it waits in the queue. One that was done, or was
 * tried to the end and failed, was not: that failure was told. What was not missed never will be. Rejects when no
 * destination answers.
 */
export async function wasMissed(sources: Sources, job: ScheduledJob, due: Date, signal: AbortSignal): Promise<boolean> {
  return (await attemptSince(sources, job.job, due, signal)) === null;
}
