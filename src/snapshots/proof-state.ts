/** What was last found when the copies of a snapshot were read again. */
import type { ProofRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { ProofName } from '../store/record-layout.ts';

export type CopyProof = Pick<ProofRecord, 'destination' | 'verdict' | 'level' | 'provenAt'>;

/** `good` = a copy is, and none is bad; `none` = no copy was read again since its backup, or none that can be believed. */
export type ProofState = 'good' | 'bad' | 'none';

/** Pure. */
export function proofStateOf(proofs: readonly CopyProof[]): ProofState {
  if (proofs.some(({ verdict }) => verdict === 'bad')) return 'bad';
  return proofs.length > 0 ? 'good' : 'none';
}

/**
 * The newest proof of each copy that can be believed: signed, and, where it says that the copy is good, of the very manifest
 * that is there now (`manifestSha256`; null = none is accepted, so nothing good can be said of it). `names` may be of other
 * snapshots, too. What cannot be believed is in `refused`. Rejects when a record cannot be read now.
 */
export async function newestProofs(
  records: Records,
  names: readonly ProofName[],
  of: { snapshot: SnapshotId; copies: readonly string[]; manifestSha256: string | null },
  signal: AbortSignal,
): Promise<{ proofs: CopyProof[]; refused: StrongroomError[] }> {
  const proofs: CopyProof[] = [];
  const refused: StrongroomError[] = [];
  const mine = names
    .filter(({ snapshot }) => snapshot === of.snapshot)
    .toSorted((a, b) => (a.proof < b.proof ? 1 : -1));
  for (const copy of of.copies) {
    for (const name of mine.filter(({ destination }) => destination === copy)) {
      try {
        const { destination, verdict, level, provenAt, manifestSha256 } = await records.readProof(name, signal);
        if (verdict === 'good' && manifestSha256 !== of.manifestSha256) continue;
        proofs.push({ destination, verdict, level, provenAt });
        break;
      } catch (e) {
        signal.throwIfAborted();
        if (!isError(e)) throw e;
        if (e.retryable) throw e;
        refused.push(e);
      }
    }
  }
  return { proofs, refused };
}
