/** The worker as a whole: queues that follow the config, runs on the clusters, and a look at the destinations for what was missed. */
import { setTimeout as delay } from 'node:timers/promises';
import { App } from '../app.ts';
import type { OpenOptions } from '../app-options.ts';
import { AwsPool } from '../aws-pool.ts';
import type { RunRecord } from '../catalogue/record-types.ts';
import type { Config } from '../config/load.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { parseClusterName } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { type OnProgress, unwatched } from '../core/progress.ts';
import type { Clock } from '../core/units.ts';
import { type ScheduledJob, scheduledJobs } from '../queue/plan.ts';
import type { JobReturn } from '../queue/queues.ts';
import type { QueueWorker, Work } from '../queue/worker.ts';
import { attemptSince, type Sources } from '../run/done-since.ts';
import { badRunsBefore, isLastWord, lastRun } from '../run/history.ts';
import type { Job } from '../run/job.ts';
import { type Ran, runJob } from '../run/run-job.ts';
import type { Tracing } from '../trace/tracing.ts';
import { dueByNow, wasMissed } from './catch-up.ts';

export type FleetOptions = {
  config: Config;
  jobs: readonly Job[];
  clock: Clock;
  log: Log;
  tracing: Tracing;
  /** told of a run that was missed and is now made up for */
  onMissed(job: ScheduledJob, due: Date): void;
  /** told when what was missed cannot be looked for: no destination of the cluster answers */
  onBlind(job: ScheduledJob, error: StrongroomError): void;
  notices: FleetNotices;
  /** told how long a run took to get the lease of its cluster, or not to get it, in milliseconds */
  onLockWait(work: Work, ms: number): void;
};

/** Those who tell people, and what they are given to go by. */
export type FleetNotices = {
  /** false = nobody is to be told anything, and nothing has to be read for it */
  readonly isWanted: boolean;
  /**
   * Told before the end of `work` is, unless it cannot be read: the bad runs right before it, newest first; and where
   * somebody else had done it, whether that run kept its whole promise and no later one was bad.
   */
  before(work: Work, known: { bad: readonly RunRecord[]; isWhole: boolean }): void;
  /** Is it to be looked up whether somebody else ended a problem of this job? */
  isOpen(job: ScheduledJob): boolean;
  /** The destinations of the cluster answered; with the newest run of the job where it was looked up. */
  seen(job: ScheduledJob, last: RunRecord | null): void;
};

/** What was before a run is worth so long a wait, in milliseconds; where it cannot be read the run is told without. */
const BEFORE_MS = 15_000;

/** Clusters that are looked at at the same time: a thousand of them must not open ten thousand connections. */
const LOOKS_AT_ONCE = 8;

/** Opens an app for each run, on the config of that moment, and closes it behind it. Whoever made it disposes it, after the last run. */
export class Fleet implements Disposable {
  readonly #options: FleetOptions;
  #config: Config;
  #scheduled: readonly ScheduledJob[];
  /** due times that are known to be done or tried, by schedule: nothing has to be read for those */
  readonly #settled = new Map<string, number>();
  /** the last due time that was told of as missed, by schedule */
  readonly #missed = new Map<string, number>();
  readonly #aws = new AwsPool();

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#scheduled = this.#plan(options.config);
  }

  get scheduled(): readonly ScheduledJob[] {
    return this.#scheduled;
  }

  /** Puts another config into force: runs that have begun end on the one before. */
  reconfigure(config: Config): void {
    this.#config = config;
    this.#scheduled = this.#plan(config);
    this.#aws.retire();
  }

  [Symbol.dispose](): void {
    this.#aws[Symbol.dispose]();
  }

  /**
   * Does one piece of work, unless the destinations show that somebody did it since it was due. To be handed to the queue
   * worker. Rejects with what the job rejects with, and with E_INTERRUPTED on abort.
   */
  async perform(work: Work, signal: AbortSignal, onProgress: OnProgress = unwatched): Promise<JobReturn> {
    const job = this.#options.jobs.find(({ name }) => name === work.job);
    if (job === undefined) throw new StrongroomError('E_CONFIG_INVALID', `there is no job "${work.job}"`);
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(new StrongroomError('E_INTERRUPTED', 'the worker was stopped'));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      await using app = this.#open({
        onProgress,
        askedAt: work.dueAt,
        onLockWait: (ms) => this.#options.onLockWait(work, ms),
      });
      return await this.#run(app, job, work, stop.signal);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Looks for missed runs and sets schedules that Redis lost, at once and then again and again, until `signal` aborts; then
   * it resolves. Redis or destinations that do not answer are told of, and asked again at the next look.
   */
  async keepWatch(queue: QueueWorker, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look(queue, signal);
      try {
        await delay(this.#config.worker.lookEvery, undefined, { signal });
      } catch {
        return;
      }
    }
  }

  /** One look. Never rejects but for a defect. */
  async look(queue: QueueWorker, signal: AbortSignal): Promise<void> {
    let busy: ReadonlySet<string>;
    try {
      await queue.setSchedules(this.#scheduled);
      busy = await queue.busy();
    } catch (e) {
      // Redis is away. Its connections say so; what is missed meanwhile is found when it is back.
      this.#options.log.warn({ err: isError(e) ? e.toJSON() : String(e) }, 'the queues cannot be looked at');
      return;
    }
    const todo = this.#scheduled.filter(({ id }) => !busy.has(id));
    const lookers = Array.from({ length: LOOKS_AT_ONCE }, async () => {
      for (let job = todo.pop(); job !== undefined && !signal.aborted; job = todo.pop()) {
        await this.#lookAt(job, queue, signal);
      }
    });
    await Promise.all(lookers);
    this.#options.log.debug({ schedules: this.#scheduled.length }, 'looked for missed runs');
  }

  async #run(app: App, job: Job, work: Work, signal: AbortSignal): Promise<JobReturn> {
    const { cluster: name, dueAt, isCatchUp, isLastTry, askedBy } = work;
    const cluster = parseClusterName(name);
    const id = `${name}.${job.name}`;
    const begun = this.#options.clock.now();
    const done = async (): Promise<{ doneBy: string } | null> => {
      if (dueAt === null) return null;
      const attempt = await attemptSince(await this.#sources(app, name, signal), job.name, dueAt, signal);
      if (attempt === null || attempt.outcome === 'failed') return null;
      this.#settle(id, dueAt);
      await this.#readBefore(app, work, { before: attempt.at, doneBy: attempt.run }, signal);
      return { doneBy: attempt.run };
    };
    const before = await done();
    if (before !== null) return before;
    const door = isCatchUp ? 'catch-up' : dueAt === null ? 'command' : 'schedule';
    const request = { door, dueAt, hasMoreTries: !isLastTry, ...(askedBy === undefined ? {} : { askedBy }) } as const;
    let ran: Ran;
    try {
      ran = await runJob(job, app, cluster, request, signal);
    } catch (e) {
      // Locked out by one that has done it meanwhile.
      const by = isError(e, 'E_LOCKED') && !signal.aborted ? await done() : null;
      if (by !== null) return by;
      await this.#readBefore(app, work, { before: begun, doneBy: null }, signal);
      throw e;
    }
    await this.#readBefore(app, work, { before: begun, doneBy: null }, signal);
    if (dueAt !== null) this.#settle(id, dueAt);
    const outcome = ran.missing.length === 0 ? 'done' : 'partly';
    return {
      run: ran.run,
      outcome,
      ...(ran.snapshot === undefined ? {} : { snapshot: ran.snapshot }),
      ...(outcome === 'done' ? {} : { missing: ran.missing }),
    };
  }

  /** Never rejects: what was before changes nothing of the run. Read while its stores are open. */
  async #readBefore(
    app: App,
    work: Work,
    { before, doneBy }: { before: Date; doneBy: string | null },
    signal: AbortSignal,
  ): Promise<void> {
    const { notices, log } = this.#options;
    // A run that was broken off is tried again, and told then.
    if (!notices.isWanted || signal.aborted) return;
    const soon = AbortSignal.any([signal, AbortSignal.timeout(BEFORE_MS)]);
    const { cluster, job, dueAt } = work;
    try {
      const records = await app.records(cluster, soon);
      const bad = await badRunsBefore(records, { job, before, dueAt }, soon);
      const now = this.#options.clock.now();
      const isWhole = doneBy !== null && (await isLastWord(records, { job, run: doneBy, now }, soon));
      notices.before(work, { bad, isWhole });
    } catch (e) {
      log.warn({ cluster, job, err: isError(e) ? e.toJSON() : String(e) }, 'the runs before this one cannot be read');
    }
  }

  async #lookAt(job: ScheduledJob, queue: QueueWorker, signal: AbortSignal): Promise<void> {
    const { notices, clock } = this.#options;
    const now = clock.now();
    try {
      const due = dueByNow(job, now);
      const isSettled = (this.#settled.get(job.id) ?? 0) >= due.getTime();
      if (isSettled && !notices.isOpen(job)) return;
      await using app = this.#open();
      const sources = await this.#sources(app, job.cluster, signal);
      const isMissed = !isSettled && (await wasMissed(sources, job, due, signal));
      const last = notices.isOpen(job) ? await lastRun(sources.records, job.job, now, signal) : null;
      notices.seen(job, last);
      if (isMissed) await this.#makeUp(job, due, queue);
      // Most runs are made by other workers: each is read of once, and not again at every look.
      else this.#settle(job.id, due);
    } catch (e) {
      if (signal.aborted) return;
      const error = isError(e) ? e : new StrongroomError('E_BUG', `a look at ${job.id} failed`, { cause: e });
      this.#options.onBlind(job, error);
    }
  }

  async #makeUp(job: ScheduledJob, due: Date, queue: QueueWorker): Promise<void> {
    try {
      // Every worker notices it, and it is one miss: whose asking counts tells of it.
      if (!(await queue.makeUp(job, due))) return;
    } catch (e) {
      // Not the destinations: Redis went away between two questions. The next look asks again.
      const err = isError(e) ? e.toJSON() : String(e);
      this.#options.log.warn({ job: job.id, err }, 'a run that was missed cannot be asked for');
      return;
    }
    // One that is made up for in vain is asked for again; it was missed once.
    if (this.#missed.get(job.id) !== due.getTime()) this.#options.onMissed(job, due);
    this.#missed.set(job.id, due.getTime());
  }

  async #sources(app: App, cluster: string, signal: AbortSignal): Promise<Sources> {
    const [{ catalogue }, records] = await Promise.all([
      app.snapshotDeps(cluster, signal),
      app.records(cluster, signal),
    ]);
    return { catalogue, records };
  }

  #settle(id: string, due: Date): void {
    this.#settled.set(id, Math.max(this.#settled.get(id) ?? 0, due.getTime()));
  }

  #open(how: OpenOptions = {}): App {
    const { log, tracing } = this.#options;
    return new App(this.#config, { ...how, log, tracing, door: 'strongroom worker', aws: this.#aws });
  }

  #plan(config: Config): ScheduledJob[] {
    return scheduledJobs(
      config.clusters,
      this.#options.jobs.map(({ name }) => name),
    );
  }
}
