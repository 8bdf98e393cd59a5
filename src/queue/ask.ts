/** Puts a run into a queue outside its schedule. */
import type { Queue } from 'bullmq';
import type { ScheduledJob } from './plan.ts';
import { JOB_OPTIONS, type JobData, type JobReturn } from './queues.ts';

/**
 * Asks for a run of `scheduled` in its queue, whatever else is under way; the id there. Rejects when Redis does not answer:
 * it may have taken the run all the same.
 */
export async function askForRun(
  queue: Queue<JobData, JobReturn>,
  { id, cluster }: Pick<ScheduledJob, 'id' | 'cluster'>,
  askedBy: string,
): Promise<string> {
  const job = await queue.add(id, { cluster, askedBy }, JOB_OPTIONS);
  return job.id ?? '';
}
