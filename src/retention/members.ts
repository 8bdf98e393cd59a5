/** Which snapshots keep a place in a generation now, for whoever looks for them. */
import type { SnapshotId } from '../core/ids.ts';
import { usableBackups } from './facts.ts';
import { type Generation, generationsOf } from './keepers.ts';
import type { PlanDeps } from './prune-plan.ts';
import { readFacts, readShared } from './read-facts.ts';

/**
 * The snapshots that the policy keeps as one of `kind` in any of `deps.destinations`. Opens every manifest, as a prune does: whether
 * one is good, and a backup, no name tells. Rejects with the error of a destination that does not answer.
 */
export async function membersOf(
  deps: PlanDeps,
  kind: Generation['kind'],
  signal: AbortSignal,
): Promise<Set<SnapshotId>> {
  const now = deps.clock.now();
  const shared = await readShared(deps, now, signal);
  const members = new Set<SnapshotId>();
  for (const { store, policy } of deps.destinations) {
    const { facts } = await readFacts(deps, store, shared, signal);
    for (const [snapshot, generations] of generationsOf(usableBackups(facts, now), policy)) {
      if (generations.some((generation) => generation.kind === kind)) members.add(snapshot);
    }
  }
  return members;
}
