/** Which snapshots a restore passes over: found bad, and kept by a lock. The newest mark that can be believed counts. */
import { isError, type StrongroomError } from '../core/errors.ts';
import { newRunId, type RunId, type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { MarkName } from '../store/record-layout.ts';
import type { MarkRecord } from './record-types.ts';
import type { Records } from './records.ts';

export type Marks = {
  /** those whose newest mark says that they are to be ignored */
  ignored: Map<SnapshotId, MarkRecord>;
  /** the newest act of each snapshot that ever was marked: the next one has to come after it */
  newest: Map<SnapshotId, MarkRecord>;
  /** destinations that did not answer: they may know of more */
  failures: StrongroomError[];
};

/**
 * What is marked now. A mark that nobody trusted signed is none: an older one counts in its place. Rejects when no destination
 * answers, or when it is not known whether a mark can be believed.
 */
export async function readMarks(records: Records, signal: AbortSignal): Promise<Marks> {
  const { names, failures } = await records.marks(signal);
  const newest = new Map<SnapshotId, MarkRecord>();
  for (const [snapshot, marks] of Map.groupBy(names, (name) => name.snapshot)) {
    const mark = await newestMark(records, marks, signal);
    if (mark !== null) newest.set(snapshot, mark);
  }
  const ignored = new Map([...newest].filter(([, { act }]) => act === 'ignore'));
  return { ignored, newest, failures };
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

/** The id of an act that is to count at `now`: after `last`, whatever the clock said under which that was written. */
export function nextMarkId(last: Pick<MarkRecord, 'id'> | undefined, now: Date): RunId {
  const after = last === undefined ? 0 : snapshotTime(last.id as SnapshotId).getTime() + 1;
  return newRunId(new Date(Math.max(now.getTime(), after)));
}

/** `marked on 2026-11-22 to be ignored for restore: <why>` */
export function describeMark({ at, why }: MarkRecord): string {
  return `marked on ${at.slice(0, 10)} to be ignored for restore: ${why}`;
}
