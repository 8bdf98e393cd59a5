/** What one destination holds of a cluster, by snapshot: from listings alone, with everything that a listing hides. */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import {
  kindPrefix,
  latestKey,
  leaseKey,
  type ObjectKey,
  type ObjectKind,
  objectKey,
  parseObjectKey,
} from '../store/layout.ts';
import type { Store, StoredVersion } from '../store/store.ts';

/** In the order of removal: without its manifest a snapshot is no snapshot, so nothing that is half gone is ever restored. */
export const KINDS = ['manifests', 'sigs', 'data', 'keys'] as const satisfies readonly ObjectKind[];

export type Objects = Record<ObjectKind, StoredVersion[]>;

export type Inventory = {
  snapshots: Map<SnapshotId, Objects>;
  /** older versions of what is written again and again: the lease and the latest pointer */
  rewritten: StoredVersion[];
  /** why the versions could not be listed, so that only what is current is known; null = they were */
  unseen: StrongroomError | null;
};

/** Lists `store`. Rejects with its error; that it does not list versions is in `unseen`. */
export async function takeInventory(store: Store, cluster: ClusterName, signal: AbortSignal): Promise<Inventory> {
  try {
    return await listAll(cluster, (prefix) => store.versions(prefix, { signal }), null);
  } catch (e) {
    if (!isUnableToTell(e)) throw e;
    return await listAll(cluster, (prefix) => currentOnes(store, prefix, signal), e);
  }
}

/** May this login not ask for versions, or does the store not know the question? */
export function isUnableToTell(e: unknown): e is StrongroomError {
  return isError(e, 'E_STORE_DENIED') || isError(e, 'E_PRECONDITION');
}

/** The version that `kind` shows; null = none, or a delete marker. */
export function currentOf(objects: Objects, kind: ObjectKind): StoredVersion | null {
  return objects[kind].find(({ isCurrent, isDeleteMarker }) => isCurrent && !isDeleteMarker) ?? null;
}

/** Bytes of everything there is of a snapshot, hidden versions included. */
export function bytesOf(objects: Objects): number {
  return KINDS.flatMap((kind) => objects[kind]).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Each object of `snapshot` by its key, in the order of removal. */
export function keysOf(cluster: ClusterName, snapshot: SnapshotId): ObjectKey[] {
  return KINDS.map((kind) => objectKey(cluster, kind, snapshot));
}

async function listAll(
  cluster: ClusterName,
  list: (prefix: string) => AsyncIterable<StoredVersion>,
  unseen: StrongroomError | null,
): Promise<Inventory> {
  const snapshots = new Map<SnapshotId, Objects>();
  for (const kind of KINDS) {
    for await (const version of list(kindPrefix(cluster, kind))) {
      const id = parseObjectKey(cluster, kind, version.key);
      if (id === null) continue;
      let objects = snapshots.get(id);
      if (objects === undefined) {
        objects = { manifests: [], sigs: [], data: [], keys: [] };
        snapshots.set(id, objects);
      }
      objects[kind].push(version);
    }
  }
  const rewritten: StoredVersion[] = [];
  for (const key of [leaseKey(cluster), latestKey(cluster)]) {
    for await (const version of list(key)) if (version.key === key && !version.isCurrent) rewritten.push(version);
  }
  return { snapshots, rewritten, unseen };
}

async function* currentOnes(store: Store, prefix: string, signal: AbortSignal): AsyncIterable<StoredVersion> {
  for await (const { key, bytes, modifiedAt } of store.list(prefix, { signal })) {
    yield { key, versionId: null, isCurrent: true, isDeleteMarker: false, bytes, modifiedAt };
  }
}
