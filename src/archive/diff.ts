/** Compares two archives record by record. A restore re-encrypts nothing: every entry can be proved without a key. */
import type { Bytes } from '../core/flow.ts';
import { type Change, type Difference, MergeJoin, type Side } from './merge-join.ts';
import { readArchive } from './read.ts';
import type { ArchiveReport } from './report.ts';
import { isRestoreChange } from './restore-changes.ts';

/** Keys listed of each kind of verdict; beyond that they are only counted. */
export const MAX_LISTED = 10_000;
/** Stored deflate blocks hand out a slice as it is; a compressed one may inflate a thousandfold, into records waiting. */
const SLICE = 16 * 1024;

export type DiffOptions = {
  product: ArchiveReport['product'];
  /** `type` of the seal of the cluster that wrote `after` */
  sealType: string;
  signal: AbortSignal;
  /** Further differences that are no harm, such as the writes of a cluster that serves already. Default none. */
  isExpected?: (difference: Difference) => boolean;
  /** Longest record that is held in memory to compare. Default that of {@link readArchive}. */
  maxRecordBytes?: number;
};

export type ArchiveDiff = Record<Change | 'identical', number> & {
  /** what a restore itself changes, and what `isExpected` said; in key order, at most MAX_LISTED */
  allowed: Difference[];
  allowedCount: number;
  /** everything else; in key order, at most MAX_LISTED */
  unexpected: Difference[];
  unexpectedCount: number;
  /** nothing unexpected: `after` holds what `before` says */
  isFaithful: boolean;
  before: ArchiveReport;
  after: ArchiveReport;
};

/**
 * Reads both archives to their ends, in lockstep and each completely verified (SHA256SUMS.sealed may be missing: the
 * sanitised archive of a drill has none), and compares values by their bytes. Closes both sources on every path.
 *
 * Rejects with the error of {@link readArchive} when either is broken, with `signal.reason` on abort: there is no verdict
 * from half a comparison. Memory: a slice of records of each side.
 */
export async function diffArchives(before: Bytes, after: Bytes, options: DiffOptions): Promise<ArchiveDiff> {
  const counts = { identical: 0, changed: 0, added: 0, removed: 0 };
  const allowed: Difference[] = [];
  const unexpected: Difference[] = [];
  let [allowedCount, unexpectedCount] = [0, 0];
  const join = new MergeJoin((key, outcome) => {
    counts[outcome] += 1;
    if (outcome === 'identical') return;
    const difference = { kind: outcome, key };
    if (isRestoreChange(difference, options) || options.isExpected?.(difference) === true) {
      allowedCount += 1;
      if (allowedCount <= MAX_LISTED) allowed.push(difference);
    } else {
      unexpectedCount += 1;
      if (unexpectedCount <= MAX_LISTED) unexpected.push(difference);
    }
  });

  // One failure ends both: the other side must not wait for records that never come.
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const read = async (source: Bytes, side: Side): Promise<ArchiveReport> => {
    try {
      const report = await readArchive(
        inStep(source, () => join.turn(side, signal), signal),
        {
          requireSealedSums: false,
          onRecord: ({ key, value, sealWrap }) => join.push(side, key, value, sealWrap),
          ...(options.maxRecordBytes === undefined ? {} : { limits: { maxRecordBytes: options.maxRecordBytes } }),
        },
      );
      join.finish(side);
      return report;
    } catch (e) {
      failed.abort(e);
      throw e;
    }
  };
  const [first, second] = await Promise.allSettled([read(before, 'before'), read(after, 'after')]);
  signal.throwIfAborted();
  // Neither can have failed now: a failure aborts.
  if (first.status === 'rejected') throw first.reason;
  if (second.status === 'rejected') throw second.reason;
  return {
    ...counts,
    allowed,
    allowedCount,
    unexpected,
    unexpectedCount,
    isFaithful: unexpectedCount === 0,
    before: first.value,
    after: second.value,
  };
}

/** `source` in small pieces, each when it is this side's turn. */
async function* inStep(source: Bytes, turn: () => Promise<void> | undefined, signal: AbortSignal): Bytes {
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += SLICE) {
      const waiting = turn();
      if (waiting !== undefined) await waiting;
      signal.throwIfAborted();
      yield chunk.subarray(at, at + SLICE);
    }
  }
}
