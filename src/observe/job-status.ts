/** How the jobs of a cluster went lately, by the signed records of their runs. */
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { CLOCK_TOLERANCE_MS, type JobStatus } from './cluster-status.ts';
import type { KnownRecords } from './record-memory.ts';

/** Older runs say nothing of today, in milliseconds. */
const RUNS_OF_MS = 40 * 86_400_000;
/** A job that failed this often in a row is broken, however long already. Refused records count too: each costs a read. */
const MAX_READ = 50;

/**
 * Jobs with a believable record in the last weeks. Runs from the future are passed over: one wrong clock must not hide all
 * that comes after it. Rejects when runs cannot be listed, or a newest record cannot be asked for: what is older might say
 * something better than the truth.
 */
export async function readJobs(
  records: KnownRecords,
  now: Date,
  signal: AbortSignal,
): Promise<Record<string, JobStatus>> {
  const { names } = await records.runs(new Date(now.getTime() - RUNS_OF_MS), signal);
  const horizon = now.getTime() + CLOCK_TOLERANCE_MS;
  const found = new Map<string, JobStatus>();
  const tried = new Map<string, number>();
  for (const name of names.toReversed()) {
    const { job } = name;
    const made = tried.get(job) ?? 0;
    const status = found.get(job);
    if (made >= MAX_READ || (status !== undefined && status.lastDone !== null)) continue;
    if (snapshotTime(name.run as string as SnapshotId).getTime() > horizon) continue;
    tried.set(job, made + 1);
    const record = await records.run(name, signal);
    if (record === null) continue;
    const isDone = record.outcome === 'done';
    if (status === undefined) {
      found.set(job, { last: record, lastDone: isDone ? record : null, failuresSince: isDone ? 0 : 1 });
    } else if (isDone) status.lastDone = record;
    else status.failuresSince += 1;
  }
  return Object.fromEntries(found);
}
