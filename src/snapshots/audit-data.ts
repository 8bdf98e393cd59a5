/** A data object by what its store tells of it: there, of the signed length, and the one that was stored and proven. */
import type { Catalogue, VerifiedManifest } from '../catalogue/catalogue.ts';
import { hiddenVersion } from '../catalogue/copy.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import type { Records } from '../catalogue/records.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { objectKey } from '../store/layout.ts';
import type { Store, StoredObject } from '../store/store.ts';
import type { Report } from './audit-findings.ts';
import { newestProofs } from './proof-state.ts';

export type DataAudit = { catalogue: Catalogue; records: Records; report: Report };

/** `listed` is what the listing says of it; undefined = it lists none. Rejects as the store does. */
export async function auditData(
  { catalogue, records, report }: DataAudit,
  store: Store,
  listed: StoredObject | undefined,
  { manifest, sha256 }: VerifiedManifest,
  signal: AbortSignal,
): Promise<void> {
  const snapshot = manifest.snapshot as SnapshotId;
  const key = objectKey(catalogue.cluster, 'data', snapshot);
  const about = { destination: store.name, snapshot, key };
  const copy = manifest.destinations.find(({ name }) => name === store.name);
  if (listed !== undefined && listed.bytes === manifest.ciphertext.bytes) {
    // As it was stored: the manifest signs the ETag of each copy.
    if (copy?.status === 'stored' && copy.etag === listed.etag) return;
  }
  const shown = await store.head(key, { signal });
  const kept = await hiddenVersion(manifest, key, store, signal);
  const version = kept === null ? '' : `; the one that was stored is kept as version ${kept}`;
  if (shown === null) {
    report('data-missing', `there is a manifest, and no data${version}`, about);
  } else if (shown.bytes !== manifest.ciphertext.bytes) {
    report('data-length', `${shown.bytes} bytes instead of ${manifest.ciphertext.bytes}${version}`, about);
  } else if (!isSigned(shown.sha256, manifest) && !(await isProvenSince(shown))) {
    const when = shown.modifiedAt.toISOString();
    report('data-rewritten', `it was written again at ${when}, and nothing has proven it since${version}`, about);
  }

  async function isProvenSince({ modifiedAt }: StoredObject): Promise<boolean> {
    const time = snapshotTime(snapshot);
    const { names } = await records.proofs(signal, { since: time, until: time });
    const of = { snapshot, copies: [store.name], manifestSha256: sha256 };
    const { proofs } = await newestProofs(records, names, of, signal);
    return proofs.some(({ verdict, provenAt }) => verdict === 'good' && new Date(provenAt) >= modifiedAt);
  }
}

/** Is `sha256` of a store that of the signed data? One that was copied in one piece has it without parts. */
function isSigned(sha256: string | undefined, { ciphertext }: Manifest): boolean {
  if (sha256 === ciphertext.sha256Composite) return true;
  return ciphertext.parts === 1 && sha256 === ciphertext.partSha256[0];
}
