/** Copies that look wrong by their names alone, and are right by a signed record: removed on purpose, or made again and proven. */
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import { removedOnPurpose } from '../catalogue/removals.ts';
import { isUnbelievable } from '../catalogue/unbelievable.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { type CopyPresence, isHiding } from '../snapshots/presence.ts';
import { objectKey } from '../store/layout.ts';
import type { StatusDeps } from './cluster-status.ts';

/**
 * The same copies of `found` without the problems that a record explains, and without those that retention removed. Asks for
 * nothing where there is no problem. Rejects where a record cannot be read now.
 */
export async function withoutExcused(
  deps: StatusDeps,
  found: VerifiedManifest,
  copies: readonly CopyPresence[],
  signal: AbortSignal,
): Promise<CopyPresence[]> {
  const snapshot = found.manifest.snapshot as SnapshotId;
  const gone = copies.filter(({ lacks }) => lacks.includes('manifests'));
  const isRemoved = await removedOnPurpose(
    deps.records,
    gone.map(({ destination }) => ({ snapshot, destination })),
    signal,
  );
  const left = copies.filter(({ destination }) => !isRemoved({ snapshot, destination }));
  return await Promise.all(
    left.map(async (copy) => {
      if (!copy.problems.some(isHiding) || !(await isProvenSince(deps, found, copy.destination, signal))) return copy;
      return { ...copy, problems: copy.problems.filter((problem) => !isHiding(problem)) };
    }),
  );
}

/** Over the version that the manifest names other data lies: was that proven to be the signed one after it was written? */
async function isProvenSince(
  { catalogue, records, stores }: StatusDeps,
  { manifest, sha256 }: VerifiedManifest,
  destination: string,
  signal: AbortSignal,
): Promise<boolean> {
  const snapshot = manifest.snapshot as SnapshotId;
  const store = stores.find(({ name }) => name === destination);
  const shown = await store?.head(objectKey(catalogue.cluster, 'data', snapshot), { signal });
  if (shown === null || shown === undefined) return false;
  const time = snapshotTime(snapshot);
  const { names } = await records.proofs(signal, { since: time, until: time });
  const ours = names.filter((name) => name.snapshot === snapshot && name.destination === destination);
  for (const name of ours.toSorted((a, b) => (a.proof < b.proof ? 1 : -1))) {
    try {
      const proof = await records.readProof(name, signal);
      return (
        proof.verdict === 'good' && proof.manifestSha256 === sha256 && new Date(proof.provenAt) >= shown.modifiedAt
      );
    } catch (e) {
      if (!isUnbelievable(e)) throw e;
    }
  }
  return false;
}
