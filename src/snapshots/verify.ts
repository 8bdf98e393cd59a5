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
import type { ObjectKind } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { lookAtCopies } from './presence.ts';

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
 * Every copy that the manifest promises, or `only` that in one destination, one after the other, none skipped for the sake
 * of another. Rejects when the signal says so, and with E_NOT_FOUND when the manifest names no such copy; what is wrong
 * with a copy is in its verdict. `manifest` must come from the catalogue, which checked it.
 */
export async function verifySnapshot(
  deps: VerifyDeps,
  manifest: Manifest,
  signal: AbortSignal,
  { only }: { only?: string } = {},
): Promise<{ copies: CopyVerdict[] }> {
  const copies: CopyVerdict[] = [];
  const named = manifest.destinations.filter(({ name }) => only === undefined || name === only);
  if (only !== undefined && named.length === 0) {
    throw new StrongroomError('E_NOT_FOUND', `the manifest of ${manifest.snapshot} knows no copy in "${only}"`, {
      hint: `it names ${manifest.destinations.map(({ name }) => name).join(', ')}`,
    });
  }
  const presences = await lookAtCopies(
    { ...deps, stores: deps.stores.filter(({ name }) => named.some((copy) => copy.name === name)) },
    manifest,
    signal,
  );
  for (const { name, location, status } of named) {
    const store = deps.stores.find((candidate) => candidate.name === name);
    if (store !== undefined) {
      const verdict = await verifyCopy(deps, manifest, store, signal);
      const seen = presences.find(({ destination }) => destination === name);
      copies.push({ ...verdict, lacks: seen?.lacks ?? [], error: verdict.error ?? seen?.problems[0] ?? null });
    } else if (status === 'stored') {
      const error = new StrongroomError('E_CONFIG_INVALID', `the copy in ${location} cannot be read`, {
        hint: `the manifest names a destination "${name}" that the config does not have for this cluster`,
      });
      copies.push({ destination: name, level: 'failed', openedWith: null, lacks: [], error });
    }
  }
  return { copies };
}

async function verifyCopy(
  deps: VerifyDeps,
  manifest: Manifest,
  store: Store,
  signal: AbortSignal,
): Promise<Omit<CopyVerdict, 'lacks'>> {
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
