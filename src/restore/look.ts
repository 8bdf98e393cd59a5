/** What the target holds now, read from a snapshot of it that is kept nowhere: what the restore would take away. */
import type { ArchiveReport } from '../archive/report.ts';
import { verifyArchive } from '../archive/verify.ts';
import { isError } from '../core/errors.ts';
import { discard, flow, measure } from '../core/flow.ts';
import type { OnProgress } from '../core/progress.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import { takeSnapshot } from '../vault/snapshot.ts';

export type TargetContents = { report: ArchiveReport; tookMs: number } | { unknown: string };

const DEADLINE_MS = 3_600_000;

/** Rejects only on abort: a target that gives no snapshot can still be restored, and the plan says what is not known. */
export async function lookInto(
  active: ActiveNode,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<TargetContents> {
  const start = performance.now();
  const verify = verifyArchive({ signal, requireSealedSums: false });
  const watch = measure((bytes) => onProgress({ stage: 'look at the target', bytes }));
  try {
    await flow(takeSnapshot(active, { signal, deadlineMs: DEADLINE_MS }), [watch, verify.stage], discard, signal);
    return { report: await verify.report, tookMs: performance.now() - start };
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return { unknown: e.message };
  }
}
