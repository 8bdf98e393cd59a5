/** Asking for a run that was missed, in a real Redis: once, and again when nothing came of it. */
import { type Job, Queue, Worker } from 'bullmq';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { askOnce } from '../../src/queue/make-up.ts';
import type { JobData, JobReturn } from '../../src/queue/queues.ts';
import { openRedis, type RedisConnection } from '../../src/queue/redis.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';

const never = new AbortController().signal;
const stack = new AsyncDisposableStack();
const scheduled = { id: 'prod.backup', cluster: 'prod' };
const due = new Date('2026-11-22T03:00:00Z');
const waiting = ['waiting', 'active', 'delayed'] as const;

let redis: RedisServer;
let connection: RedisConnection;
let queues: Queue<JobData, JobReturn>[];

beforeAll(async () => {
  redis = stack.use(await startRedis());
  const at = { type: 'single', address: redis.address } as const;
  connection = stack.use(openRedis({ at, prefix: 'test', db: 0 }, { role: 'worker' }));
  await connection.untilReady(10_000, never);
  queues = [1, 2, 3].map(() => new Queue('backup', connection.bullmq()));
  for (const queue of queues) stack.defer(() => queue.close());
});
afterAll(() => stack.disposeAsync());
beforeEach(() => redis.flush());

const first = (): Queue<JobData, JobReturn> => queues[0] as Queue<JobData, JobReturn>;

/** Runs what waits until `state` is reached. */
async function run(perform: (job: Job<JobData, JobReturn>) => Promise<JobReturn>, state: 'failed' | 'completed') {
  const worker = new Worker<JobData, JobReturn>('backup', perform, {
    ...connection.bullmq(),
    settings: { backoffStrategy: () => 1 },
  });
  try {
    await until(state, async () => ((await first().getJobCounts(state))[state] === 1 ? true : undefined));
  } finally {
    await worker.close();
  }
}

it('of three that notice it at once one asks, and only that one says so', async () => {
  const asked = await Promise.all(queues.map((queue) => askOnce(queue, scheduled, due)));
  expect(asked.filter(Boolean)).toHaveLength(1);
  expect(await first().getJobs([...waiting])).toHaveLength(1);
  expect(await askOnce(first(), scheduled, due)).toBe(false);
});

it('one that failed every try is tried again from the start, once', async () => {
  await askOnce(first(), scheduled, due);
  let tries = 0;
  await run(() => {
    tries += 1;
    return Promise.reject(new Error('held by another run'));
  }, 'failed');
  expect(tries).toBe(5);
  const asked = await Promise.all(queues.map((queue) => askOnce(queue, scheduled, due)));
  expect(asked.filter(Boolean)).toHaveLength(1);
  await run(() => {
    tries += 1;
    return tries < 8 ? Promise.reject(new Error('and again')) : Promise.resolve({ doneBy: 'somebody' });
  }, 'completed');
  expect(tries).toBe(8);
});

it('one that was done is not asked for again', async () => {
  await askOnce(first(), scheduled, due);
  await run(() => Promise.resolve({ doneBy: 'somebody' }), 'completed');
  expect(await askOnce(first(), scheduled, due)).toBe(false);
  expect(await first().getJobs([...waiting])).toEqual([]);
});
