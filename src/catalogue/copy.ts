/** One stored copy against the signed manifest: the bytes that come out are the bytes that were signed, or there is an error. */
import { StrongroomError } from '../core/errors.ts';
import type { Bytes, Stage } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import { objectKey } from '../store/layout.ts';
import { type ExpectedParts, matchParts } from '../store/match-parts.ts';
import type { Store } from '../store/store.ts';
import type { Catalogue } from './catalogue.ts';
import type { Manifest } from './manifest.ts';

/** The encrypted bytes of `manifest`'s snapshot as `store` holds them now. Opens nothing before it is read from. */
export function readCopy(catalogue: Catalogue, manifest: Manifest, store: Store, signal: AbortSignal): Bytes {
  return store.get(objectKey(catalogue.cluster, 'data', manifest.snapshot as SnapshotId), { signal });
}

/** A stage that ends only when every byte was the signed one; throws E_STORE_CHECKSUM at the first part that is not. */
export function matchManifest(manifest: Manifest, location: string): Stage {
  return matchParts(
    expectedParts(manifest),
    (what) =>
      new StrongroomError('E_STORE_CHECKSUM', `${location} does not hold the data that the manifest signs: ${what}`, {
        hint: 'another destination may hold it; treat this copy as damaged or tampered with',
        details: { snapshot: manifest.snapshot, location },
      }),
  );
}

/** Length and hashes of the data object that `manifest` signs. */
export function expectedParts({ ciphertext }: Manifest): ExpectedParts {
  const { bytes, partSize, partSha256 } = ciphertext;
  return { bytes, partBytes: partSize, partSha256: partSha256.map((hash) => Buffer.from(hash, 'base64')) };
}
