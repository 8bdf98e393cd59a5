/** Which snapshots a restore passes over: found bad, and kept by a lock. The newest mark that can be believed counts. */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { MarkName } from '../store/record-layout.ts';
import type { MarkRecord } from './record-types.ts';
import type { Records } from './records.ts';

export type Marks = {
  /** those whose newest mark says that they are to be ignored */
  ignored: Map<SnapshotId, MarkRecord>;
  /** destinations that did not answer: they may know of more */
  failures: StrongroomError[];
};

/**
 * What is marked now. A mark that nobody trusted signed is none: an older one counts in its place. Rejects when no destination
 * answers, or when it is not known whether a mark can be believed.
 */
export async function readMarks(records: Records, signal: AbortSignal): Promise<Marks> {
  const { names, failures } = await records.marks(signal);
  const ignored = new Map<SnapshotId, MarkRecord>();
  for (const [snapshot, marks] of Map.groupBy(names, (name) => name.snapshot)) {
    const newest = await newestMark(records, marks, signal);
    if (newest?.act === 'ignore') ignored.set(snapshot, newest);
  }
  return { ignored, failures };
}

async function newestMark(
  records: Records,
  marks: readonly MarkName[],
  signal: AbortSignal,
): Promise<MarkRecord | null> {
  for (const name of marks.toSorted((a, b) => (a.id < b.id ? 1 : -1))) {
    try {
      return await records.readMark(name, signal);
    } catch (e) {
      if (!isError(e, 'E_NOT_FOUND') && !isError(e, 'E_SIGNATURE') && !isError(e, 'E_MANIFEST')) throw e;
    }
  }
  return null;
}

/** `marked on 2026-11-22 to be ignored for restore: <why>` */
export function describeMark({ at, why }: MarkRecord): string {
  return `marked on ${at.slice(0, 10)} to be ignored for restore: ${why}`;
}
