/** Writes what one destination's copy lacks, in the order of docs/format.md, and proves it. */
import { expectedParts } from '../catalogue/copy.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import type { OnProgress } from '../core/progress.ts';
import { type ObjectKey, type ObjectKind, objectKey } from '../store/layout.ts';
import { type ProofKind, proveCopy } from '../store/prove-copy.ts';
import type { PutOptions, Store, WriteCondition } from '../store/store.ts';
import { type Destination, lockFor } from './copy-lock.ts';
import type { Signed } from './gather.ts';
import type { SignedParts } from './signed-parts.ts';

export type Repair = {
  cluster: ClusterName;
  destination: Destination;
  signed: Signed;
  /** what to write, and what must be there for that */
  needs: ReadonlyMap<ObjectKind, WriteCondition>;
  /** keys.json, to be stored byte for byte; null = no destination has one */
  keys: Uint8Array | null;
  /** user metadata of the data */
  metadata: Readonly<Record<string, string>>;
  body: SignedParts;
  /** how data that is written here is proven */
  prove: ProofKind;
  /** snapshots that the destination names: what a lock that follows the retention is reckoned from */
  existing: readonly SnapshotId[];
  /** rejects when this run may not publish any more */
  confirm: (signal: AbortSignal) => Promise<void>;
  now: Date;
  onProgress: OnProgress;
};

export type Repaired = {
  /** objects that were written, in their order */
  wrote: ObjectKind[];
  /** how the new data was proven; null = no data was written */
  proof: ProofKind | null;
};

/**
 * Keys, data, proof, signature, manifest: a destination never shows a manifest over data that was not proven there. An
 * object that is not in `needs` is not touched; one that is there is replaced only while it is what was found bad.
 * Rejects with the destination's own error, with that of `body` when no source has the bytes, or with that of `confirm`; what was
 * written stays.
 */
export async function repairCopy(repair: Repair, signal: AbortSignal): Promise<Repaired> {
  const { cluster, destination, signed, needs } = repair;
  const { manifest } = signed;
  const { store } = destination;
  const snapshot = manifest.snapshot as SnapshotId;
  const lock = lockFor(destination, manifest, repair.existing, repair.now);
  const done: Repaired = { wrote: [], proof: null };
  const put = async (
    kind: ObjectKind,
    body: SignedParts | Uint8Array | null,
    more: Pick<PutOptions, 'contentType' | 'metadata' | 'onProgress'>,
  ): Promise<boolean> => {
    const condition = needs.get(kind);
    if (condition === undefined || body === null) return false;
    const key = objectKey(cluster, kind, snapshot);
    try {
      await store.put(key, body, { signal, condition, ...lock, ...more });
    } catch (e) {
      throw (await behindMarker(store, key, condition, e, signal)) ?? e;
    }
    done.wrote.push(kind);
    return true;
  };
  await repair.confirm(signal);
  await put('keys', repair.keys, { contentType: 'application/json' });
  const stage = `replicate to ${store.name}`;
  const totalBytes = manifest.ciphertext.bytes;
  const isNew = await put('data', repair.body, {
    contentType: 'application/octet-stream',
    metadata: repair.metadata,
    onProgress: (bytes) => repair.onProgress({ stage, bytes, totalBytes }),
  });
  if (isNew) {
    const { sha256Composite } = manifest.ciphertext;
    const key = objectKey(cluster, 'data', snapshot);
    done.proof = await proveCopy(store, key, expectedParts(manifest), sha256Composite, repair.prove, signal);
  }
  // The data may have taken an hour, and this process may have been paused.
  if (needs.has('sigs') || needs.has('manifests')) await repair.confirm(signal);
  await put('sigs', signed.signature, { contentType: 'application/octet-stream' });
  await put('manifests', signed.bytes, { contentType: 'application/json' });
  return done;
}

/** Amazon takes a new object where a delete marker lies; some others say that there is one already, and show none. */
async function behindMarker(
  store: Store,
  key: ObjectKey,
  condition: WriteCondition,
  e: unknown,
  signal: AbortSignal,
): Promise<StrongroomError | null> {
  if (condition !== 'absent' || !isError(e, 'E_STORE_CONFLICT')) return null;
  if ((await store.head(key, { signal })) !== null) return null;
  return new StrongroomError('E_STORE_CONFLICT', `${store.location} takes no new ${key}, and shows no old one`, {
    hint: 'a delete marker lies over it, which this store does not write over: remove the marker by its version',
    details: e.details,
    cause: e,
  });
}
