/** Reads stored copies in full and proves them: against the manifest, and, with a key, down to the last record. */
import { verifyArchive } from '../archive/verify.ts';
import { archiveRecord } from '../catalogue/archive-record.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import { matchManifest, readCopy } from '../catalogue/copy.ts';
import { openIdentity } from '../catalogue/identity.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { discard, flow, measure } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { OnProgress } from '../core/progress.ts';
import type { Secret } from '../core/secret.ts';
import { decrypt } from '../crypt/container.ts';
import type { KmsKey } from '../crypt/kms.ts';
import type { Store } from '../store/store.ts';

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
  error: StrongroomError | null;
};

/**
 * Every copy that the manifest promises, one after the other, none skipped for the sake of another. Rejects only when the
 * signal says so; what is wrong with a copy is in its verdict. `manifest` must come from the catalogue, which checked it.
 */
export async function verifySnapshot(
  deps: VerifyDeps,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<{ copies: CopyVerdict[] }> {
  const copies: CopyVerdict[] = [];
  for (const { name, location, status } of manifest.destinations) {
    const store = deps.stores.find((candidate) => candidate.name === name);
    if (store !== undefined) copies.push(await verifyCopy(deps, manifest, store, signal));
    else if (status === 'stored') {
      const error = new StrongroomError('E_CONFIG_INVALID', `the copy in ${location} cannot be read`, {
        hint: `the manifest names a destination "${name}" that the config does not have for this cluster`,
      });
      copies.push({ destination: name, level: 'failed', openedWith: null, error });
    }
  }
  return { copies };
}

async function verifyCopy(
  deps: VerifyDeps,
  manifest: Manifest,
  store: Store,
  signal: AbortSignal,
): Promise<CopyVerdict> {
  const stage = `verify ${store.name}`;
  const watch = measure((bytes) => deps.onProgress({ stage, bytes, totalBytes: manifest.ciphertext.bytes }));
  const match = matchManifest(manifest, store.location, { withhold: true });
  try {
    const opened = await identityOrNull(deps, manifest.snapshot as SnapshotId, manifest.keys.recipient, signal);
    const source = readCopy(deps.catalogue, manifest, store, signal);
    if (opened === null) {
      await flow(source, [watch, match], discard, signal);
      return { destination: store.name, level: 'ciphertext', openedWith: null, error: null };
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
    return { destination: store.name, level: 'archive', openedWith: opened.openedWith, error: null };
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return { destination: store.name, level: 'failed', openedWith: null, error: e };
  }
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
