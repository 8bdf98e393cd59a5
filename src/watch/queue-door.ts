/** The queue beside the dashboard: looked at, and asked for runs. Redis may be away; then only this part of the pages is. */
import type { Queue } from 'bullmq';
import type { Config } from '../config/load.ts';
import { StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { DashboardQueue, LiveEvent } from '../http/source.ts';
import { askForRun } from '../queue/ask.ts';
import { scheduledJobs } from '../queue/plan.ts';
import { openRedis, type RedisConnection, type RedisState } from '../queue/redis.ts';
import type { RedisOptions } from '../queue/redis-options.ts';
import { QueueView, type SeenEvent } from '../queue/view.ts';
import { JOB_NAMES } from '../run/job.ts';

export type QueueDoorOptions = {
  redis: RedisOptions;
  /** the config of this moment: its schedules are what can be asked for */
  config(): Config;
  log: Log;
};

/** Nobody waits longer for a page, in milliseconds. */
const PATIENCE_MS = 3_000;
/** For the queues to close while Redis is there, in milliseconds; connections are ended behind it in any case. */
const FAREWELL_MS = 1_000;

/** Begins to connect at once, and waits for nothing. The owner disposes it, which takes less than five seconds without Redis. */
export class QueueDoor implements DashboardQueue, AsyncDisposable {
  readonly #options: QueueDoorOptions;
  readonly #producer: RedisConnection;
  readonly #waiting: RedisConnection;
  readonly #closing = new AbortController();
  #view: QueueView | null = null;
  readonly #listeners = new Set<(event: LiveEvent) => void>();

  constructor(options: QueueDoorOptions) {
    this.#options = options;
    this.#producer = openRedis(options.redis, { role: 'producer', onState: (state) => this.#onState(state) });
    this.#waiting = openRedis(options.redis, { role: 'worker' });
  }

  async counts(signal: AbortSignal): ReturnType<DashboardQueue['counts']> {
    return await this.#ask((view) => view.counts(), signal);
  }

  async current(signal: AbortSignal): ReturnType<DashboardQueue['current']> {
    const runs = await this.#ask((view) => view.current(), signal);
    return runs.map(({ name, ...run }) => ({ ...run, ...split(name) }));
  }

  async queues(signal: AbortSignal): Promise<readonly Queue[]> {
    return (await this.#open(AbortSignal.any([signal, this.#closing.signal]))).queues;
  }

  canAsk(cluster: string): readonly string[] {
    return this.#scheduled()
      .filter((job) => job.cluster === cluster)
      .map(({ job }) => job);
  }

  async ask(cluster: string, job: string, who: string, signal: AbortSignal): Promise<string> {
    const scheduled = this.#scheduled().find((one) => one.cluster === cluster && one.job === job);
    if (scheduled === undefined) throw new StrongroomError('E_USAGE', `${job} of ${cluster} is not scheduled`);
    let isSent = false;
    try {
      return await this.#ask((view) => {
        const queue = view.queues.find(({ name }) => name === scheduled.queue);
        if (queue === undefined) throw new StrongroomError('E_BUG', `there is no queue ${scheduled.queue}`);
        isSent = true;
        return askForRun(queue, scheduled, who);
      }, signal);
    } catch (e) {
      // What was sent may wait in the socket of a Redis that answers in a minute.
      throw new StrongroomError(
        'E_QUEUE_UNREACHABLE',
        isSent
          ? `the queue did not answer: whether it has taken the ${job} of ${cluster} is not known`
          : `the queue does not answer: no ${job} of ${cluster} was asked for`,
        {
          hint: isSent
            ? 'look at /runs when its Redis is there again, before you ask once more'
            : 'look whether its Redis is there, and ask again; strongroom job run does it without the queue',
          cause: e,
        },
      );
    }
  }

  listen(onEvent: (event: LiveEvent) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    // Two pages may follow with one function.
    const listener = (event: LiveEvent): void => onEvent(event);
    this.#listeners.add(listener);
    signal.addEventListener('abort', () => this.#listeners.delete(listener), { once: true });
    const { state } = this.#producer;
    if (state.state === 'away' && state.why !== null) listener(queueEvent(state));
    this.#openSoon();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new StrongroomError('E_INTERRUPTED', 'the server is being stopped'));
    this.#listeners.clear();
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, FAREWELL_MS);
    await Promise.race([this.#view?.[Symbol.asyncDispose](), late.promise]);
    clearTimeout(timer);
    await Promise.all([this.#producer[Symbol.asyncDispose](), this.#waiting[Symbol.asyncDispose]()]);
  }

  #scheduled(): ReturnType<typeof scheduledJobs> {
    return scheduledJobs(this.#options.config().clusters, JOB_NAMES);
  }

  #onState(state: RedisState): void {
    const { log } = this.#options;
    if (state.state === 'ready') {
      log.info('the queue is there');
      // Pages that were opened without Redis wait for events since.
      if (this.#listeners.size > 0) this.#openSoon();
    } else if (state.why !== null) log.warn({ err: state.why.toJSON() }, 'the queue is away');
    if (state.state === 'ready' || state.why !== null) this.#tell(queueEvent(state));
  }

  /** Nobody waits for it: once Redis is there, events come. */
  #openSoon(): void {
    this.#open(this.#closing.signal).catch(() => undefined);
  }

  async #ask<T>(ask: (view: QueueView) => Promise<T>, signal: AbortSignal): Promise<T> {
    const either = AbortSignal.any([signal, this.#closing.signal]);
    const view = await this.#open(either);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(unreachable()), PATIENCE_MS);
    try {
      return await Promise.race([ask(view), late.promise]);
    } catch (e) {
      either.throwIfAborted();
      throw e instanceof StrongroomError ? e : unreachable(e);
    } finally {
      clearTimeout(timer);
    }
  }

  async #open(signal: AbortSignal): Promise<QueueView> {
    await Promise.all([this.#producer.untilReady(PATIENCE_MS, signal), this.#waiting.untilReady(PATIENCE_MS, signal)]);
    if (this.#view !== null) return this.#view;
    const { log } = this.#options;
    this.#view = new QueueView({ producer: this.#producer.bullmq(), worker: this.#waiting.bullmq() }, (error) => {
      if (!this.#closing.signal.aborted) log.warn({ err: String(error) }, 'the queue reports an error');
    });
    this.#view.listen((event) => this.#seen(event), this.#closing.signal);
    return this.#view;
  }

  #seen({ name, ...event }: SeenEvent): void {
    this.#tell({ ...event, ...split(name) });
  }

  #tell(event: LiveEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

function queueEvent({ state, why }: RedisState): LiveEvent {
  if (state === 'ready') return { kind: 'queue-back', text: 'The queue answers again. Reload to see what runs now.' };
  const reason = why === null ? '' : ` (${why.message})`;
  return { kind: 'queue-away', text: `The queue does not answer${reason}: what runs now is not known.` };
}

/** `prod.backup`: names of clusters have no dots. */
function split(name: string): { cluster: string; job: string } {
  const [cluster = '', job = ''] = name.split('.');
  return { cluster, job };
}

function unreachable(cause?: unknown): StrongroomError {
  return new StrongroomError('E_QUEUE_UNREACHABLE', 'the queue does not answer', {
    hint: 'look whether its Redis is there',
    cause,
  });
}
