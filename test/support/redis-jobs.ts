/** A queue and a worker of BullMQ on connections of ours: the proof that a topology carries jobs. */
import { randomUUID } from 'node:crypto';
import { Queue, Worker } from 'bullmq';
import type { RedisConnection } from '../../src/queue/redis.ts';

export type JobLine = AsyncDisposable & {
  /** Adds a job; resolves with its number when the worker has done it. Rejects when adding fails, or after `timeoutMs`. */
  run: (timeoutMs?: number) => Promise<number>;
  /** adds a job and does not wait for it */
  add: () => Promise<number>;
  /** numbers of the jobs done, in order, doubles included */
  done: readonly number[];
  /** what the worker and the queue told as errors */
  errors: readonly Error[];
};

/** `producer` and `worker` have to be ready; they are the caller's to dispose, after this. */
export async function openJobLine(producer: RedisConnection, worker: RedisConnection): Promise<JobLine> {
  const name = `test-${randomUUID()}`;
  const done: number[] = [];
  const errors: Error[] = [];
  const waiting = new Map<number, () => void>();
  const queue = new Queue(name, { ...producer.bullmq() });
  const doer = new Worker(
    name,
    async ({ data }: { data: { number: number } }) => {
      done.push(data.number);
      waiting.get(data.number)?.();
    },
    { ...worker.bullmq(), runRetryDelay: 200, drainDelay: 1 },
  );
  queue.on('error', (e) => errors.push(e));
  doer.on('error', (e) => errors.push(e));
  const close = async (): Promise<void> => {
    await doer.close(true);
    await queue.close();
  };
  try {
    await queue.waitUntilReady();
    await doer.waitUntilReady();
  } catch (e) {
    await close();
    throw e;
  }
  let last = 0;
  const add = async (): Promise<number> => {
    last += 1;
    const number = last;
    await queue.add('count', { number });
    return number;
  };
  return {
    done,
    errors,
    add,
    run: async (timeoutMs = 20_000) => {
      const finished = Promise.withResolvers<void>();
      const number = last + 1;
      waiting.set(number, finished.resolve);
      const late = setTimeout(
        () => finished.reject(new Error(`job ${number} was not done in ${timeoutMs} ms`)),
        timeoutMs,
      );
      try {
        await Promise.all([add(), finished.promise]);
        return number;
      } finally {
        clearTimeout(late);
      }
    },
    [Symbol.asyncDispose]: close,
  };
}
