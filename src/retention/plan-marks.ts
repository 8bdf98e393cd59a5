/** Snapshots that a restore should pass over: bad wherever they are, and locked, so that nobody can remove them yet. */
import type { SnapshotId } from '../core/ids.ts';
import { readLocks } from './locks.ts';
import type { DestinationFacts, Shared } from './read-facts.ts';

export type PlannedMark = { snapshot: SnapshotId; act: 'ignore' | 'lift'; why: string };

/**
 * The marks to be set and lifted. One bad copy is no reason: with a good one anywhere the snapshot is good. A mark is lifted once a copy
 * was read again after it and found right. Rejects as the stores do.
 */
export async function planMarks(
  destinations: readonly DestinationFacts[],
  { marks }: Pick<Shared, 'marks'>,
  now: Date,
  signal: AbortSignal,
): Promise<PlannedMark[]> {
  const planned: PlannedMark[] = [];
  const good = new Set(
    destinations.flatMap(({ facts }) => facts.filter(({ isGood }) => isGood)).map((f) => f.snapshot),
  );
  for (const snapshot of new Set(destinations.flatMap(({ bad }) => [...bad.keys()]))) {
    if (good.has(snapshot) || marks.has(snapshot)) continue;
    const words: string[] = [];
    let isLocked = false;
    for (const { store, inventory, bad } of destinations) {
      const fault = bad.get(snapshot);
      const objects = inventory.snapshots.get(snapshot);
      if (fault === undefined || objects === undefined) continue;
      const { until } = await readLocks(store, objects, signal);
      isLocked ||= until !== null && until > now;
      words.push(`${store.name}: ${fault}`);
    }
    if (isLocked) planned.push({ snapshot, act: 'ignore', why: words.join('; ') });
  }
  for (const [snapshot, mark] of marks) {
    const proven = destinations.find(({ facts, provenAt }) => {
      const at = provenAt.get(snapshot);
      const isGood = facts.some((one) => one.snapshot === snapshot && one.isGood);
      return isGood && at !== undefined && at > new Date(mark.at);
    });
    if (proven !== undefined) planned.push({ snapshot, act: 'lift', why: `found good in ${proven.store.name} since` });
  }
  return planned;
}
