/** Reads stored copies in full and proves them: against the manifest, and, with a key, down to the last record. */
import { verifyArchive } from '../archive/verify.ts';
import { archiveRecord } from '../catalogue/archive-record.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import { copyVersion, matchManifest } from '../catalogue/copy.ts';
import { openIdentity } from '../catalogue/identity.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { discard, flow, measure } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { OnProgress } from '../core/progress.ts';
import type { Secret } from '../core/secret.ts';
import { decrypt } from '../crypt/container.ts';
import type { KmsKey } from '../crypt/kms.ts';
import { type ObjectKind, objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { type CopyPresence, isHiding, lookAtCopies } from './presence.ts';

export type VerifyDeps = {
  catalogue: Catalogue;
  stores: readonly Store[];
  kms: readonly KmsKey[];
  identities: readonly Secret<string>[];
  onProgress: OnProgress;
};

export type CopyVerdict = {
  destination: string;
  /**
   * `archive`: decrypted, and every hash and record of the archive checked; `ciphertext`: every byte is the signed one, but no
   * key was at hand to open it; `failed`: `error` says how
   */
  level: 'archive' | 'ciphertext' | 'failed';
  openedWith: string | null;
  /** objects of the snapshot that this destination does not have */
  lacks: ObjectKind[];
  /** why it failed; or what else is wrong with a copy whose bytes are right, such as a manifest that is not there */
  error: StrongroomError | null;
};

/**
 * Every copy of the manifest's snapshot, or `only` that in one destination, one after the other, none skipped for the sake
 * of another: those that the manifest names, and those that were made since and have a manifest of their own. Rejects
 * when the signal says so, and with E_NOT_FOUND when there is no such copy; what is wrong with a copy is in its verdict.
 * `manifest` must come from the catalogue, which checked it.
 */
export async function verifySnapshot(
  deps: VerifyDeps,
  manifest: Manifest,
  signal: AbortSignal,
  { only }: { only?: string } = {},
): Promise<{ copies: CopyVerdict[] }> {
  const copies: CopyVerdict[] = [];
  const stores = deps.stores.filter(({ name }) => only === undefined || name === only);
  const presences = await lookAtCopies({ ...deps, stores }, manifest, signal);
  for (const { name, location, status } of manifest.destinations) {
    if (only !== undefined && name !== only) continue;
    const seen = presences.find(({ destination }) => destination === name);
    const store = stores.find((candidate) => candidate.name === name);
    if (seen !== undefined && store !== undefined) {
      copies.push(await verifyCopy(deps, manifest, store, seen, signal));
      continue;
    }
    if (status !== 'stored') continue;
    const error = new StrongroomError('E_CONFIG_INVALID', `the copy in ${location} cannot be read`, {
      hint: `the manifest names a destination "${name}" that the config does not have for this cluster`,
    });
    copies.push({ destination: name, level: 'failed', openedWith: null, lacks: [], error });
  }
  for (const seen of presences) {
    const store = stores.find(({ name }) => name === seen.destination);
    if (store === undefined || !seen.isCopy || seen.promised !== null) continue;
    copies.push(await verifyCopy(deps, manifest, store, seen, signal));
  }
  if (only === undefined || copies.length > 0) return { copies };
  throw new StrongroomError('E_NOT_FOUND', `the manifest of ${manifest.snapshot} knows no copy in "${only}"`, {
    hint: `it names ${manifest.destinations.map(({ name }) => name).join(', ')}`,
  });
}

async function verifyCopy(
  deps: VerifyDeps,
  manifest: Manifest,
  store: Store,
  { lacks, problems }: CopyPresence,
  signal: AbortSignal,
): Promise<CopyVerdict> {
  const unread = { destination: store.name, openedWith: null, lacks };
  try {
    const { versionId, ...read } = await readThrough(deps, manifest, store, signal);
    // By its checksum alone it could not be told whether what is shown was signed; now it has been read.
    const left = problems.filter((problem) => versionId !== null || !isHiding(problem));
    return { ...unread, ...read, error: left[0] ?? null };
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return { ...unread, level: 'failed', error: e };
  }
}

/** Rejects unless every byte is the signed one, and, where a key opens it, every record of the archive is whole. */
async function readThrough(
  deps: VerifyDeps,
  manifest: Manifest,
  store: Store,
  signal: AbortSignal,
): Promise<{ level: 'archive' | 'ciphertext'; openedWith: string | null; versionId: string | null }> {
  const snapshot = manifest.snapshot as SnapshotId;
  const key = objectKey(deps.catalogue.cluster, 'data', snapshot);
  const stage = `verify ${store.name}`;
  const watch = measure((bytes) => deps.onProgress({ stage, bytes, totalBytes: manifest.ciphertext.bytes }));
  const match = matchManifest(manifest, store.location, { withhold: true });
  const opened = await identityOrNull(deps, snapshot, manifest.keys.recipient, signal);
  const versionId = await copyVersion(manifest, key, store, signal);
  const source = store.get(key, { signal, ...(versionId === null ? {} : { versionId }) });
  if (opened === null) {
    await flow(source, [watch, match], discard, signal);
    return { level: 'ciphertext', openedWith: null, versionId };
  }
  const { headerSha256 } = manifest.ciphertext;
  const archive = verifyArchive({ signal });
  await flow(source, [watch, match, decrypt(opened.identities, { headerSha256 }), archive.stage], discard, signal);
  const record = archiveRecord(await archive.report);
  if (JSON.stringify(record.members) !== JSON.stringify(manifest.archive.members)) {
    throw new StrongroomError(
      'E_MANIFEST',
      `the archive in ${store.location} is not the one that its manifest describes`,
    );
  }
  return { level: 'archive', openedWith: opened.openedWith, versionId };
}

async function identityOrNull(
  deps: VerifyDeps,
  snapshot: SnapshotId,
  recipient: string,
  signal: AbortSignal,
): Promise<{ identities: readonly Secret<string>[]; openedWith: string } | null> {
  try {
    return await openIdentity({ ...deps, cluster: deps.catalogue.cluster }, snapshot, recipient, signal);
  } catch (e) {
    if (isError(e, 'E_KEY_UNAVAILABLE')) return null;
    throw e;
  }
}
