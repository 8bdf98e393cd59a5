/** The signed manifest of one snapshot, put together from whatever the destinations still have of it. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { MAX_MANIFEST_BYTES, type Manifest, manifestSha256, parseManifest } from '../catalogue/manifest.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import { type ObjectKind, objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import type { Held } from './survey.ts';

/** A manifest that the catalogue would accept, and the signature that makes it so. */
export type Signed = { manifest: Manifest; bytes: Uint8Array; sha256: string; signature: Uint8Array };

/** The small objects of one destination; null = not there, or larger than any of ours. */
export type SmallObjects = Record<Exclude<ObjectKind, 'data'>, Uint8Array | null>;

const LIMITS = { keys: 4 * 2 ** 20, sigs: 4096, manifests: MAX_MANIFEST_BYTES } as const;

/** Rejects with the store's own error when it cannot be read now. */
export async function fetchSmallObjects(
  catalogue: Catalogue,
  store: Store,
  snapshot: SnapshotId,
  held: Held,
  signal: AbortSignal,
): Promise<SmallObjects> {
  const found: SmallObjects = { keys: null, sigs: null, manifests: null };
  for (const kind of ['keys', 'sigs', 'manifests'] as const) {
    if (held[kind] === undefined) continue;
    try {
      found[kind] = await collect(store.get(objectKey(catalogue.cluster, kind, snapshot), { signal }), LIMITS[kind]);
    } catch (e) {
      // One that is too large is none of ours, and one that went away meanwhile is not there.
      if (!(e instanceof RangeError) && !isError(e, 'E_NOT_FOUND')) throw e;
    }
  }
  return found;
}

/**
 * The one manifest among `found` that a signature among them makes acceptable, be they from different destinations; null =
 * there is none. Throws E_MANIFEST when there are two: then nobody knows which one counts.
 */
export function signedAmong(catalogue: Catalogue, snapshot: SnapshotId, found: readonly SmallObjects[]): Signed | null {
  const signed = new Map<string, Signed>();
  for (const { manifests: bytes } of found) {
    if (bytes === null || signed.has(manifestSha256(bytes))) continue;
    const signature = found.map(({ sigs }) => sigs).find((sig) => sig !== null && isSignatureOf(catalogue, bytes, sig));
    const manifest = signature === undefined ? null : parseOrNull(catalogue, snapshot, bytes);
    if (signature === undefined || signature === null || manifest === null) continue;
    const sha256 = manifestSha256(bytes);
    signed.set(sha256, { manifest, bytes, sha256, signature });
  }
  if (signed.size > 1) {
    throw new StrongroomError('E_MANIFEST', `there are ${signed.size} different signed manifests of ${snapshot}`, {
      hint: 'look at who else has the signing key; nothing is copied over either of them',
      details: { snapshot, sha256: [...signed.keys()] },
    });
  }
  return signed.values().next().value ?? null;
}

/** Would a trusted key have signed `bytes` so? */
export function isSignatureOf(catalogue: Catalogue, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    catalogue.checkSignature(bytes, signature);
    return true;
  } catch (e) {
    if (!isError(e, 'E_SIGNATURE')) throw e;
    return false;
  }
}

function parseOrNull({ cluster }: Catalogue, snapshot: SnapshotId, bytes: Uint8Array): Manifest | null {
  try {
    return parseManifest(bytes, cluster, snapshot);
  } catch (e) {
    if (!isError(e, 'E_MANIFEST')) throw e;
    return null;
  }
}
