/** One stored snapshot as the plain archive that the server once sent: for people who must do without strongroom. */
import type { ArchiveReport } from '../archive/report.ts';
import { verifyArchive } from '../archive/verify.ts';
import { checkArchive } from '../catalogue/archive-record.ts';
import type { Catalogue, VerifiedManifest } from '../catalogue/catalogue.ts';
import { answeringFirst, firstUsableCopy, matchManifest, readCopy } from '../catalogue/copy.ts';
import { openIdentity } from '../catalogue/identity.ts';
import { StrongroomError } from '../core/errors.ts';
import { flow, measure } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { OnProgress } from '../core/progress.ts';
import type { Secret } from '../core/secret.ts';
import { decrypt } from '../crypt/container.ts';
import type { KmsKey } from '../crypt/kms.ts';
import type { Store } from '../store/store.ts';
import { PlainFile, unfinishedIn } from './plain-file.ts';
import { checkTargetRoom, type PlainTarget } from './plain-target.ts';

export type ExportDeps = {
  catalogue: Catalogue;
  stores: readonly Store[];
  kms: readonly KmsKey[];
  identities: readonly Secret<string>[];
  log: Log;
  onProgress: OnProgress;
};

export type ExportResult = {
  cluster: string;
  snapshot: string;
  /** ISO 8601 */
  createdAt: string;
  /** absolute path of the file */
  output: string;
  bytes: number;
  /** hex, of the whole file */
  sha256: string;
  raft: { index: number; term: number };
  product: ArchiveReport['product'];
  productVersion: string | null;
  seal: Pick<ArchiveReport['seal'], 'type' | 'shares' | 'threshold'>;
  openedWith: string;
  /** the destination it came from */
  copy: { destination: string; location: string };
  /** what it does to a cluster that it is restored into */
  cautions: string[];
  warnings: string[];
};

/**
 * Writes the snapshot of `found` to `target`: the first copy whose every byte is the signed one, decrypted, and verified to
 * the last record before it gets its name. Nothing is at `target` before that, and nothing is left anywhere after a
 * rejection: E_SPACE, E_PRECONDITION, E_KEY_UNAVAILABLE, E_STORE_CHECKSUM when no copy is whole, `signal.reason` …
 */
export async function exportSnapshot(
  deps: ExportDeps,
  found: VerifiedManifest,
  target: PlainTarget,
  signal: AbortSignal,
): Promise<ExportResult> {
  const { manifest } = found;
  const { cluster } = deps.catalogue;
  const stores = answeringFirst(deps.stores, found);
  await checkTargetRoom(target, manifest.archive.bytes);
  const opened = await openIdentity(
    { ...deps, cluster, stores },
    manifest.snapshot as SnapshotId,
    manifest.keys.recipient,
    signal,
  );

  const fetchTo = async (file: PlainFile, store: Store): Promise<ArchiveReport> => {
    const stage = `export from ${store.name}`;
    const watch = measure((bytes) => deps.onProgress({ stage, bytes, totalBytes: manifest.ciphertext.bytes }));
    const match = matchManifest(manifest, store.location, { withhold: true });
    const plain = decrypt(opened.identities, { headerSha256: manifest.ciphertext.headerSha256 });
    const verify = verifyArchive({ signal, hashArchive: true });
    const source = readCopy(deps.catalogue, manifest, store, signal);
    const { bytes } = await flow(source, [watch, match, plain, verify.stage], file.write, signal);
    const report = await verify.report;
    checkArchive(report, manifest);
    if (bytes === report.bytes) return report;
    throw new StrongroomError('E_BUG', `${bytes} bytes were written of an archive of ${report.bytes}`);
  };

  const usable = await (async () => {
    await using file = await PlainFile.create(target, deps.log);
    const copy = await firstUsableCopy(
      { cluster, stores, log: deps.log },
      manifest,
      (candidate) => fetchTo(file, candidate),
      signal,
    );
    await file.publish(signal);
    return copy;
  })();
  const { store, value: report } = usable;

  return {
    cluster,
    snapshot: manifest.snapshot,
    createdAt: manifest.createdAt,
    output: target.path,
    bytes: report.bytes,
    sha256: sha256Of(report),
    raft: { index: report.raft.index, term: report.raft.term },
    product: report.product,
    productVersion: report.productVersion,
    seal: { type: report.seal.type, shares: report.seal.shares, threshold: report.seal.threshold },
    openedWith: opened.openedWith,
    copy: { destination: store.name, location: store.location },
    cautions: report.cautions,
    warnings: [
      plainWarning(target, report),
      ...(await unfinishedIn(target)).map(
        (path) => `${path} is of an export that was killed, or still runs: delete it if none does, it holds plain data`,
      ),
      ...found.refused.map(({ destination, error }) => `${destination}: ${error.message}`),
      ...usable.refused.map((passed) => `${passed.store}: ${passed.error.message}`),
    ],
  };
}

/** Said every time: nothing of strongroom protects this file any more. */
function plainWarning({ path }: PlainTarget, { seal }: ArchiveReport): string {
  const holder = seal.type === 'shamir' ? 'its unseal key shares' : `its ${seal.type} seal key`;
  return (
    `${path} is the whole vault, and no longer encrypted by strongroom: only the cluster's own seal protects it, and ` +
    `whoever also has ${holder} reads every secret in it; delete it after use`
  );
}

function sha256Of({ sha256 }: ArchiveReport): string {
  if (sha256 !== null) return sha256;
  throw new StrongroomError('E_BUG', 'the exported archive was not hashed');
}
