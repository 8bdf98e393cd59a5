/** One stored copy against the signed manifest: the bytes that come out are the bytes that were signed, or there is an error. */
import { isError, StrongroomError } from '../core/errors.ts';
import { type Bytes, discard, flow, type Stage } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { type ObjectKey, objectKey } from '../store/layout.ts';
import { type ExpectedParts, matchParts } from '../store/match-parts.ts';
import type { Store, StoredObject } from '../store/store.ts';
import type { Catalogue, VerifiedManifest } from './catalogue.ts';
import type { Manifest } from './manifest.ts';

/**
 * The encrypted bytes of `manifest`'s snapshot as `store` holds them: of what the key shows, or of the version that
 * {@link copyVersion} finds. Opens nothing before it is read from.
 */
export async function* readCopy(catalogue: Catalogue, manifest: Manifest, store: Store, signal: AbortSignal): Bytes {
  const key = objectKey(catalogue.cluster, 'data', manifest.snapshot as SnapshotId);
  const versionId = await copyVersion(manifest, key, store, signal);
  yield* store.get(key, { signal, ...(versionId === null ? {} : { versionId }) });
}

/**
 * The version to read; null = what the key shows. As {@link hiddenVersion}, but where no checksum tells which of the two
 * was signed, what is shown is read and decides: over a version that was damaged a good one may have been put since.
 */
export async function copyVersion(
  manifest: Manifest,
  key: ObjectKey,
  store: Store,
  signal: AbortSignal,
): Promise<string | null> {
  const { versionId, isCertain } = await lookBehind(manifest, key, store, signal);
  if (versionId === null || isCertain) return versionId;
  try {
    await flow(store.get(key, { signal }), [matchManifest(manifest, store.location)], discard, signal);
    return null;
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return versionId;
  }
}

/**
 * The recorded version, when the key shows something else by all that can be told without reading: the data was deleted,
 * or overwritten by anything but the bytes that were signed. null = what the key shows is the copy.
 */
export async function hiddenVersion(
  manifest: Manifest,
  key: ObjectKey,
  store: Store,
  signal: AbortSignal,
): Promise<string | null> {
  return (await lookBehind(manifest, key, store, signal)).versionId;
}

const SHOWN = { versionId: null, isCertain: true } as const;

async function lookBehind(
  manifest: Manifest,
  key: ObjectKey,
  store: Store,
  signal: AbortSignal,
): Promise<{ versionId: string | null; isCertain: boolean }> {
  const copy = manifest.destinations.find(({ name }) => name === store.name);
  const versionId = copy?.status === 'stored' ? copy.versionId : undefined;
  if (versionId === undefined) return SHOWN;
  const shown = await store.head(key, { signal });
  // Without versions, as in a copy of the bucket on a disk, there is only what is shown.
  if (shown !== null && (shown.versionId === undefined || shown.versionId === versionId)) return SHOWN;
  const sum = shown === null ? 'differs' : compareSum(manifest, shown);
  // Over a deleted or damaged version the same bytes were put again.
  if (sum === 'same') return SHOWN;
  try {
    const recorded = await store.head(key, { signal, versionId });
    if (recorded === null) return SHOWN;
    if (shown !== null && recorded.bytes !== manifest.ciphertext.bytes) return SHOWN;
    return { versionId, isCertain: sum === 'differs' };
  } catch (e) {
    // A version of another bucket, or one that this login may not ask for: then what is shown is all there is.
    if (!isError(e)) throw e;
    return SHOWN;
  }
}

/** What length and checksum of an object, as the store itself computed them, say of its bytes. */
export function compareSum(
  { ciphertext }: Manifest,
  { bytes, sha256 }: Pick<StoredObject, 'bytes' | 'sha256'>,
): 'same' | 'differs' | 'unknown' {
  if (bytes !== ciphertext.bytes) return 'differs';
  if (sha256 === ciphertext.sha256Composite) return 'same';
  // One over other parts, or over none, may be of the same bytes.
  return sha256?.endsWith(`-${ciphertext.parts}`) === true ? 'differs' : 'unknown';
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
