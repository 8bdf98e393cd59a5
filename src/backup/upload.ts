/** One destination's share of a backup: the sidecar, the data, and the proof that both are there as they were sent. */
import { StrongroomError } from '../core/errors.ts';
import { discard, flow } from '../core/flow.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import type { OnProgress } from '../core/progress.ts';
import { type Sidecar, serialiseSidecar } from '../crypt/sidecar.ts';
import { wrapsToMetadata } from '../crypt/wrap-metadata.ts';
import { type ObjectKey, objectKey } from '../store/layout.ts';
import { type ExpectedParts, matchParts } from '../store/match-parts.ts';
import type { PartedBody, PutOptions, Store, StoredObject } from '../store/store.ts';
import type { Destination, ProofKind } from './options.ts';

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

/**
 * Proves that the store holds exactly `body`: by the length and checksum that the store computed itself, or, where it
 * keeps none or `read` is asked for, by fetching every byte. Rejects with E_STORE_CHECKSUM when it does not.
 */
export async function proveCopy(
  store: Store,
  key: ObjectKey,
  body: ExpectedParts,
  composite: string,
  kind: ProofKind,
  signal: AbortSignal,
): Promise<ProofKind> {
  const head = await store.head(key, { signal });
  const differs = (what: string): StrongroomError =>
    new StrongroomError('E_STORE_CHECKSUM', `${store.location} does not hold what was sent to it: ${what}`, {
      hint: 'the copy is not published; try again, and look at the health of that store',
      details: { store: store.name, key },
    });
  if (head === null) throw differs('the object is not there after the upload');
  if (head.bytes !== body.bytes) throw differs(`${head.bytes} bytes instead of ${body.bytes}`);
  if (kind === 'checksum' && head.sha256 === composite) return 'checksum';
  // A composite depends on where a store cut the parts; the bytes themselves are the judge.
  await flow(store.get(key, { signal }), [matchParts(body, differs)], discard, signal);
  return 'read';
}
