/** A run beside others: where somebody else is at work on the cluster, it waits, and is content with what that one makes. */
import { setTimeout as delay } from 'node:timers/promises';
import type { App } from '../app.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import { systemClock } from '../core/units.ts';
import { type Attempt, attemptSince } from './done-since.ts';
import type { Job, Request } from './job.ts';
import { type Ran, runJob } from './run-job.ts';

/**
 * Timers of two machines never start in the same millisecond: what began so much before this run was meant by the same
 * schedule, in milliseconds.
 */
const SAME_INSTANT_MS = 60_000;
const LOOK_EVERY_MS = 2_000;

/**
 * {@link runJob}; on E_LOCKED it looks whether the other run has done the work, and tries again every two seconds, for
 * `waitMs` at most. Rejects as runJob does, with E_LOCKED when the time is over.
 */
export async function runInTurn(
  job: Job,
  app: App,
  cluster: ClusterName,
  { request, waitMs }: { request: Request; waitMs: number },
  signal: AbortSignal,
): Promise<{ ran: Ran } | { doneBy: Attempt }> {
  const asked = systemClock.now();
  const since = new Date(asked.getTime() - SAME_INSTANT_MS);
  for (let isTold = false; ; isTold = true) {
    let locked: StrongroomError;
    try {
      return { ran: await runJob(job, app, cluster, request, signal) };
    } catch (e) {
      if (!isError(e, 'E_LOCKED')) throw e;
      locked = e;
    }
    signal.throwIfAborted();
    const { catalogue } = await app.snapshotDeps(cluster, signal);
    const records = await app.records(cluster, signal);
    const attempt = await attemptSince({ catalogue, records }, job.name, since, signal);
    if (attempt !== null && attempt.outcome !== 'failed') return { doneBy: attempt };
    if (systemClock.now().getTime() - asked.getTime() >= waitMs) throw locked;
    if (!isTold) {
      const err = locked.toJSON();
      app.log.info({ cluster, job: job.name, err }, 'another run is at work; waiting for it');
    }
    try {
      await delay(LOOK_EVERY_MS, undefined, { signal });
    } catch {
      throw signal.reason;
    }
  }
}
