/** What a worker tells people: of runs, of what was missed, of Redis, of the destinations and of its config. */
import type { RunRecord } from '../catalogue/record-types.ts';
import type { Config } from '../config/load.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import { logObserver } from '../notifications.ts';
import type { NotifyEvent } from '../notify/event.ts';
import { NotifyMetrics } from '../observe/notify-metrics.ts';
import type { ScheduledJob } from '../queue/plan.ts';
import type { RedisState } from '../queue/redis.ts';
import type { Work, WorkerEvent } from '../queue/worker.ts';
import { goodRun, madeUp, missedKeyOf, missedRun, type RunEnd, runKeyOf } from '../run/run-notice.ts';
import { tellRun } from '../run/tell-run.ts';
import type { FleetNotices } from './fleet.ts';
import { both, LiveNotifier } from './live-notifier.ts';
import { blind, configRefused, isAboutRuns, queueAway, sighted } from './trouble.ts';

export type WorkerNoticesOptions = {
  config: Config;
  clock: Clock;
  log: Log;
  /** Redis may be away for so long before it is told, in milliseconds; default a minute */
  queuePatienceMs?: number;
};

const QUEUE_PATIENCE_MS = 60_000;

/** Made by {@link WorkerNotices.start}. Disposing sends what waits, for a few seconds at most. Nothing here ever throws. */
export class WorkerNotices implements FleetNotices, AsyncDisposable {
  readonly metrics: NotifyMetrics;
  readonly #options: WorkerNoticesOptions;
  readonly #live: LiveNotifier;
  readonly #before = new WeakMap<Work, { bad: readonly RunRecord[]; isWhole: boolean }>();
  /** problems whose end was told once by this process, whether it knew of them or not */
  readonly #ended = new Set<string>();
  #isWanted: boolean;
  #queueTimer: NodeJS.Timeout | undefined;

  private constructor(options: WorkerNoticesOptions, live: LiveNotifier, metrics: NotifyMetrics) {
    this.#options = options;
    this.#live = live;
    this.metrics = metrics;
    this.#isWanted = hasSinks(options.config);
  }

  /** Rejects only with the reason of `signal`. */
  static async start(options: WorkerNoticesOptions, signal: AbortSignal): Promise<WorkerNotices> {
    const { config, clock, log } = options;
    const metrics = new NotifyMetrics({
      waiting: () => live.now.waiting(),
      open: () => live.now.open().length,
    });
    const observer = both(logObserver(log), metrics);
    const restore = () => Promise.resolve([]);
    const live: LiveNotifier = await LiveNotifier.start(config, { clock, observer }, restore, signal);
    const notices = new WorkerNotices(options, live, metrics);
    // A process before this one may have ended over a refused config; this one has read it.
    notices.#over(configRefused(null, clock.now()));
    return notices;
  }

  get isWanted(): boolean {
    return this.#isWanted;
  }

  /** Puts other sinks into force, and ends what was told of jobs that `scheduled` does not have any more. */
  reconfigure(config: Config, scheduled: readonly ScheduledJob[]): void {
    this.#isWanted = hasSinks(config);
    this.#live.reconfigure(config);
    const jobs = new Set(scheduled.map(runKeyOf));
    const clusters = new Set(Object.keys(config.clusters));
    this.#live.tell((notifier) => {
      for (const notice of notifier.open()) {
        const about = isAboutRuns(notice);
        if (about === null) continue;
        const { cluster, job } = about;
        if (job === null ? clusters.has(cluster) : jobs.has(runKeyOf({ cluster, job }))) continue;
        const text = 'It is not in the config any more.';
        notifier.notify({ ...notice, state: 'resolved', text, at: this.#options.clock.now(), fields: {} });
      }
    });
  }

  /** For WorkerDeps.onEvent. */
  onEvent(event: WorkerEvent): void {
    const at = this.#options.clock.now();
    if (event.kind === 'started') {
      const { work } = event;
      if (work.isCatchUp && work.dueAt !== null) this.#notify(missedRun(work, work.dueAt, at));
      return;
    }
    if (event.kind === 'ended') {
      const { work, result } = event;
      if ('doneBy' in result) this.#doneBy(work, named(work, result.doneBy, at));
      else {
        const { run, outcome, missing = [] } = result;
        this.#ran(work, { ...named(work, run, at), outcome, missing });
      }
      return;
    }
    if (event.kind !== 'failed' || event.willRetry) return;
    // Somebody else is at work, and speaks for itself; if nobody did the work, it is missed.
    if (isError(event.error, 'E_LOCKED')) return;
    this.#ran(event.work, { ...named(event.work, null, at), outcome: 'failed', error: event.error });
  }

  before(work: Work, known: { bad: readonly RunRecord[]; isWhole: boolean }): void {
    this.#before.set(work, known);
  }

  isOpen(job: ScheduledJob): boolean {
    return this.#live.now.isOpen(runKeyOf(job)) || this.#live.now.isOpen(missedKeyOf(job));
  }

  seen(job: ScheduledJob, last: RunRecord | null): void {
    this.#over(sighted(job.cluster, this.#options.clock.now()));
    if (last?.outcome !== 'done') return;
    // Whoever made that run has told its end; only what holds an incident of ours must hear it from here.
    const end = { ...job, run: last.run, dueAt: null, at: new Date(last.endedAt) };
    this.#live.tell((notifier) => {
      if (notifier.isOpen(runKeyOf(job))) notifier.endedElsewhere(goodRun(end));
      if (notifier.isOpen(missedKeyOf(job))) notifier.endedElsewhere(madeUp(end));
    });
  }

  /** For FleetOptions.onBlind. */
  onBlind(job: ScheduledJob, error: StrongroomError): void {
    this.#notify(blind(job.cluster, error, this.#options.clock.now()));
  }

  /** For the connection to Redis. A blip is no news: it is told when Redis stays away. */
  onRedis({ state, since, why }: RedisState): void {
    if (state === 'ready') {
      clearTimeout(this.#queueTimer);
      this.#queueTimer = undefined;
      this.#over(queueAway(null, since, this.#options.clock.now()));
      return;
    }
    if (why === null) return;
    const patienceMs = this.#options.queuePatienceMs ?? QUEUE_PATIENCE_MS;
    const leftMs = Math.max(0, since.getTime() + patienceMs - this.#options.clock.now().getTime());
    clearTimeout(this.#queueTimer);
    const tell = (): void => this.#notify(queueAway(why, since, this.#options.clock.now()));
    this.#queueTimer = setTimeout(tell, leftMs).unref();
  }

  /** null = the file is good again. */
  onRefusal(error: StrongroomError | null): void {
    const event = configRefused(error, this.#options.clock.now());
    if (error === null) this.#over(event);
    else this.#notify(event);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#queueTimer);
    await this.#live[Symbol.asyncDispose]();
  }

  #ran(work: Work, end: RunEnd, isByOther = false): void {
    const isFirstGood = end.outcome === 'done' && this.#isFirst(runKeyOf(end));
    const bad = this.#before.get(work)?.bad ?? null;
    this.#live.tell((notifier) => tellRun(notifier, end, { bad, isByOther, isFirstGood }));
    if (end.outcome !== 'failed') this.#over(sighted(end.cluster, end.at));
  }

  /** Somebody may have died between his run and telling of it. What is not known to be whole ends no problem. */
  #doneBy(work: Work, end: Omit<RunEnd, 'outcome'>): void {
    if (this.#before.get(work)?.isWhole === true) this.#ran(work, { ...end, outcome: 'done', missing: [] }, true);
    else if (work.isCatchUp) this.#notify(madeUp(end));
  }

  #notify(event: NotifyEvent): void {
    this.#live.tell((notifier) => notifier.notify(event));
  }

  /** The end of a problem; at the first time also of what a process before this one may have told. */
  #over(event: NotifyEvent): void {
    const isFirst = this.#isFirst(event.key);
    this.#live.tell((notifier) => {
      notifier.notify(event);
      if (isFirst) notifier.endedElsewhere(event);
    });
  }

  #isFirst(key: string): boolean {
    if (this.#ended.has(key)) return false;
    this.#ended.add(key);
    return true;
  }
}

function named({ cluster, job, dueAt }: Work, run: string | null, at: Date) {
  return { cluster, job, dueAt, run, at };
}

function hasSinks(config: Config): boolean {
  return Object.keys(config.notifications.sinks).length > 0;
}
