/** Ending what BullMQ began, also where Redis is away. */
import { Worker } from 'bullmq';
import type { JobData, JobReturn } from './queues.ts';

export class ClosableWorker extends Worker<JobData, JobReturn> {
  /**
   * Ends what outlives a close that cannot be finished: while Redis is away that waits for a connection to end which has
   * none, and the timer that renews the locks of jobs would keep the process alive. To be called when nothing is at work.
   */
  async letGo(): Promise<void> {
    await this.lockManager.close();
  }
}

/** Resolves with `closing`, or after `ms`; never rejects with what `closing` does later. */
export async function within(ms: number, closing: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  await Promise.race([closing, late.promise]);
  clearTimeout(timer);
}
