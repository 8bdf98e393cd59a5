/** The queues as somebody sees them who takes nothing out: numbers, what is at work, and what happens meanwhile. */
import { Queue, type QueueBaseOptions, QueueEvents } from 'bullmq';
import type { JobData, JobReturn } from './queues.ts';
import { QUEUES, type QueueName } from './queues.ts';

export type SeenRun = { id: string; name: string; state: string; since: Date | null; progress: string };

export type SeenEvent = {
  kind: 'started' | 'progress' | 'ended' | 'failed';
  /** `<queue>/<id>` */
  id: string;
  /** `<cluster>.<job>` */
  name: string;
  text: string;
};

/** What is at work and waits is few; a list of thousands helps nobody. */
const MAX_SHOWN = 100;
const COUNTED = ['active', 'waiting', 'delayed', 'prioritized', 'failed', 'completed'] as const;

/**
 * The owner closes it; without Redis that may never end: BullMQ waits for the end of a connection that there is none of, until
 * that of the caller is closed. `redis`: as of the queue worker; both connections stay the caller's.
 */
export class QueueView implements AsyncDisposable {
  /** they are closed with the view */
  readonly queues: readonly Queue<JobData, JobReturn>[];
  readonly #events: readonly QueueEvents[];
  readonly #listeners = new Set<(event: SeenEvent) => void>();

  constructor(redis: Readonly<Record<'producer' | 'worker', QueueBaseOptions>>, onError: (error: unknown) => void) {
    this.queues = QUEUES.map((name) => new Queue<JobData, JobReturn>(name, redis.producer).on('error', onError));
    this.#events = QUEUES.map((name, i) => {
      const events = new QueueEvents(name, redis.worker);
      const tell = (kind: SeenEvent['kind'], jobId: string, text: string): void => {
        if (this.#listeners.size > 0) this.#tell(i, kind, jobId, text).catch(onError);
      };
      events.on('error', onError);
      events.on('active', ({ jobId }) => tell('started', jobId, 'started'));
      events.on('progress', ({ jobId, data }) => tell('progress', jobId, progressText(data)));
      events.on('completed', ({ jobId, returnvalue }) => tell('ended', jobId, endText(returnvalue)));
      events.on('failed', ({ jobId, failedReason }) => tell('failed', jobId, `failed: ${failedReason}`));
      return events;
    });
  }

  /** Jobs by queue and state. Rejects when Redis does not answer. */
  async counts(): Promise<Record<QueueName, Record<string, number>>> {
    const [backup, upkeep] = await Promise.all(this.queues.map((queue) => queue.getJobCounts(...COUNTED)));
    return { backup: backup ?? {}, upkeep: upkeep ?? {} };
  }

  /** Runs at work, then those that wait; the next time of a schedule is none of them. */
  async current(): Promise<SeenRun[]> {
    const byState = await Promise.all(
      (['active', 'waiting'] as const).map(async (state) => {
        const lists = await Promise.all(this.queues.map((queue) => queue.getJobs([state], 0, MAX_SHOWN - 1, true)));
        return lists.flatMap((jobs, i) =>
          jobs.flatMap((job): SeenRun[] => {
            // A job may end between the list of ids and its own reading.
            if (job === undefined) return [];
            const since = job.processedOn ?? job.timestamp;
            return [
              {
                id: `${QUEUES[i] ?? ''}/${job.id ?? ''}`,
                name: job.name,
                state: state === 'active' ? 'at work' : 'waits',
                since: new Date(since),
                progress: state === 'active' ? progressText(job.progress) : '',
              },
            ];
          }),
        );
      }),
    );
    return byState.flat().slice(0, MAX_SHOWN);
  }

  /** Tells `onEvent` until `signal` aborts. */
  listen(onEvent: (event: SeenEvent) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#listeners.add(onEvent);
    signal.addEventListener('abort', () => this.#listeners.delete(onEvent), { once: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear();
    await Promise.allSettled([...this.#events, ...this.queues].map((one) => one.close()));
  }

  async #tell(queue: number, kind: SeenEvent['kind'], jobId: string, text: string): Promise<void> {
    const job = await this.queues[queue]?.getJob(jobId);
    if (job === undefined) return;
    const event = { kind, id: `${QUEUES[queue] ?? ''}/${jobId}`, name: job.name, text };
    for (const listener of this.#listeners) listener(event);
  }
}

/** What a run reported last, in words; it came through Redis, so nothing is expected of it. */
function progressText(progress: unknown): string {
  if (typeof progress !== 'object' || progress === null) return 'at work';
  const { stage, bytes, totalBytes, message } = progress as Record<string, unknown>;
  const parts = [typeof stage === 'string' ? stage : 'at work'];
  if (typeof bytes === 'number') {
    parts.push(typeof totalBytes === 'number' ? `${bytes} of ${totalBytes} bytes` : `${bytes} bytes`);
  }
  if (typeof message === 'string') parts.push(message);
  return parts.join(', ').slice(0, 200);
}

function endText(returned: unknown): string {
  const value: unknown = typeof returned === 'string' ? parse(returned) : returned;
  if (typeof value !== 'object' || value === null) return 'ended';
  const { outcome, doneBy } = value as Record<string, unknown>;
  if (typeof doneBy === 'string') return 'was done already';
  return outcome === 'partly' ? 'ended, and a promise is not kept' : outcome === 'done' ? 'done' : 'ended';
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
