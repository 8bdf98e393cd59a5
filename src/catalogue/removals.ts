/** What prunes put on record before they removed it: a copy that is gone on purpose is no loss, and must not come back. */
import { eachBounded } from '../core/bounded.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { ProofName, PruneName } from '../store/record-layout.ts';
import type { PruneRecord } from './record-types.ts';
import type { Records } from './records.ts';
import { isUnbelievable } from './unbelievable.ts';

/** One snapshot in one destination. */
export type CopyName = { snapshot: SnapshotId; destination: string };

/** Asks whether a copy was removed on purpose. */
export type Removed = (copy: CopyName) => boolean;

const READS_AT_ONCE = 8;

/**
 * Which of `copies`, none of which is there now, a prune removed on purpose. Only records count that a trusted key signed. The
 * record comes before the removal, so one that was never carried out says nothing of a later loss: where a copy was proven
 * good after it was written, it does not count.
 *
 * Reads the prunes since the oldest of the snapshots, from the newest on, and no more than it takes; nothing for nothing asked.
 * Every destination has each record, so one that does not answer is no reason to reject; a record that nobody can read now is.
 */
export async function removedOnPurpose(
  records: Records,
  copies: readonly CopyName[],
  signal: AbortSignal,
): Promise<Removed> {
  if (copies.length === 0) return () => false;
  const found = await removalsOf(records, copies, signal);
  const times = copies.map(({ snapshot }) => snapshotTime(snapshot).getTime());
  const of = { since: new Date(times.reduce(min)), until: new Date(times.reduce(max)) };
  await forgetOutlived(records, found, of, signal);
  return (copy) => found.has(keyOf(copy));
}

/** Every copy that a prune removed on purpose, by the same measure: for whoever looks at everything. */
export async function allRemovals(records: Records, signal: AbortSignal): Promise<CopyName[]> {
  const found = await removalsOf(records, null, signal);
  await forgetOutlived(records, found, {}, signal);
  return [...found.values()].map(({ snapshot, destination }) => ({ snapshot, destination }));
}

type Removal = CopyName & { at: Date };

/** The newest removal of each of `copies` (null = of all there are) by its key. */
async function removalsOf(
  records: Records,
  copies: readonly CopyName[] | null,
  signal: AbortSignal,
): Promise<Map<string, Removal>> {
  const found = new Map<string, Removal>();
  const open = new Map<string, Set<SnapshotId>>();
  for (const { destination, snapshot } of copies ?? []) {
    open.set(destination, (open.get(destination) ?? new Set()).add(snapshot));
  }
  const { names } = await records.prunes(signal);
  for (const name of names.toReversed()) {
    const { destination } = name;
    const wanted = open.get(destination);
    if (copies !== null && (wanted === undefined || !mayName(name, wanted))) continue;
    const record = await believed(() => records.readPrune(name, signal));
    if (record === null) continue;
    for (const snapshot of publishedOf(record)) {
      const removal = { snapshot, destination, at: new Date(record.at) };
      if (copies !== null && wanted?.delete(snapshot) !== true) continue;
      if (!found.has(keyOf(removal))) found.set(keyOf(removal), removal);
    }
    if (wanted?.size === 0) open.delete(destination);
    if (copies !== null && open.size === 0) break;
  }
  return found;
}

/** Takes out of `found` what was proven to be there after its removal was put on record. */
async function forgetOutlived(
  records: Records,
  found: Map<string, Removal>,
  of: { since?: Date; until?: Date },
  signal: AbortSignal,
): Promise<void> {
  if (found.size === 0) return;
  const { names } = await records.proofs(signal, of);
  await eachBounded(
    names.filter((name) => isLater(name, found.get(keyOf(name))?.at)),
    READS_AT_ONCE,
    async (name) => {
      const at = found.get(keyOf(name))?.at;
      const proof = await believed(() => records.readProof(name, signal));
      if (at !== undefined && proof?.verdict === 'good' && new Date(proof.provenAt) > at) found.delete(keyOf(name));
    },
    signal,
  );
}

/** What was left of others belongs to no snapshot, and says nothing of one. */
function publishedOf({ removals }: PruneRecord): SnapshotId[] {
  return removals.flatMap(({ snapshot, what }) => (what === 'snapshot' ? [snapshot as SnapshotId] : []));
}

/** Nothing is removed before it is made. */
function mayName({ run }: PruneName, wanted: ReadonlySet<SnapshotId>): boolean {
  return [...wanted].some((snapshot) => (snapshot as string) < run);
}

function isLater({ proof, verdict }: ProofName, at: Date | undefined): boolean {
  return at !== undefined && verdict === 'good' && snapshotTime(proof as string as SnapshotId) > at;
}

/** null = nobody trusted signed it, or it went away. */
async function believed<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (e) {
    if (isUnbelievable(e)) return null;
    throw e;
  }
}

function keyOf({ snapshot, destination }: CopyName): string {
  return `${snapshot} ${destination}`;
}

function min(a: number, b: number): number {
  return Math.min(a, b);
}

function max(a: number, b: number): number {
  return Math.max(a, b);
}
