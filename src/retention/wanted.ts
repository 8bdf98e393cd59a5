/** Which copies a destination should have that it has not: those that its policy would keep, were they there. */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { Store } from '../store/store.ts';
import type { RetentionPolicy, SnapshotFacts } from './facts.ts';
import { decide } from './policy.ts';
import { type DestinationFacts, type ReadDeps, readFacts, readShared } from './read-facts.ts';

/** `policy` null = everything is kept there */
export type WantedDestination = { store: Store; policy: RetentionPolicy | null };

export type Unwanted = {
  /** by destination: what its policy would remove at once, were it there */
  snapshots: Map<string, Set<SnapshotId>>;
  /** destinations of which it cannot be told now */
  failures: { destination: string; error: StrongroomError }[];
};

/**
 * Which of `lacked`, by destination, nobody should copy there. A snapshot counts as a good copy here, be it good elsewhere or not:
 * whether it can be made is for whoever makes it to find out. Of what is not known at all nothing is said.
 *
 * Reads every manifest of `destinations`, which have to answer: one that does not is in `failures`. Rejects where holds or marks
 * cannot be read, and on abort.
 */
export async function unwantedCopies(
  deps: ReadDeps,
  destinations: readonly WantedDestination[],
  lacked: ReadonlyMap<string, ReadonlySet<SnapshotId>>,
  now: Date,
  signal: AbortSignal,
): Promise<Unwanted> {
  const unwanted: Unwanted = { snapshots: new Map(), failures: [] };
  const shared = await readShared(deps, now, signal);
  const known: { facts: DestinationFacts; policy: RetentionPolicy | null }[] = [];
  for (const { store, policy } of destinations) {
    try {
      known.push({ facts: await readFacts(deps, store, shared, signal), policy });
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      unwanted.failures.push({ destination: store.name, error: e });
    }
  }
  const anywhere = new Map<SnapshotId, SnapshotFacts>();
  // Of several copies the good one: it knows what is in it.
  for (const isGood of [false, true]) {
    for (const { facts } of known) {
      for (const one of facts.facts) if (one.isGood === isGood) anywhere.set(one.snapshot, one);
    }
  }
  for (const { facts, policy } of known) {
    if (policy === null) continue;
    const here = new Set(facts.facts.map(({ snapshot }) => snapshot));
    const missing = [...(lacked.get(facts.store.name) ?? [])].flatMap((snapshot) => {
      const one = here.has(snapshot) ? undefined : anywhere.get(snapshot);
      return one === undefined ? [] : [{ ...one, isGood: true, lockedUntil: null }];
    });
    const ids = new Set(missing.map(({ snapshot }) => snapshot));
    if (ids.size === 0) continue;
    const decisions = decide([...facts.facts, ...missing], policy, now, { lastRunFailed: false });
    const toGo = decisions.filter(({ snapshot, action }) => action !== 'keep' && ids.has(snapshot));
    unwanted.snapshots.set(facts.store.name, new Set(toGo.map(({ snapshot }) => snapshot)));
  }
  return unwanted;
}
