/** One destination's share of a backup: the sidecar, the data, and the proof that both are there as they were sent. */
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import type { OnProgress } from '../core/progress.ts';
import { type Sidecar, serialiseSidecar } from '../crypt/sidecar.ts';
import { wrapsToMetadata } from '../crypt/wrap-metadata.ts';
import { objectKey } from '../store/layout.ts';
import { type ProofKind, proveCopy } from '../store/prove-copy.ts';
import type { PartedBody, PutOptions, StoredObject } from '../store/store.ts';
import type { Destination } from './options.ts';

export type UploadedCopy = { data: StoredObject; keys: StoredObject; proof: ProofKind };

/** Lock options of an object stored at `now`, or nothing where the destination locks nothing. */
export function lockOf(destination: Destination, now: Date): Pick<PutOptions, 'lock'> {
  const { lock } = destination;
  return lock === null ? {} : { lock: { mode: lock.mode, until: new Date(now.getTime() + lock.keepMs) } };
}

/** Keys first, then data: committed data never lacks its keys. Rejects with the destination's own error. */
export async function uploadCopy(
  destination: Destination,
  what: { cluster: ClusterName; snapshot: SnapshotId; sidecar: Sidecar; body: PartedBody; composite: string },
  options: { prove: ProofKind; now: Date; onProgress: OnProgress; signal: AbortSignal },
): Promise<UploadedCopy> {
  const { store } = destination;
  const { signal } = options;
  const lock = lockOf(destination, options.now);
  const keys = await store.put(objectKey(what.cluster, 'keys', what.snapshot), serialiseSidecar(what.sidecar), {
    signal,
    condition: 'absent',
    contentType: 'application/json',
    ...lock,
  });
  const key = objectKey(what.cluster, 'data', what.snapshot);
  const stage = `upload ${store.name}`;
  const data = await store.put(key, what.body, {
    signal,
    condition: 'absent',
    contentType: 'application/octet-stream',
    metadata: wrapsToMetadata(what.sidecar),
    ...lock,
    onProgress: (bytes) => options.onProgress({ stage, bytes, totalBytes: what.body.bytes }),
  });
  const proof = await proveCopy(store, key, what.body, what.composite, options.prove, signal);
  return { data, keys, proof };
}
