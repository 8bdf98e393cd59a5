/** The queue beside the dashboard: looked at, and asked for runs. Redis may be away; then only this part of the pages is. */
import type { Config } from '../config/load.ts';
import { StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import { systemClock } from '../core/units.ts';
import type { DashboardQueue, LiveEvent } from '../http/source.ts';
import { scheduledJobs } from '../queue/plan.ts';
import { openRedis, type RedisConnection } from '../queue/redis.ts';
import type { RedisOptions } from '../queue/redis-options.ts';
import { QueueView, type SeenEvent } from '../queue/view.ts';
import { QueueWorker } from '../queue/worker.ts';
import { JOB_NAMES } from '../run/job.ts';

export type QueueDoorOptions = {
  redis: RedisOptions;
  /** the config of this moment: its schedules are what can be asked for */
  config(): Config;
  log: Log;
};

/** Nobody waits longer for a page, in milliseconds. */
const PATIENCE_MS = 3_000;

type Opened = { view: QueueView; asker: QueueWorker };

/** Begins to connect at once, and waits for nothing. The owner disposes it. */
export class QueueDoor implements DashboardQueue, AsyncDisposable {
  readonly #options: QueueDoorOptions;
  readonly #producer: RedisConnection;
  readonly #waiting: RedisConnection;
  readonly #closing = new AbortController();
  #opened: Opened | null = null;
  readonly #listeners = new Map<(event: LiveEvent) => void, AbortSignal>();

  constructor(options: QueueDoorOptions) {
    this.#options = options;
    this.#producer = openRedis(options.redis, {
      role: 'producer',
      onState: ({ state, why }) => {
        if (state === 'ready') options.log.info('the queue is there');
        else if (why !== null) options.log.warn({ err: why.toJSON() }, 'the queue is away');
      },
    });
    this.#waiting = openRedis(options.redis, { role: 'worker' });
  }

  async counts(signal: AbortSignal): ReturnType<DashboardQueue['counts']> {
    return await this.#ask(({ view }) => view.counts(), signal);
  }

  async current(signal: AbortSignal): ReturnType<DashboardQueue['current']> {
    const runs = await this.#ask(({ view }) => view.current(), signal);
    return runs.map(({ name, ...run }) => ({ ...run, ...split(name) }));
  }

  canAsk(cluster: string): readonly string[] {
    return this.#scheduled()
      .filter((job) => job.cluster === cluster)
      .map(({ job }) => job);
  }

  async ask(cluster: string, job: string, who: string, signal: AbortSignal): Promise<string> {
    const scheduled = this.#scheduled().find((one) => one.cluster === cluster && one.job === job);
    if (scheduled === undefined) throw new StrongroomError('E_USAGE', `${job} of ${cluster} is not scheduled`);
    return await this.#ask(({ asker }) => asker.ask(scheduled, { askedBy: who }), signal);
  }

  listen(onEvent: (event: LiveEvent) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#listeners.set(onEvent, signal);
    signal.addEventListener('abort', () => this.#listeners.delete(onEvent), { once: true });
    // Nobody waits for it here: once Redis is there, events come.
    this.#open(this.#closing.signal).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new StrongroomError('E_INTERRUPTED', 'the server is being stopped'));
    this.#listeners.clear();
    // With Redis away a queue waits for it before it closes; the server must stop all the same.
    const closed = Promise.allSettled([this.#opened?.asker.stop(0), this.#opened?.view[Symbol.asyncDispose]()]);
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, PATIENCE_MS);
    await Promise.race([closed, late.promise]);
    clearTimeout(timer);
    await this.#producer[Symbol.asyncDispose]();
    await this.#waiting[Symbol.asyncDispose]();
  }

  #scheduled(): ReturnType<typeof scheduledJobs> {
    return scheduledJobs(this.#options.config().clusters, JOB_NAMES);
  }

  async #ask<T>(ask: (opened: Opened) => Promise<T>, signal: AbortSignal): Promise<T> {
    const either = AbortSignal.any([signal, this.#closing.signal]);
    const opened = await this.#open(either);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(unreachable()), PATIENCE_MS);
    try {
      return await Promise.race([ask(opened), late.promise]);
    } catch (e) {
      either.throwIfAborted();
      throw e instanceof StrongroomError ? e : unreachable(e);
    } finally {
      clearTimeout(timer);
    }
  }

  async #open(signal: AbortSignal): Promise<Opened> {
    await Promise.all([this.#producer.untilReady(PATIENCE_MS, signal), this.#waiting.untilReady(PATIENCE_MS, signal)]);
    if (this.#opened !== null) return this.#opened;
    const redis = { producer: this.#producer.bullmq(), worker: this.#waiting.bullmq() };
    const { log } = this.#options;
    const view = new QueueView(redis, (error) => log.warn({ err: String(error) }, 'the queue reports an error'));
    // It only asks, and is never started: whatever is in the queue is left to the workers.
    const asker = new QueueWorker({
      redis,
      concurrency: { backup: 1, upkeep: 1 },
      perform: () => Promise.reject(new StrongroomError('E_BUG', 'the dashboard took a job')),
      onEvent: (event) => {
        if (event.kind === 'queue-error') log.warn({ err: String(event.error) }, 'the queue reports an error');
      },
      clock: systemClock,
      log,
    });
    this.#opened = { view, asker };
    view.listen((event) => this.#tell(event), this.#closing.signal);
    return this.#opened;
  }

  #tell({ name, ...event }: SeenEvent): void {
    for (const listener of this.#listeners.keys()) listener({ ...event, ...split(name) });
  }
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
