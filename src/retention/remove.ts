/** Removing objects for good, in an order in which nothing that is half gone is ever taken for a snapshot. */
import { StrongroomError } from '../core/errors.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import type { ObjectKey } from '../store/layout.ts';
import type { Store, StoredVersion } from '../store/store.ts';
import { isUnableToTell, keysOf } from './inventory.ts';

/** Each round looks again: behind a delete marker, or a version that was current, another one may have come to light. */
const MAX_ROUNDS = 50;

/**
 * Removes every version of every object of `snapshot`, the manifest first, and looks that nothing is left. Rejects with the
 * store's error; what was to come after it is untouched then.
 */
export async function removeSnapshot(
  store: Store,
  cluster: ClusterName,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<void> {
  for (const key of keysOf(cluster, snapshot)) await emptyKey(store, key, signal);
}

/** Removes every version and delete marker of `key`. Resolves when the store shows none any more. */
async function emptyKey(store: Store, key: ObjectKey, signal: AbortSignal): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const versions = await versionsOf(store, key, signal);
    if (versions.length === 0) return;
    // Not the current one first: what it replaced would come to light in its place.
    for (const version of versions.toSorted((a, b) => Number(a.isCurrent) - Number(b.isCurrent))) {
      // The only one, and without an id: the bucket has no versions, and may not know how to be asked for one.
      const isPlain = versions.length === 1 && version.versionId === null && !version.isDeleteMarker && round === 0;
      await store.delete(key, { signal, ...(isPlain ? {} : { versionId: version.versionId }) });
    }
  }
  throw new StrongroomError('E_STORE_RESPONSE', `${key} in ${store.location} was removed, and is still there`, {
    hint: 'is something writing it again, or does another bucket replicate into this one?',
    retryable: false,
    details: { store: store.name, key },
  });
}

async function versionsOf(
  store: Store,
  key: ObjectKey,
  signal: AbortSignal,
): Promise<Pick<StoredVersion, 'versionId' | 'isCurrent' | 'isDeleteMarker'>[]> {
  try {
    const found: StoredVersion[] = [];
    for await (const version of store.versions(key, { signal })) if (version.key === key) found.push(version);
    return found;
  } catch (e) {
    if (!isUnableToTell(e)) throw e;
    const head = await store.head(key, { signal });
    return head === null ? [] : [{ versionId: head.versionId ?? null, isCurrent: true, isDeleteMarker: false }];
  }
}
