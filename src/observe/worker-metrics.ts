/** What one worker did since it started, told by its events; and its queues, asked at each scrape. */
import { isError } from '../core/errors.ts';
import type { ScheduledJob } from '../queue/plan.ts';
import type { QueueName } from '../queue/queues.ts';
import type { WorkerEvent } from '../queue/worker.ts';
import { nextStart } from '../schedule/schedule.ts';
import type { Sample } from './exposition.ts';
import type { WORKER_METRICS } from './metrics.ts';

type Name = keyof typeof WORKER_METRICS;

export const OUTCOMES = ['done', 'partly', 'failed', 'locked', 'skipped', 'interrupted'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** A scrape must not wait for a Redis that is gone, in milliseconds. */
const DEPTH_MS = 2_000;

export type WorkerMetricsOptions = {
  /** jobs by queue and state; rejects when Redis does not answer */
  depth(): Promise<Readonly<Record<QueueName, Readonly<Record<string, number>>>>>;
  /** what the config schedules at this moment */
  scheduled(): readonly ScheduledJob[];
  queues: readonly QueueName[];
  depthMs?: number;
};

type Counted = { name: Name; labels: Readonly<Record<string, string>>; value: number };

/** Its `samples` are a source for the exposition. */
export class WorkerMetrics {
  readonly #options: WorkerMetricsOptions;
  readonly #counts = new Map<string, Counted>();

  constructor(options: WorkerMetricsOptions) {
    this.#options = options;
  }

  /** For WorkerDeps.onEvent. */
  onEvent(event: WorkerEvent): void {
    switch (event.kind) {
      case 'ended':
        this.#countRun(event.work, 'doneBy' in event.result ? 'skipped' : event.result.outcome);
        return;
      case 'failed':
        this.#countRun(event.work, outcomeOf(event.error));
        if (event.willRetry) this.#count('strongroom_retries_total', jobLabels(event.work));
        return;
      case 'stalled':
        this.#count('strongroom_stalled_total', { queue: event.queue });
        return;
      case 'queue-error':
        this.#count('strongroom_queue_errors_total', {});
        return;
      case 'started':
      case 'scheduled':
        return;
    }
  }

  /** For FleetOptions.onMissed. */
  onMissed(job: Pick<ScheduledJob, 'cluster' | 'job'>): void {
    this.#count('strongroom_missed_runs_total', jobLabels(job));
  }

  /** For FleetOptions.onLockWait. */
  onLockWait(job: Pick<ScheduledJob, 'cluster' | 'job'>, ms: number): void {
    this.#count('strongroom_lock_waits_total', jobLabels(job));
    this.#count('strongroom_lock_wait_seconds_total', jobLabels(job), ms / 1000);
  }

  /** For FleetOptions.onBlind. */
  onBlind(job: Pick<ScheduledJob, 'cluster' | 'job'>): void {
    this.#count('strongroom_looks_failed_total', jobLabels(job));
  }

  /**
   * The counters, the schedule and the queues at `now`. Every scheduled job has its counters from the start: a first
   * failure must be seen as a step from zero. Never rejects: without Redis there is strongroom_queue_up 0, and no depth.
   */
  async samples(now: Date): Promise<Sample[]> {
    const scheduled = this.#options.scheduled();
    for (const job of scheduled) {
      const labels = jobLabels(job);
      for (const outcome of OUTCOMES) this.#count('strongroom_runs_total', { ...labels, outcome }, 0);
      this.#count('strongroom_retries_total', labels, 0);
      this.#count('strongroom_missed_runs_total', labels, 0);
      this.#count('strongroom_looks_failed_total', labels, 0);
      this.#count('strongroom_lock_waits_total', labels, 0);
      this.#count('strongroom_lock_wait_seconds_total', labels, 0);
    }
    for (const queue of this.#options.queues) this.#count('strongroom_stalled_total', { queue }, 0);
    this.#count('strongroom_queue_errors_total', {}, 0);
    return [
      ...this.#counts.values(),
      ...scheduled.map((job): Sample => {
        const { start } = nextStart(job.schedule, now);
        return {
          name: 'strongroom_schedule_next_timestamp_seconds',
          labels: jobLabels(job),
          value: start.getTime() / 1000,
        };
      }),
      ...(await this.#depth()),
    ];
  }

  async #depth(): Promise<Sample[]> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error('no answer')), this.#options.depthMs ?? DEPTH_MS);
    try {
      const depth = await Promise.race([this.#options.depth(), late]);
      return [
        { name: 'strongroom_queue_up', labels: {}, value: 1 },
        ...Object.entries(depth).flatMap(([queue, states]) =>
          Object.entries(states).map(
            ([state, value]): Sample => ({ name: 'strongroom_queue_depth', labels: { queue, state }, value }),
          ),
        ),
      ];
    } catch {
      // Whatever went wrong: the queues did not answer, and that is what the metric says.
      return [{ name: 'strongroom_queue_up', labels: {}, value: 0 }];
    } finally {
      clearTimeout(timer);
    }
  }

  #countRun(work: { cluster: string; job: string }, outcome: Outcome): void {
    this.#count('strongroom_runs_total', { ...jobLabels(work), outcome });
  }

  #count(name: Name, labels: Readonly<Record<string, string>>, by = 1): void {
    const key = `${name} ${Object.values(labels).join(' ')}`;
    const counted = this.#counts.get(key) ?? { name, labels, value: 0 };
    counted.value += by;
    this.#counts.set(key, counted);
  }
}

function outcomeOf(error: unknown): Outcome {
  if (isError(error, 'E_LOCKED')) return 'locked';
  return isError(error, 'E_INTERRUPTED') ? 'interrupted' : 'failed';
}

function jobLabels({ cluster, job }: { cluster: string; job: string }): { cluster: string; job: string } {
  return { cluster, job };
}
