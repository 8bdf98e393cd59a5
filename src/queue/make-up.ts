/** Asking for a run that was missed: once, by whoever is first, and again when nothing came of it. */
import { randomUUID } from 'node:crypto';
import type { Queue, Job as QueuedJob } from 'bullmq';
import type { ScheduledJob } from './plan.ts';
import { JOB_OPTIONS, type JobData, type JobReturn } from './queues.ts';

/**
 * Puts the run that was missed at `due` into `queue`; true = it was this call that did it. The id keeps the others out,
 * and Redis remembers those that failed for a month: such a one is put back to the waiting ones, or it would be in the
 * way of the run for ever.
 */
export async function askOnce(
  queue: Queue<JobData, JobReturn>,
  { id, cluster }: Pick<ScheduledJob, 'id' | 'cluster'>,
  due: Date,
): Promise<boolean> {
  const jobId = `missed-${id}-${due.getTime()}`;
  const before = await queue.getJob(jobId);
  if (before !== undefined) return await tryAgain(before);
  const foundBy = randomUUID();
  await queue.add(id, { cluster, missedAt: due.toISOString(), foundBy }, { ...JOB_OPTIONS, jobId });
  // Redis keeps the first of two that come at once, and says nothing to the second.
  return (await queue.getJob(jobId))?.data.foundBy === foundBy;
}

async function tryAgain(job: QueuedJob<JobData, JobReturn>): Promise<boolean> {
  if (!(await job.isFailed())) return false;
  try {
    await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true });
    return true;
  } catch (e) {
    // Another worker was quicker: then it has failed no more.
    if (await job.isFailed()) throw e;
    return false;
  }
}
