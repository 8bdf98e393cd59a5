/** What should have run by now and did not, by what the destinations hold. Redis is not asked what was done. */
import type { ScheduledJob } from '../queue/plan.ts';
import { attemptSince, type Sources } from '../run/done-since.ts';
import { lastExpected } from '../schedule/schedule.ts';

/** So long a run may take from its start until something of it is seen, in milliseconds; then it counts as missed. */
const GRACE_MS = 5 * 60_000;

export type Missed = { job: ScheduledJob; due: Date };

/**
 * The due time of `job` that was missed; null = the last one that was due was done, or was tried and failed, which is no
 * secret and no miss. Only the last one counts: nobody needs yesterday's hourly backups made up for today. `isSettled`
 * says what is known already, so that nothing has to be read for it. Rejects when no destination answers.
 */
export async function missedRun(
  sources: () => Promise<Sources>,
  job: ScheduledJob,
  now: Date,
  isSettled: (due: Date) => boolean,
  signal: AbortSignal,
): Promise<Missed | null> {
  const due = lastExpected(job.schedule, now, GRACE_MS);
  if (isSettled(due)) return null;
  const attempt = await attemptSince(await sources(), job.job, due, signal);
  return attempt === null ? { job, due } : null;
}
