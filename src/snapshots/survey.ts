/** What the destinations hold of one cluster, by their listings alone: four for each, however many snapshots there are. */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import { kindPrefix, type ObjectKind, parseObjectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { KINDS } from './presence.ts';

/** The objects of one snapshot in one destination. */
export type Held = Partial<Record<ObjectKind, { bytes: number; etag: string }>>;

export type Survey = {
  /** by destination, of those that answered, in their order */
  held: Map<string, Map<SnapshotId, Held>>;
  /** destinations that could not be listed */
  away: { destination: string; error: StrongroomError }[];
};

/** Lists every store, all at once. A store that cannot be listed is in `away`; rejects when none can. */
export async function surveyCopies(
  cluster: ClusterName,
  stores: readonly Store[],
  signal: AbortSignal,
): Promise<Survey> {
  const results = await Promise.allSettled(stores.map((store) => holdings(cluster, store, signal)));
  signal.throwIfAborted();
  const survey: Survey = { held: new Map(), away: [] };
  for (const [i, result] of results.entries()) {
    const destination = stores[i]?.name ?? '';
    if (result.status === 'fulfilled') survey.held.set(destination, result.value);
    else if (isError(result.reason)) survey.away.push({ destination, error: result.reason });
    else throw result.reason;
  }
  const [first] = survey.away;
  if (survey.held.size === 0 && first !== undefined) throw first.error;
  return survey;
}

async function holdings(cluster: ClusterName, store: Store, signal: AbortSignal): Promise<Map<SnapshotId, Held>> {
  const all = new Map<SnapshotId, Held>();
  for (const kind of KINDS) {
    for await (const { key, bytes, etag } of store.list(kindPrefix(cluster, kind), { signal })) {
      const id = parseObjectKey(cluster, kind, key);
      if (id === null) continue;
      const held = all.get(id) ?? {};
      held[kind] = { bytes, etag };
      all.set(id, held);
    }
  }
  return all;
}

/** Every snapshot that has a manifest anywhere, newest first. What has none was never published. */
export function published({ held }: Survey): SnapshotId[] {
  const ids = new Set<SnapshotId>();
  for (const all of held.values()) for (const [id, kinds] of all) if (kinds.manifests !== undefined) ids.add(id);
  return [...ids].sort().reverse();
}

/**
 * Does the listing show that `snapshot` is not the same in all of `destinations`: an object that one lacks, or that has
 * another length there? What a listing cannot show, other bytes of the same length, is for the readings to find.
 */
export function differs({ held }: Survey, snapshot: SnapshotId, destinations: readonly string[]): boolean {
  const copies = destinations.map((name) => held.get(name)?.get(snapshot) ?? {});
  return KINDS.some((kind) => {
    const lengths = new Set(copies.map((copy) => copy[kind]?.bytes ?? null));
    return lengths.size > 1 || lengths.has(null);
  });
}
