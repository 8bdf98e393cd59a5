/** What the readings of stored copies showed: of each copy the newest reading that can be believed. */
import type { ProofRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { isUnbelievable } from '../catalogue/unbelievable.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { ProofName } from '../store/record-layout.ts';

/** What tells one copy from all others. */
export function copyKey({ snapshot, destination }: { snapshot: SnapshotId; destination: string }): string {
  return `${snapshot} ${destination}`;
}

/** Names by {@link copyKey}, oldest first. */
export function proofsByCopy(names: readonly ProofName[]): Map<string, ProofName[]> {
  const copies = new Map<string, ProofName[]>();
  for (const name of names) {
    const known = copies.get(copyKey(name));
    if (known === undefined) copies.set(copyKey(name), [name]);
    else known.push(name);
  }
  for (const proofs of copies.values()) proofs.sort((a, b) => (a.proof < b.proof ? -1 : 1));
  return copies;
}

/**
 * The newest record of `names`, oldest first, that is signed and says what its name says; null = none is. Anybody who may
 * write to a destination can make a name. Rejects when no destination can be read now: that is not known then.
 */
export async function newestBelievable(
  records: Records,
  names: readonly ProofName[],
  signal: AbortSignal,
): Promise<ProofRecord | null> {
  for (const name of names.toReversed()) {
    try {
      return await records.readProof(name, signal);
    } catch (e) {
      signal.throwIfAborted();
      if (!isUnbelievable(e)) throw e;
    }
  }
  return null;
}
