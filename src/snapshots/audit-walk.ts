/**
 * All stores side by side, one snapshot after the other. Listings come in the order of keys, which is that of ids, so that
 * no more than one page of each listing is in memory however many snapshots there are.
 */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import { kindPrefix, type ObjectKind, parseObjectKey } from '../store/layout.ts';
import type { Store, StoredObject } from '../store/store.ts';
import { KINDS } from './presence.ts';

/** What one store lists of one snapshot. */
export type Objects = Partial<Record<ObjectKind, StoredObject>>;

export type Sighting = { snapshot: SnapshotId; stores: Map<Store, Objects> };

export type WalkOptions = {
  cluster: ClusterName;
  stores: readonly Store[];
  /** told of each object below a kind that is none of the layout */
  onForeign(store: Store, object: StoredObject): void;
  /** told of each object */
  onObject(store: Store, object: StoredObject): void;
  /** told of a store that cannot be listed any further: from then on it is in no sighting */
  onFailure(store: Store, error: StrongroomError): void;
};

type Cursor = {
  store: Store;
  kind: ObjectKind;
  objects: AsyncIterator<StoredObject>;
  head: { snapshot: SnapshotId; object: StoredObject } | null;
};

/** Every snapshot of which any store has any object, oldest first. Rejects with the abort reason only. */
export async function* walkSnapshots(options: WalkOptions, signal: AbortSignal): AsyncGenerator<Sighting> {
  const { cluster, stores } = options;
  const failed = new Set<Store>();
  const cursors: Cursor[] = stores.flatMap((store) =>
    KINDS.map((kind) => {
      const listing = store.list(kindPrefix(cluster, kind), { signal });
      return { store, kind, objects: listing[Symbol.asyncIterator](), head: null };
    }),
  );
  const advance = async (cursor: Cursor): Promise<void> => {
    try {
      cursor.head = await nextOf(cursor, options);
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      cursor.head = null;
      if (!failed.has(cursor.store)) options.onFailure(cursor.store, e);
      failed.add(cursor.store);
    }
  };
  try {
    let stale = cursors;
    for (;;) {
      await Promise.all(stale.map(advance));
      const live = cursors.filter(({ store }) => !failed.has(store));
      const ids = live.flatMap(({ head }) => (head === null ? [] : [head.snapshot]));
      const snapshot = ids.reduce<SnapshotId | null>((least, id) => (least === null || id < least ? id : least), null);
      if (snapshot === null) return;
      stale = live.filter(({ head }) => head?.snapshot === snapshot);
      yield { snapshot, stores: objectsByStore(stale) };
    }
  } finally {
    await Promise.all(cursors.map(async ({ objects }) => await objects.return?.()));
  }
}

function objectsByStore(cursors: readonly Cursor[]): Map<Store, Objects> {
  const found = new Map<Store, Objects>();
  for (const { store, kind, head } of cursors) {
    if (head !== null) found.set(store, { ...found.get(store), [kind]: head.object });
  }
  return found;
}

async function nextOf({ store, kind, objects }: Cursor, options: WalkOptions): Promise<Cursor['head']> {
  for (;;) {
    const next = await objects.next();
    if (next.done === true) return null;
    const object = next.value;
    options.onObject(store, object);
    const snapshot = parseObjectKey(options.cluster, kind, object.key);
    if (snapshot !== null) return { snapshot, object };
    options.onForeign(store, object);
  }
}
