/** The worker as a whole: queues that follow the config, runs on the clusters, and a look at the destinations for what was missed. */
import { setTimeout as delay } from 'node:timers/promises';
import { App } from '../app.ts';
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
import type { Job } from '../run/job.ts';
import { type Ran, runJob } from '../run/run-job.ts';
import { missedRun } from './catch-up.ts';

export type FleetOptions = {
  config: Config;
  jobs: readonly Job[];
  clock: Clock;
  log: Log;
  /** told of a run that was missed and is now made up for */
  onMissed(job: ScheduledJob, due: Date): void;
  /** told when what was missed cannot be looked for: no destination of the cluster answers */
  onBlind(job: ScheduledJob, error: StrongroomError): void;
};

/** Clusters that are looked at at the same time: a thousand of them must not open ten thousand connections. */
const LOOKS_AT_ONCE = 8;

/** Opens an app for each run, on the config of that moment, and closes it behind it: it holds nothing that must be closed. */
export class Fleet {
  readonly #options: FleetOptions;
  #config: Config;
  #scheduled: readonly ScheduledJob[];
  /** due times that are known to be done or tried, by schedule: nothing has to be read for those */
  readonly #settled = new Map<string, number>();

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
      await using app = this.#open(onProgress, work.dueAt);
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

  async #run(app: App, job: Job, { cluster: name, dueAt, isCatchUp }: Work, signal: AbortSignal): Promise<JobReturn> {
    const cluster = parseClusterName(name);
    const id = `${name}.${job.name}`;
    const doneBy = async (): Promise<string | null> => {
      if (dueAt === null) return null;
      const attempt = await attemptSince(await this.#sources(app, name, signal), job.name, dueAt, signal);
      if (attempt === null || attempt.outcome === 'failed') return null;
      this.#settle(id, dueAt);
      return attempt.run;
    };
    const before = await doneBy();
    if (before !== null) return { doneBy: before };
    const door = isCatchUp ? 'catch-up' : dueAt === null ? 'command' : 'schedule';
    let ran: Ran;
    try {
      ran = await runJob(job, app, cluster, { door, dueAt }, signal);
    } catch (e) {
      // Locked out by one that has done it meanwhile.
      const by = isError(e, 'E_LOCKED') && !signal.aborted ? await doneBy() : null;
      if (by === null) throw e;
      return { doneBy: by };
    }
    if (dueAt !== null) this.#settle(id, dueAt);
    const outcome = ran.missing.length === 0 ? 'done' : 'partly';
    return { run: ran.run, outcome, ...(ran.snapshot === undefined ? {} : { snapshot: ran.snapshot }) };
  }

  async #lookAt(job: ScheduledJob, queue: QueueWorker, signal: AbortSignal): Promise<void> {
    const now = this.#options.clock.now();
    try {
      await using app = this.#open();
      const isSettled = (due: Date): boolean => (this.#settled.get(job.id) ?? 0) >= due.getTime();
      const missed = await missedRun(() => this.#sources(app, job.cluster, signal), job, now, isSettled, signal);
      if (missed === null) return;
      // Every worker notices it, and it is one miss: whose asking counts tells of it.
      if (await queue.makeUp(job, missed.due)) this.#options.onMissed(job, missed.due);
    } catch (e) {
      if (signal.aborted) return;
      const error = isError(e) ? e : new StrongroomError('E_BUG', `a look at ${job.id} failed`, { cause: e });
      this.#options.onBlind(job, error);
    }
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

  #open(onProgress: OnProgress = unwatched, askedAt: Date | null = null): App {
    return new App(this.#config, { log: this.#options.log, door: 'strongroom worker', onProgress, askedAt });
  }

  #plan(config: Config): ScheduledJob[] {
    return scheduledJobs(
      config.clusters,
      this.#options.jobs.map(({ name }) => name),
    );
  }
}
