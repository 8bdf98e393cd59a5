/** The locks of one snapshot's objects: read where something is to be removed, and made longer where the policy keeps it longer. */
import { isError } from '../core/errors.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import type { Store } from '../store/store.ts';
import { currentOf, KINDS, keysOf, type Objects } from './inventory.ts';

export type LocksFound = {
  /** when the last of them ends; null = there is none */
  until: Date | null;
  /** somebody put a legal hold on one of them */
  isLegallyHeld: boolean;
};

/** Asks for every version there is of the snapshot: one that is hidden may be locked for longer. Rejects as the store does. */
export async function readLocks(store: Store, objects: Objects, signal: AbortSignal): Promise<LocksFound> {
  const found: LocksFound = { until: null, isLegallyHeld: false };
  for (const version of KINDS.flatMap((kind) => objects[kind])) {
    if (version.isDeleteMarker) continue;
    const { key, versionId, isCurrent } = version;
    const head = await store.head(key, { signal, ...(versionId === null || isCurrent ? {} : { versionId }) });
    const until = head?.lock?.until;
    if (until !== undefined && (found.until === null || until > found.until)) found.until = until;
    if (head?.isLegallyHeld === true) found.isLegallyHeld = true;
  }
  return found;
}

/** The end of the shortest lock on any current object; null = one of them has none. Rejects as the store does. */
export async function shortestLock(store: Store, objects: Objects, signal: AbortSignal): Promise<Date | null> {
  let shortest: Date | null = null;
  for (const kind of KINDS) {
    const key = currentOf(objects, kind)?.key;
    if (key === undefined) continue;
    const until = (await store.head(key, { signal }))?.lock?.until;
    if (until === undefined) return null;
    if (shortest === null || until < shortest) shortest = until;
  }
  return shortest;
}

/**
 * Makes each lock of `snapshot` last until `until` that ends before. An object without any lock stays without: the bucket, or
 * whoever wrote it, wanted it so. Gives how many were extended; rejects as the store does.
 */
export async function extendSnapshot(
  store: Store,
  cluster: ClusterName,
  { snapshot, until }: { snapshot: SnapshotId; until: Date },
  signal: AbortSignal,
): Promise<number> {
  let extended = 0;
  for (const key of keysOf(cluster, snapshot)) {
    const head = await store.head(key, { signal });
    if (head?.lock === undefined || head.lock.until >= until) continue;
    const { mode } = head.lock;
    const version = head.versionId === undefined ? {} : { versionId: head.versionId };
    try {
      await store.extendLock(key, { ...version, until, mode }, { signal });
      extended += 1;
    } catch (e) {
      // Somebody made it longer than this in between: that is what was wanted.
      if (!isError(e, 'E_STORE_LOCKED')) throw e;
    }
  }
  return extended;
}
