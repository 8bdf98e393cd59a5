/** Which snapshots are held now. The newest act that can be believed counts: a release that nobody signed releases nothing. */
import { eachBounded } from '../core/bounded.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { HoldName } from '../store/record-layout.ts';
import type { HoldRecord } from './record-types.ts';
import type { Records } from './records.ts';

export type Holds = {
  holds: Map<SnapshotId, HoldRecord>;
  /** acts that cannot be believed; older ones counted in their place */
  refused: StrongroomError[];
  /** destinations that did not answer: they may know of more */
  failures: StrongroomError[];
};

const READS_AT_ONCE = 8;

/** Does `act`, the newest of its snapshot, hold it at `now`? Pure. */
export function isHolding({ act, until }: Pick<HoldRecord, 'act' | 'until'>, now: Date): boolean {
  return act === 'hold' && (until === null || Date.parse(until) > now.getTime());
}

/** The acts of each snapshot, its newest first. Pure. */
export function actsBySnapshot(names: readonly HoldName[]): Map<SnapshotId, HoldName[]> {
  const acts = new Map<SnapshotId, HoldName[]>();
  for (const name of names.toSorted((a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0))) {
    const known = acts.get(name.snapshot);
    if (known === undefined) acts.set(name.snapshot, [name]);
    else known.push(name);
  }
  return acts;
}

/**
 * The newest of `acts`, which come newest first, that can be believed; null = none. Rejects when it is not known whether one
 * can be: a destination that does not answer may have the good copy of it.
 */
export async function newestAct(
  records: Records,
  acts: readonly HoldName[],
  signal: AbortSignal,
): Promise<{ record: HoldRecord | null; refused: StrongroomError[] }> {
  const refused: StrongroomError[] = [];
  for (const name of acts) {
    try {
      return { record: await records.readHold(name, signal), refused };
    } catch (e) {
      if (!isRefusal(e)) throw e;
      refused.push(e);
    }
  }
  return { record: null, refused };
}

/** What is held at `now`, as far as it can be known. Rejects when no destination answers, or a record cannot be read now. */
export async function readHolds(records: Records, now: Date, signal: AbortSignal): Promise<Holds> {
  const { names, failures } = await records.holds(signal);
  const found: Holds = { holds: new Map(), refused: [], failures };
  await eachBounded(
    actsBySnapshot(names),
    READS_AT_ONCE,
    async ([snapshot, acts]) => {
      const { record, refused } = await newestAct(records, acts, signal);
      found.refused.push(...refused);
      if (record !== null && isHolding(record, now)) found.holds.set(snapshot, record);
    },
    signal,
  );
  return found;
}

/**
 * What is held at `now`, for whoever removes: rejects with the error of a destination that does not answer, because it may be
 * the only one that took the record of a hold.
 */
export async function currentHolds(
  records: Records,
  now: Date,
  signal: AbortSignal,
): Promise<Map<SnapshotId, HoldRecord>> {
  const { holds, failures } = await readHolds(records, now, signal);
  if (failures[0] !== undefined) throw failures[0];
  return holds;
}

function isRefusal(e: unknown): e is StrongroomError {
  return isError(e, 'E_SIGNATURE') || isError(e, 'E_MANIFEST') || isError(e, 'E_NOT_FOUND');
}
