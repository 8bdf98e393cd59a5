/** Which stored copies to read again first. Pure. */
import type { CatalogueEntry } from '../catalogue/catalogue.ts';
import { type RunId, type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { ProofName } from '../store/record-layout.ts';

export type CopyToProve = {
  snapshot: SnapshotId;
  destination: string;
  /** when it was last read in full; null = never since its backup */
  provenAt: Date | null;
};

/** Clocks of two machines may differ by so much; what is later has not happened, in milliseconds. */
const FUTURE_MS = 10 * 60_000;

/**
 * Every copy that a manifest stands for, in the order in which it should be read: those never read again, the newest
 * snapshot first, because that is the one that will be restored; then those whose last reading is the longest ago. A
 * good reading and a bad one count alike: both say what the copy was then. A reading later than `now` counts for nothing:
 * names are not signed, and one from the year 2100 would keep a copy from ever being read.
 */
export function copiesByNeed(
  entries: readonly CatalogueEntry[],
  proofs: readonly ProofName[],
  now: Date,
): CopyToProve[] {
  const latest = now.getTime() + FUTURE_MS;
  const last = new Map<string, RunId>();
  for (const { snapshot, destination, proof } of proofs) {
    const key = `${snapshot} ${destination}`;
    if ((last.get(key) ?? '') < proof && proofTime(proof).getTime() <= latest) last.set(key, proof);
  }
  const copies = entries.flatMap(({ snapshot, destinations }) =>
    destinations.map((destination): CopyToProve => {
      const proof = last.get(`${snapshot} ${destination}`);
      return { snapshot, destination, provenAt: proof === undefined ? null : proofTime(proof) };
    }),
  );
  return copies.toSorted((a, b) => {
    if (a.provenAt === null || b.provenAt === null) {
      if (a.provenAt !== b.provenAt) return a.provenAt === null ? -1 : 1;
      return compare(b.snapshot, a.snapshot);
    }
    return a.provenAt.getTime() - b.provenAt.getTime() || compare(b.snapshot, a.snapshot);
  });
}

/** The time in a proof's id: when the reading began. */
export function proofTime(proof: RunId): Date {
  return snapshotTime(proof as string as SnapshotId);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
