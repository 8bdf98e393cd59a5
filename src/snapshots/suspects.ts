/** Copies with a word against them: the newest reading that can be believed found them bad. */
import type { ProofRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import { copyKey, newestBelievable, proofsByCopy } from './proofs.ts';
import type { Survey } from './survey.ts';

export type Suspects = {
  /** by {@link copyKey} */
  bad: Map<string, ProofRecord>;
  /** copies of which it cannot be told now */
  unread: { snapshot: SnapshotId; destination: string; error: StrongroomError }[];
};

/** One record is read for each copy that a reading ever found bad, and none for the others. Rejects when nothing can be listed. */
export async function badProofs(records: Records, { held }: Survey, signal: AbortSignal): Promise<Suspects> {
  const { names } = await records.proofs(signal);
  const suspects: Suspects = { bad: new Map(), unread: [] };
  for (const proofs of proofsByCopy(names).values()) {
    const [first] = proofs;
    if (first === undefined || !proofs.some(({ verdict }) => verdict === 'bad')) continue;
    const { snapshot, destination } = first;
    if (!held.has(destination)) continue;
    try {
      const record = await newestBelievable(records, proofs, signal);
      if (record?.verdict === 'bad') suspects.bad.set(copyKey(first), record);
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      suspects.unread.push({ snapshot, destination, error: e });
    }
  }
  return suspects;
}

/** Was it the stored data that was found bad, and not what is in it, nor an object beside it? */
export function isAgainstData({ level, error }: ProofRecord): boolean {
  return level === 'failed' && ['E_STORE_CHECKSUM', 'E_NOT_FOUND', 'E_STORE_RESPONSE'].includes(error?.code ?? '');
}

/** Was it something that no other copy can help: the signed bytes are there, and are not what they should be? */
export function isBeyondCopies(proof: ProofRecord): boolean {
  return proof.level === 'failed' && !isAgainstData(proof);
}
