/** One destination's copy, object by object: which of them are as they were signed, and which have to be written. */

import type { Catalogue } from '../catalogue/catalogue.ts';
import { compareSum, matchManifest } from '../catalogue/copy.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { discard, flow } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import { parseSidecar, type Sidecar } from '../crypt/sidecar.ts';
import { type ObjectKind, objectKey } from '../store/layout.ts';
import type { Store, StoredObject, WriteCondition } from '../store/store.ts';
import { isSignatureOf, type Signed, type SmallObjects } from './gather.ts';
import type { Held } from './survey.ts';

export type JudgedCopy = {
  /** the objects to be written, with what must be there for that: nothing, or exactly what was found bad */
  needs: Map<ObjectKind, WriteCondition>;
  /** what shows as data now; null = nothing */
  shown: StoredObject | null;
  /** every byte of the data was read, and is the signed one */
  wasRead: boolean;
};

/**
 * Holds the copy in `store` against `signed`. Data of the right length is read only when there is a word against it: `isSuspect`,
 * or a checksum or ETag that is not the one of the manifest. Rejects with the store's own error when it cannot be told.
 */
export async function judgeCopy(
  catalogue: Catalogue,
  signed: Signed,
  copy: { store: Store; held: Held; small: SmallObjects; isSuspect: boolean },
  signal: AbortSignal,
): Promise<JudgedCopy> {
  const { held, small } = copy;
  const needs: JudgedCopy['needs'] = new Map();
  const need = (kind: Exclude<ObjectKind, 'data'>): void => {
    const found = held[kind];
    needs.set(kind, found === undefined ? 'absent' : { etag: found.etag });
  };
  // Of two sidecars nobody without a key can say which one opens more: one that can be read is left as it is.
  if (sidecarIn(catalogue, signed.manifest, small) === null) need('keys');
  const { condition, shown, wasRead } = await judgeData(catalogue, signed.manifest, copy, signal);
  if (condition !== null) needs.set('data', condition);
  if (small.sigs === null || !isSignatureOf(catalogue, signed.bytes, small.sigs)) need('sigs');
  if (small.manifests === null || Buffer.compare(small.manifests, signed.bytes) !== 0) need('manifests');
  return { needs, shown, wasRead };
}

/** keys.json of a destination; null = it is not there, or is none of this snapshot. */
export function sidecarIn(
  { cluster }: Catalogue,
  { snapshot }: Manifest,
  { keys }: Pick<SmallObjects, 'keys'>,
): Sidecar | null {
  if (keys === null) return null;
  try {
    return parseSidecar(keys, { cluster, snapshot });
  } catch (e) {
    if (!isError(e, 'E_MANIFEST')) throw e;
    return null;
  }
}

async function judgeData(
  { cluster }: Catalogue,
  manifest: Manifest,
  { store, isSuspect }: { store: Store; isSuspect: boolean },
  signal: AbortSignal,
): Promise<{ condition: WriteCondition | null; shown: StoredObject | null; wasRead: boolean }> {
  const key = objectKey(cluster, 'data', manifest.snapshot as SnapshotId);
  const shown = await store.head(key, { signal });
  if (shown === null) return { condition: 'absent', shown, wasRead: false };
  const bad = { condition: { etag: shown.etag }, shown, wasRead: false };
  if (shown.bytes !== manifest.ciphertext.bytes) return bad;
  if (!isSuspect && !hasWordAgainst(manifest, store, shown)) return { condition: null, shown, wasRead: false };
  try {
    await flow(store.get(key, { signal }), [matchManifest(manifest, store.location)], discard, signal);
    return { condition: null, shown, wasRead: true };
  } catch (e) {
    signal.throwIfAborted();
    if (isError(e, 'E_STORE_CHECKSUM')) return bad;
    if (!isError(e, 'E_NOT_FOUND')) throw e;
    throw new StrongroomError('E_STORE_CONFLICT', `${key} in ${store.location} went away while it was read`, {
      hint: 'somebody else is at work there; the next run looks again',
      retryable: true,
      cause: e,
    });
  }
}

function hasWordAgainst(manifest: Manifest, store: Store, shown: StoredObject): boolean {
  const sum = compareSum(manifest, shown);
  if (sum !== 'unknown') return sum === 'differs';
  const copy = manifest.destinations.find(({ name }) => name === store.name);
  return copy?.status === 'stored' && copy.etag !== shown.etag;
}
