/** The legal holds of one snapshot's objects, in every store. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { hiddenVersion } from '../catalogue/copy.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import { type ObjectKey, type ObjectKind, objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { KINDS } from './presence.ts';

export type LegalHoldOutcome = {
  destination: string;
  /** does it keep legal holds? null = that could not be learnt, because it has nothing of the snapshot or failed */
  isSupported: boolean | null;
  /** objects that were changed now; the others there were as they should be */
  changed: number;
  error: StrongroomError | null;
};

/** One object, and the version of it that counts. */
export type HeldObject = { kind: ObjectKind; key: ObjectKey; versionId?: string };

/**
 * Sets or lifts the legal hold of every object of `snapshot` that is there, all stores at once. The data is that version which a
 * restore would read. What goes wrong in a store is in its outcome; rejects with the abort reason only.
 */
export async function setLegalHolds(
  { catalogue, stores }: { catalogue: Catalogue; stores: readonly Store[] },
  { snapshot, manifest, isHeld }: { snapshot: SnapshotId; manifest: Manifest | null; isHeld: boolean },
  signal: AbortSignal,
): Promise<LegalHoldOutcome[]> {
  return await Promise.all(
    stores.map(async (store) => {
      const outcome: LegalHoldOutcome = { destination: store.name, isSupported: null, changed: 0, error: null };
      try {
        for (const { key, kind: _, ...version } of await objectsOf(catalogue, store, snapshot, manifest, signal)) {
          const now = await store.legalHold(key, { signal, ...version });
          outcome.isSupported = now !== null;
          if (now === null) break;
          if (now === isHeld) continue;
          await store.setLegalHold(key, isHeld, { signal, ...version });
          outcome.changed += 1;
        }
      } catch (e) {
        signal.throwIfAborted();
        if (!isError(e)) throw e;
        outcome.error = e;
      }
      return outcome;
    }),
  );
}

/** The objects of `snapshot` that `store` has, each in the version that counts. Rejects as the store does. */
export async function objectsOf(
  { cluster }: Catalogue,
  store: Store,
  snapshot: SnapshotId,
  manifest: Manifest | null,
  signal: AbortSignal,
): Promise<HeldObject[]> {
  const objects: HeldObject[] = [];
  for (const kind of KINDS) {
    const key = objectKey(cluster, kind, snapshot);
    const hidden = kind === 'data' && manifest !== null ? await hiddenVersion(manifest, key, store, signal) : null;
    const shown = hidden === null ? await store.head(key, { signal }) : null;
    const versionId = hidden ?? shown?.versionId;
    if (hidden === null && shown === null) continue;
    objects.push({ kind, key, ...(versionId === undefined ? {} : { versionId }) });
  }
  return objects;
}
