/** `strongroom worker`: from the start to the end of the process. */
import type { Config } from '../config/load.ts';
import { traceUrl } from '../config/tracing.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { Listen } from '../core/listen.ts';
import type { Log } from '../core/log.ts';
import { systemClock } from '../core/units.ts';
import type { MetricSource } from '../observe/exposition.ts';
import { WorkerMetrics } from '../observe/worker-metrics.ts';
import { Prober } from '../probe/prober.ts';
import { QUEUES } from '../queue/queues.ts';
import { openRedis, type RedisConnection, type RedisState } from '../queue/redis.ts';
import { silent } from '../queue/redis-errors.ts';
import { QueueWorker, type Work, type WorkerEvent } from '../queue/worker.ts';
import { queueOptions } from '../queue-options.ts';
import type { Job } from '../run/job.ts';
import { openTracing } from '../trace/tracing.ts';
import { serve } from '../watch/serve.ts';
import { watchConfig } from './config-watch.ts';
import { Fleet } from './fleet.ts';
import { judgeRedis } from './redis-trust.ts';
import { WorkerNotices } from './worker-notices.ts';

export type RunWorkerOptions = {
  config: Config;
  jobs: readonly Job[];
  /** reads the config file again */
  load: () => Promise<Config>;
  log: Log;
  /** where metrics and health are shown; null = nowhere */
  listen: Listen | null;
};

/** Until it is said that Redis is still away, in milliseconds. */
const PATIENCE_MS = 30_000;

/**
 * Runs until `signal` aborts, then ends the runs within the configured grace and resolves. Rejects with E_CONFIG_INVALID
 * without a queue in the config, and with E_QUEUE_DENIED, _TLS or _CONFIG when Redis will never take this worker; a Redis that
 * is away is waited for.
 */
export async function runWorker(options: RunWorkerOptions, signal: AbortSignal): Promise<void> {
  const { config, log } = options;
  const redis = await queueOptions(config, signal);
  await using notices = await WorkerNotices.start({ config, clock: systemClock, log }, signal);
  await using tracing = await openTracing(traceUrl(config.tracing, process.env), log);
  let onBack = (): void => undefined;
  const onState = (state: RedisState): void => {
    tellState(log, state);
    notices.onRedis(state);
    // It may have been emptied, and what was due meanwhile was not started.
    if (state.state === 'ready') onBack();
  };
  await using producer = openRedis(redis, { role: 'producer', onState });
  await using waiting = openRedis(redis, { role: 'worker' });

  let queue: QueueWorker | null = null;
  const metrics = new WorkerMetrics({
    depth: async () => {
      // A replica and a full Redis answer every question, and take no job.
      if (queue === null || producer.state.state !== 'ready') throw producer.state.why ?? silent(producer.name);
      return await queue.depth();
    },
    scheduled: () => fleet.scheduled,
    queues: QUEUES,
  });
  using fleet: Fleet = new Fleet({
    config,
    jobs: options.jobs,
    clock: systemClock,
    log,
    tracing,
    onMissed: (job, due) => {
      metrics.onMissed(job);
      log.warn({ job: job.id, due: due.toISOString() }, 'a run was missed; it is made up for now');
    },
    onLockWait: (work, ms) => metrics.onLockWait(work, ms),
    onBlind: (job, error) => {
      metrics.onBlind(job);
      notices.onBlind(job, error);
      log.error({ job: job.id, err: error.toJSON() }, 'it is not known whether a run was missed');
    },
    notices,
  });
  const telemetry = tracing.telemetry === null ? {} : { telemetry: tracing.telemetry };
  const prober = new Prober({ config, clock: systemClock, log });
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  const look = (): void => {
    if (queue !== null) void fleet.look(queue, until);
  };
  onBack = look;
  const working = async (): Promise<void> => {
    for (const connection of [producer, waiting]) {
      if (!(await isReady(connection, log, until))) return;
    }
    if (!(await isJudged(waiting, log, until))) return;
    queue = new QueueWorker({
      redis: { producer: { ...producer.bullmq(), ...telemetry }, worker: { ...waiting.bullmq(), ...telemetry } },
      concurrency: { backup: config.worker.backups, upkeep: config.worker.upkeep },
      perform: (work, abort, onProgress) => fleet.perform(work, abort, onProgress),
      onEvent: (event) => {
        metrics.onEvent(event);
        notices.onEvent(event);
        tellEvent(log, event);
      },
      clock: systemClock,
      log,
    });
    queue.start();
    log.info({ schedules: fleet.scheduled.length }, 'the worker takes jobs');
    await fleet.keepWatch(queue, until);
  };
  try {
    const watching = watchConfig(
      config,
      {
        load: options.load,
        onChange: (next) => {
          fleet.reconfigure(next);
          notices.reconfigure(next, fleet.scheduled);
          prober.reconfigure(next);
          log.info({ clusters: Object.keys(next.clusters).length }, 'the config changed and is in force');
          look();
        },
        onRefusal: (error) => {
          tellRefusal(log, error);
          notices.onRefusal(error);
        },
      },
      until,
    );
    const sources = [
      (now: Date) => metrics.samples(now),
      () => notices.metrics.samples(),
      (now: Date) => prober.samples(now),
    ];
    // Also while Redis is waited for: who asks is told so, and a change of the config is not missed.
    await Promise.all([watching, working(), prober.run(until), showing(options, sources, until)]);
  } finally {
    over.abort();
    prober.close();
    await stop(queue, config.worker.grace);
    log.info('the worker has stopped');
  }
}

async function stop(queue: QueueWorker | null, graceMs: number): Promise<void> {
  await queue?.stop(graceMs);
}

async function showing(
  { config, load, log, listen }: RunWorkerOptions,
  sources: readonly MetricSource[],
  signal: AbortSignal,
): Promise<void> {
  if (listen === null) return;
  const onListening = (url: string): void => log.info({ url }, 'metrics and health are shown');
  await serve({ config, load, listen, clock: systemClock, log, sources, onListening }, signal);
}

/** Waits for Redis as long as it takes; false = stopped meanwhile. */
async function isReady(connection: RedisConnection, log: Log, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    try {
      await connection.untilReady(PATIENCE_MS, signal);
      return true;
    } catch (e) {
      if (signal.aborted) return false;
      if (!isError(e, 'E_QUEUE_UNREACHABLE')) throw e;
      log.error({ err: e.toJSON() }, 'Redis is away; the worker waits for it');
    }
  }
}

/** As {@link isReady}: a Redis that goes away meanwhile is waited for. */
async function isJudged(connection: RedisConnection, log: Log, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    try {
      await judgeRedis(connection, log, signal);
      return true;
    } catch (e) {
      if (signal.aborted) return false;
      if (!isError(e, 'E_QUEUE_UNREACHABLE')) throw e;
      if (!(await isReady(connection, log, signal))) return false;
    }
  }
}

function tellState(log: Log, { state, why }: RedisState): void {
  if (state === 'ready') log.info('Redis is there');
  else if (why !== null) log.error({ err: why.toJSON() }, 'Redis is away: nothing is scheduled until it is back');
}

function tellRefusal(log: Log, error: StrongroomError | null): void {
  if (error === null) log.info('the config file is good again');
  else log.error({ err: error.toJSON() }, 'the changed config is refused; the one before stays in force');
}

function tellEvent(log: Log, event: WorkerEvent): void {
  switch (event.kind) {
    case 'started':
      return log.info(named(event.work), 'run started');
    case 'ended':
      return log.info(
        { ...named(event.work), ...event.result },
        'doneBy' in event.result ? 'was done already' : 'run ended',
      );
    case 'failed': {
      const err = isError(event.error) ? event.error.toJSON() : String(event.error);
      // Two jobs of one cluster that are due in the same minute: that is what the lease is for, and no failure.
      if (event.willRetry && isError(event.error, 'E_LOCKED')) {
        return log.info({ ...named(event.work), err }, 'another run holds the cluster; this one is tried again');
      }
      return log.error({ ...named(event.work), err, willRetry: event.willRetry }, 'run failed');
    }
    case 'stalled':
      return log.warn({ queue: event.queue, id: event.jobId }, 'a worker went silent in the middle of this job');
    case 'scheduled':
      return log.info({ set: event.set, removed: event.removed }, 'schedules changed');
    case 'queue-error':
      return log.warn({ err: String(event.error) }, 'the queue reports an error');
  }
}

function named({ cluster, job, dueAt, isCatchUp }: Work): Record<string, unknown> {
  return { cluster, job, dueAt: dueAt?.toISOString() ?? null, isCatchUp };
}
