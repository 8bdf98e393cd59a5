/** One stored copy against the signed manifest: the bytes that come out are the bytes that were signed, or there is an error. */
import { isError, StrongroomError } from '../core/errors.ts';
import type { Bytes, Stage } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { type ObjectKey, objectKey } from '../store/layout.ts';
import { type ExpectedParts, matchParts } from '../store/match-parts.ts';
import type { Store } from '../store/store.ts';
import type { Catalogue, VerifiedManifest } from './catalogue.ts';
import type { Manifest } from './manifest.ts';

/**
 * The encrypted bytes of `manifest`'s snapshot as `store` holds them now; where its object was deleted or overwritten since,
 * those of the version that the manifest recorded, which a lock may have kept. Opens nothing before it is read from.
 */
export async function* readCopy(catalogue: Catalogue, manifest: Manifest, store: Store, signal: AbortSignal): Bytes {
  const key = objectKey(catalogue.cluster, 'data', manifest.snapshot as SnapshotId);
  const versionId = await hiddenVersion(manifest, key, store, signal);
  yield* store.get(key, { signal, ...(versionId === null ? {} : { versionId }) });
}

/** The recorded version, when it is still there and not what the key shows; null = read what the key shows. */
export async function hiddenVersion(
  manifest: Manifest,
  key: ObjectKey,
  store: Store,
  signal: AbortSignal,
): Promise<string | null> {
  const copy = manifest.destinations.find(({ name }) => name === store.name);
  const versionId = copy?.status === 'stored' ? copy.versionId : undefined;
  if (versionId === undefined) return null;
  const shown = await store.head(key, { signal });
  // Without versions, as in a copy of the bucket on a disk, there is only what is shown.
  if (shown !== null && (shown.versionId === undefined || shown.versionId === versionId)) return null;
  try {
    return (await store.head(key, { signal, versionId })) === null ? null : versionId;
  } catch (e) {
    // A version of another bucket, or one that this login may not ask for: then what is shown is all there is.
    if (!isError(e)) throw e;
    return null;
  }
}

/**
 * A stage that ends only when every byte was the signed one; throws E_STORE_CHECKSUM at the first part that is not.
 * `withhold` as in {@link matchParts}: for a decryption right behind it.
 */
export function matchManifest(manifest: Manifest, location: string, options: { withhold?: boolean } = {}): Stage {
  return matchParts(
    expectedParts(manifest),
    (what) =>
      new StrongroomError('E_STORE_CHECKSUM', `${location} does not hold the data that the manifest signs: ${what}`, {
        hint: 'another destination may hold it; treat this copy as damaged or tampered with',
        details: { snapshot: manifest.snapshot, location },
      }),
    options,
  );
}

/** Length and hashes of the data object that `manifest` signs. */
export function expectedParts({ ciphertext }: Manifest): ExpectedParts {
  const { bytes, partSize, partSha256 } = ciphertext;
  return { bytes, partBytes: partSize, partSha256: partSha256.map((hash) => Buffer.from(hash, 'base64')) };
}

/** A store that did not even give its manifest costs a minute of tries for each object it is asked for: those come last. */
export function answeringFirst(stores: readonly Store[], { refused }: VerifiedManifest): Store[] {
  const dead = refused.filter(({ error }) => error.code === 'E_STORE_UNREACHABLE').map((r) => r.destination);
  return stores.toSorted((a, b) => Number(dead.includes(a.name)) - Number(dead.includes(b.name)));
}

/**
 * Runs `read` on one store after the other until it resolves for one: that its copy is whole is for `read` to find out.
 * Rejects when it did for none, naming what is wrong with each, with the code of the first that was more than absent; at
 * once on E_SPACE, for a disk of ours that is full is no fault of the copy; with `signal.reason` on abort.
 */
export async function firstUsableCopy<T>(
  { cluster, stores, log }: { cluster: string; stores: readonly Store[]; log: Log },
  { snapshot }: Manifest,
  read: (store: Store) => Promise<T>,
  signal: AbortSignal,
): Promise<{ store: Store; value: T; refused: { store: string; error: StrongroomError }[] }> {
  const refused: { store: string; error: StrongroomError }[] = [];
  for (const store of stores) {
    try {
      return { store, value: await read(store), refused };
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e) || e.code === 'E_SPACE') throw e;
      log.warn({ store: store.name, err: e.toJSON() }, 'this copy is not usable, trying the next');
      refused.push({ store: store.name, error: e });
    }
  }
  throw new StrongroomError(
    refused.find(({ error }) => error.code !== 'E_NOT_FOUND')?.error.code ?? 'E_NOT_FOUND',
    `no destination has a usable copy of ${snapshot}: ${refused.map((r) => `${r.store}: ${r.error.message}`).join('; ')}`,
    { hint: `strongroom snapshots list --cluster ${cluster}`, cause: refused[0]?.error },
  );
}
