/** What the records say of a job before a run: was there a problem, and since when? Whoever ran it, and wherever. */
import type { RunRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { isUnbelievable } from '../catalogue/unbelievable.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { JobName } from './job.ts';

const DAY_MS = 86_400_000;
/** The last run of most jobs was yesterday; only for those of once a month it is worth listing a month. */
const LOOK_BACK_MS = [2 * DAY_MS, 40 * DAY_MS] as const;
/** A longer row of failures began long ago, whenever it was. */
const MAX_READ = 20;

export type Before = {
  job: JobName;
  /** the run itself and what began later do not count */
  before: Date;
  /** of the run: earlier tries for the same due time were told nobody; null = it has none */
  dueAt: Date | null;
};

/**
 * The runs right before that did not keep every promise, newest first, back to the last one that did; empty = the one before
 * was good, or there was none. Rejects when nothing can be listed, or a record cannot be asked for.
 */
export async function badRunsBefore(records: Records, run: Before, signal: AbortSignal): Promise<RunRecord[]> {
  const bad: RunRecord[] = [];
  for await (const record of runsBefore(records, run, signal)) {
    if (record.outcome === 'done' || bad.length >= MAX_READ) break;
    bad.push(record);
  }
  return bad;
}

/** The newest believable run of `job`; null = none in the last weeks. Rejects as {@link badRunsBefore}. */
export async function lastRun(
  records: Records,
  job: JobName,
  now: Date,
  signal: AbortSignal,
): Promise<RunRecord | null> {
  for await (const record of runsBefore(records, { job, before: now, dueAt: null }, signal)) return record;
  return null;
}

/**
 * Did this run keep every promise, and is it still the last word? false also where there is no believable record of it, and
 * where a later run was bad: a good one before that ends nothing.
 */
export async function isLastWord(
  records: Records,
  { job, run, now }: { job: JobName; run: string; now: Date },
  signal: AbortSignal,
): Promise<boolean> {
  const last = await lastRun(records, job, now, signal);
  return last?.run === run && last.outcome === 'done';
}

/** Newest first. */
async function* runsBefore(
  records: Records,
  { job, before, dueAt }: Before,
  signal: AbortSignal,
): AsyncGenerator<RunRecord> {
  const due = dueAt?.toISOString();
  for (const backMs of LOOK_BACK_MS) {
    const { names } = await records.runs(new Date(before.getTime() - backMs), signal);
    const mine = names.filter(
      (name) => name.job === job && snapshotTime(name.run as string as SnapshotId).getTime() < before.getTime(),
    );
    let isAny = false;
    for (const name of mine.toReversed()) {
      let record: RunRecord;
      try {
        record = await records.readRun(name, signal);
      } catch (e) {
        signal.throwIfAborted();
        if (!isUnbelievable(e)) throw e;
        continue;
      }
      if (due !== undefined && record.dueAt === due) continue;
      isAny = true;
      yield record;
    }
    if (isAny) return;
  }
}
