/** Puts a run into a queue outside its schedule. */
import type { Queue } from 'bullmq';
import type { ScheduledJob } from './plan.ts';
import { JOB_OPTIONS, type JobData, type JobReturn } from './queues.ts';

export type AskReason = { missed: Date } | { askedBy: string };

/**
 * Asks for a run of `scheduled` in its queue; the id there. One that was missed is made up for once, however many workers
 * notice it. Rejects when Redis does not answer: it may have taken the run all the same.
 */
export async function askForRun(
  queue: Queue<JobData, JobReturn>,
  { id, cluster }: Pick<ScheduledJob, 'id' | 'cluster'>,
  why: AskReason,
): Promise<string> {
  const data: JobData = { cluster };
  if ('missed' in why) data.missedAt = why.missed.toISOString();
  else data.askedBy = why.askedBy;
  const jobId = 'missed' in why ? `missed-${id}-${why.missed.getTime()}` : undefined;
  const job = await queue.add(id, data, { ...JOB_OPTIONS, ...(jobId === undefined ? {} : { jobId }) });
  return job.id ?? '';
}
