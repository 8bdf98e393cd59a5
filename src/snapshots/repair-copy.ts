/** Writes what one destination's copy lacks, in the order of docs/format.md, and proves it. */
import { expectedParts } from '../catalogue/copy.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { type ClusterName, type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { OnProgress } from '../core/progress.ts';
import { type ObjectKey, type ObjectKind, objectKey } from '../store/layout.ts';
import { type ProofKind, proveCopy } from '../store/prove-copy.ts';
import type { LockMode, PutOptions, Store, WriteCondition } from '../store/store.ts';
import type { Signed } from './gather.ts';
import type { SignedParts } from './signed-parts.ts';

/** Less than this is left of a lock: it would be over before it could do any good. */
const SHORTEST_LOCK_MS = 60_000;

/** Where copies are to be. */
export type Destination = {
  store: Store;
  /** keep every object of a snapshot against deletion for so long, in milliseconds; null = nothing is locked there */
  lock: { mode: LockMode; keepMs: number } | null;
};

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
 * Rejects with the destination's own error, or with that of `body` when no source has the bytes; what was written stays.
 */
export async function repairCopy(repair: Repair, signal: AbortSignal): Promise<Repaired> {
  const { cluster, destination, signed, needs } = repair;
  const { manifest } = signed;
  const { store } = destination;
  const snapshot = manifest.snapshot as SnapshotId;
  const lock = lockFor(destination, manifest, repair.now);
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

/**
 * The lock of what is written anew: as long as the copy would have been locked had it never been harmed, by the manifest or
 * by the config of today, whichever is longer. Counted from the snapshot and not from now: a repair must not keep a copy
 * beyond the time when its snapshot is to go, least of all in compliance mode, which nobody can lift. A lock whose time is over is not set
 * again; one that a longer-lived generation needs is extended there as for any other copy.
 */
export function lockFor({ store, lock }: Destination, manifest: Manifest, now: Date): Pick<PutOptions, 'lock'> {
  if (lock === null) return {};
  const copy = manifest.destinations.find(({ name }) => name === store.name);
  const signed = copy?.status === 'stored' && copy.lock !== undefined ? Date.parse(copy.lock.until) : 0;
  const configured = snapshotTime(manifest.snapshot as SnapshotId).getTime() + lock.keepMs;
  const until = Math.max(signed, configured);
  if (until < now.getTime() + SHORTEST_LOCK_MS) return {};
  return { lock: { mode: lock.mode, until: new Date(until) } };
}
