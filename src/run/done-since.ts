/** Was the work of a due time done? The destinations know, whoever did it, and whatever became of the queue. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { RunRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { isUnbelievable } from '../catalogue/unbelievable.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { JobName } from './job.ts';

/** What the destinations hold of one cluster. */
export type Sources = { catalogue: Catalogue; records: Records };

export type Attempt = {
  /** `failed`: it was tried for this due time to the last try, and said why; it is not missed, and not done */
  outcome: RunRecord['outcome'];
  run: string;
  /** when it began */
  at: Date;
};

/**
 * The run of `job` that began at `since` or later, a good one before a failed one; null = nobody has even tried, or whoever
 * did was stopped, or was to try again. A backup counts by its manifest, also where its run record was never written: the
 * process may have died in between.
 * Rejects when no destination answers, or gives a record that it lists.
 */
export async function attemptSince(
  { catalogue, records }: Sources,
  job: JobName,
  since: Date,
  signal: AbortSignal,
): Promise<Attempt | null> {
  if (job === 'backup') {
    const { newest } = await catalogue.latest(signal);
    const at = newest === null ? null : snapshotTime(newest.manifest.snapshot as SnapshotId);
    if (newest !== null && at !== null && at >= since) return { outcome: 'done', run: newest.manifest.run, at };
  }
  const { names } = await records.runs(since, signal);
  let failed: Attempt | null = null;
  for (const name of names.toReversed()) {
    if (name.job !== job) continue;
    let record: RunRecord;
    try {
      record = await records.readRun(name, signal);
    } catch (e) {
      signal.throwIfAborted();
      // A record that cannot be believed is none. One that cannot be read now may be there: nobody runs twice for that.
      if (!isUnbelievable(e)) throw e;
      continue;
    }
    const at = new Date(record.startedAt);
    if (at < since) break;
    // Stopped from outside, it says nothing about the work; and the queue that was to start it again may have been emptied.
    if (record.error?.code === 'E_INTERRUPTED') continue;
    // Its failure was not told, since another try was to follow: that one counts, and it may have been lost with the queue.
    if (record.willRetry === true) continue;
    const attempt = { outcome: record.outcome, run: record.run, at };
    if (record.outcome !== 'failed') return attempt;
    failed ??= attempt;
  }
  return failed;
}
