/**
 * Takes jobs from the queues and runs them; keeps the queues' schedules as the config says. Redis may lose everything at
 * any time: what should run is in the config, what was done is in the destinations, and both are looked at again and again.
 */
import { Queue, type QueueBaseOptions, type Job as QueuedJob, UnrecoverableError } from 'bullmq';
import { describeError, isError, StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { OnProgress } from '../core/progress.ts';
import { inScope } from '../core/scope.ts';
import type { Clock } from '../core/units.ts';
import type { JobName } from '../run/job.ts';
import { dueAtOrBefore, nextStart } from '../schedule/schedule.ts';
import { ClosableWorker, within } from './closing.ts';
import { askOnce } from './make-up.ts';
import { changesTo, type ScheduledJob } from './plan.ts';
import { backoffMs, type JobData, type JobReturn, QUEUES, type QueueName, SCHEDULED_OPTIONS } from './queues.ts';

export type Work = {
  cluster: string;
  job: JobName;
  /** the due time that it is for; null = somebody asked for it */
  dueAt: Date | null;
  /** it was missed, and is made up for */
  isCatchUp: boolean;
  /** when it fails now, the queue does not start it again */
  isLastTry: boolean;
  /** whoever asked for it by hand, as the queue has the name */
  askedBy?: string;
};

export type WorkerDeps = {
  /** connection and prefix for asking, which fails soon without Redis, and for waiting, which never does; both stay the caller's */
  redis: Readonly<Record<'producer' | 'worker', QueueBaseOptions>>;
  /** runs at the same time, by queue */
  concurrency: Readonly<Record<QueueName, number>>;
  /** does the work; rejects with a StrongroomError, whose `retryable` decides whether it is tried again */
  perform(work: Work, signal: AbortSignal, onProgress: OnProgress): Promise<JobReturn>;
  /** told of everything that a person or a metric might want to know */
  onEvent(event: WorkerEvent): void;
  clock: Clock;
  log: Log;
};

export type WorkerEvent =
  | { kind: 'started'; work: Work }
  | { kind: 'ended'; work: Work; result: JobReturn }
  | { kind: 'failed'; work: Work; error: unknown; willRetry: boolean }
  | { kind: 'stalled'; queue: QueueName; jobId: string }
  | { kind: 'scheduled'; set: string[]; removed: string[] }
  | { kind: 'queue-error'; error: unknown };

/** A worker that says nothing for so long is taken for dead, and its job is given to another, in milliseconds. */
const LOCK_MS = 30_000;
const LOOK_FOR_STALLED_MS = 10_000;
/** For telling Redis how the last jobs ended, in milliseconds. */
const CLOSE_MS = 5_000;
/** Between two reports of one stage, in milliseconds: an upload reports each part. */
const REPORT_MS = 1_000;
/** A name comes through Redis, where others may write, and goes into a signed record. */
const MAX_NAME = 128;

/** The owner closes it by {@link stop}. Nothing runs before {@link setSchedules} and {@link start}. */
export class QueueWorker {
  readonly #deps: WorkerDeps;
  readonly #queues: Readonly<Record<QueueName, Queue<JobData, JobReturn>>>;
  readonly #workers: readonly ClosableWorker[];
  readonly #atWork = new Set<Promise<JobReturn>>();
  #wanted: ReadonlyMap<string, ScheduledJob> = new Map();

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    const settings = {
      repeatStrategy: (millis: number, opts: { pattern?: string; tz?: string }, name?: string) =>
        this.#nextMillis(millis, opts, name),
      backoffStrategy: (made: number) => backoffMs(made),
    };
    const queue = (name: QueueName): Queue<JobData, JobReturn> =>
      this.#watched(new Queue<JobData, JobReturn>(name, { ...deps.redis.producer, settings }));
    this.#queues = { backup: queue('backup'), upkeep: queue('upkeep') };
    this.#workers = QUEUES.map((name) => {
      // BullMQ hands a signal only to functions that declare all three parameters.
      const processor = (
        job: QueuedJob<JobData, JobReturn>,
        _token?: string,
        signal?: AbortSignal,
      ): Promise<JobReturn> => this.#watchedWork(this.#process(job, signal ?? AbortSignal.abort()));
      const worker = new ClosableWorker(name, processor, {
        ...deps.redis.worker,
        settings,
        concurrency: deps.concurrency[name],
        autorun: false,
        lockDuration: LOCK_MS,
        stalledInterval: LOOK_FOR_STALLED_MS,
        // A job that kills its worker each time must not go round for ever.
        maxStalledCount: 2,
      });
      worker.on('stalled', (jobId) => deps.onEvent({ kind: 'stalled', queue: name, jobId }));
      return this.#watched(worker);
    });
  }

  /** Begins to take jobs. Until Redis is there it waits, and says so by events. */
  start(): void {
    for (const worker of this.#workers) {
      worker.run().catch((error: unknown) => this.#deps.onEvent({ kind: 'queue-error', error }));
    }
  }

  /**
   * Makes the schedules in Redis those of `wanted`: missing and changed ones are set, others removed. To be repeated: Redis
   * may have been emptied since. Rejects when Redis does not answer.
   */
  async setSchedules(wanted: readonly ScheduledJob[]): Promise<void> {
    this.#wanted = new Map(wanted.map((job) => [job.id, job]));
    const set: string[] = [];
    const removed: string[] = [];
    for (const name of QUEUES) {
      const queue = this.#queues[name];
      const found = await queue.getJobSchedulers();
      const changes = changesTo(
        wanted.filter((job) => job.queue === name),
        found,
        this.#deps.clock.now(),
      );
      for (const job of changes.set) {
        await this.#schedule(queue, job);
        set.push(job.id);
      }
      for (const id of changes.remove) {
        await queue.removeJobScheduler(id);
        removed.push(id);
      }
    }
    if (set.length + removed.length > 0) this.#deps.onEvent({ kind: 'scheduled', set, removed });
  }

  /**
   * Asks for the run that was missed at `due`, once, however many workers notice it: true for the one whose asking counts.
   * One that was asked for before and failed without a trace in the destinations is tried again. Rejects without Redis.
   */
  async makeUp(scheduled: Pick<ScheduledJob, 'id' | 'cluster' | 'queue'>, due: Date): Promise<boolean> {
    return await askOnce(this.#queues[scheduled.queue], scheduled, due);
  }

  /** Ids of the schedules whose run waits, is at work, or will be tried again; null = Redis does not answer. */
  async busy(): Promise<ReadonlySet<string>> {
    const jobs = await Promise.all(
      QUEUES.map((name) => this.#queues[name].getJobs(['active', 'waiting', 'prioritized', 'delayed'], 0, -1)),
    );
    const now = this.#deps.clock.now().getTime();
    const isBusy = (job: QueuedJob<JobData, JobReturn>): boolean =>
      // The next run of a schedule waits in the same list as one that will be tried again.
      job.attemptsMade > 0 || job.processedOn !== undefined || job.timestamp + job.delay <= now;
    return new Set(jobs.flat().flatMap((job) => (job !== undefined && isBusy(job) ? [job.name] : [])));
  }

  /** Jobs by state, for metrics. Rejects when Redis does not answer. */
  async depth(): Promise<Record<QueueName, Record<string, number>>> {
    const [backup, upkeep] = await Promise.all(
      QUEUES.map((name) => this.#queues[name].getJobCounts('active', 'waiting', 'delayed', 'prioritized', 'failed')),
    );
    return { backup: backup ?? {}, upkeep: upkeep ?? {} };
  }

  /**
   * Takes no more jobs, and waits `graceMs` for those at work; then they are aborted, which leaves nothing half-published,
   * and their end is waited for. An aborted job is tried again by the next worker. A Redis that is away is not waited for.
   */
  async stop(graceMs: number): Promise<void> {
    const timer = setTimeout(() => {
      for (const worker of this.#workers) worker.cancelAllJobs('the worker is being stopped');
    }, graceMs);
    try {
      const closed = Promise.allSettled(this.#workers.map((worker) => worker.close()));
      await Promise.race([closed, this.#idle()]);
      // BullMQ tells Redis how each job ended, and with Redis away it would do so for ever: the destinations know it.
      await within(CLOSE_MS, closed);
      await this.#idle();
      await Promise.all(this.#workers.map((worker) => worker.letGo()));
    } finally {
      clearTimeout(timer);
      await within(CLOSE_MS, Promise.allSettled(QUEUES.map((name) => this.#queues[name].close())));
    }
  }

  /** Nothing is at work any more. */
  async #idle(): Promise<void> {
    while (this.#atWork.size > 0) await Promise.allSettled(this.#atWork);
  }

  async #schedule(queue: Queue<JobData, JobReturn>, { id, cluster, schedule }: ScheduledJob): Promise<void> {
    await queue.upsertJobScheduler(
      id,
      { pattern: schedule.cron, tz: schedule.timeZone },
      { name: id, data: { cluster, jitterMs: schedule.jitterMs }, opts: SCHEDULED_OPTIONS },
    );
  }

  /** When the next run starts, with its jitter. */
  #nextMillis(millis: number, { pattern, tz }: { pattern?: string; tz?: string }, name = ''): number | undefined {
    const known = this.#wanted.get(name)?.schedule;
    // Another worker has a newer config than this one: whoever of them fires it, it must not be the last time.
    const schedule = known ?? { cron: pattern ?? '', timeZone: tz ?? 'UTC', jitterMs: 0, key: name };
    return nextStart(schedule, new Date(millis)).start.getTime();
  }

  async #process(queued: QueuedJob<JobData, JobReturn>, signal: AbortSignal): Promise<JobReturn> {
    const work = this.#workOf(queued);
    return await inScope({ cluster: work.cluster, job: work.job }, () => this.#perform(work, queued, signal));
  }

  async #perform(work: Work, queued: QueuedJob<JobData, JobReturn>, signal: AbortSignal): Promise<JobReturn> {
    this.#deps.onEvent({ kind: 'started', work });
    try {
      const result = await this.#deps.perform(work, signal, this.#reporter(queued));
      this.#deps.onEvent({ kind: 'ended', work, result });
      return result;
    } catch (error) {
      const mayHelp = signal.aborted || (isError(error) && error.retryable);
      const willRetry = mayHelp && !work.isLastTry;
      this.#deps.onEvent({ kind: 'failed', work, error, willRetry });
      // Message and stack go to Redis; details and causes do not.
      const message = describeError(error);
      if (!mayHelp) throw Object.assign(new UnrecoverableError(message), { cause: error });
      throw new Error(message, { cause: error });
    }
  }

  async #watchedWork(work: Promise<JobReturn>): Promise<JobReturn> {
    this.#atWork.add(work);
    try {
      return await work;
    } finally {
      this.#atWork.delete(work);
    }
  }

  /** Tells Redis how far a run is, for whoever watches; a report that is lost is no reason to stop. */
  #reporter(queued: QueuedJob<JobData, JobReturn>): OnProgress {
    let last = { stage: '', at: 0 };
    return (event) => {
      const at = performance.now();
      if (event.stage === last.stage && at - last.at < REPORT_MS) return;
      last = { stage: event.stage, at };
      queued.updateProgress(event).catch((error: unknown) => this.#deps.onEvent({ kind: 'queue-error', error }));
    };
  }

  #workOf({ name, data, opts, attemptsMade }: QueuedJob<JobData, JobReturn>): Work {
    const job = this.#wanted.get(name);
    if (job === undefined) {
      this.#deps.log.warn({ name }, 'a job that the config of this worker does not schedule is refused');
      throw new UnrecoverableError(`E_CONFIG_INVALID: ${name} is not scheduled by the config of this worker`);
    }
    const isCatchUp = data.missedAt !== undefined;
    let dueAt: Date | null = null;
    if (data.missedAt !== undefined) dueAt = new Date(data.missedAt);
    else if (data.askedBy === undefined) {
      const startsAt = opts.prevMillis;
      if (startsAt === undefined) throw new StrongroomError('E_BUG', `a run of ${name} has no time`);
      dueAt = dueAtOrBefore(job.schedule, new Date(startsAt));
    }
    const askedBy = data.askedBy === undefined ? {} : { askedBy: String(data.askedBy).slice(0, MAX_NAME) };
    const isLastTry = attemptsMade + 1 >= (opts.attempts ?? 1);
    return { cluster: job.cluster, job: job.job, dueAt, isCatchUp, isLastTry, ...askedBy };
  }

  #watched<T extends { on(event: 'error', listener: (error: Error) => void): unknown }>(emitter: T): T {
    emitter.on('error', (error) => this.#deps.onEvent({ kind: 'queue-error', error }));
    return emitter;
  }
}
