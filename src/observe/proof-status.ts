/** What reading copies again has shown, by the signed records of it. The names of records are only where to look. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { isError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import { proofTime } from '../snapshots/choose-copies.ts';
import type { ProofName } from '../store/record-layout.ts';
import { CLOCK_TOLERANCE_MS } from './cluster-status.ts';
import type { KnownRecords } from './record-memory.ts';

export type ProofStatus = {
  /** null = never */
  lastGoodAt: Date | null;
  /** copies whose last believable reading was bad, and whose manifest is still there */
  badCopies: number;
};

/** Somebody who plants names that nothing stands behind must not keep us reading for ever. */
const MAX_REFUSED = 50;

/**
 * The proofs by destination. A record counts only when it is signed and says what its name says; one dated in the future
 * is none. Rejects when proofs cannot be listed, or one that matters cannot be asked for.
 */
export async function readProofs(
  records: KnownRecords,
  catalogue: Catalogue,
  destinations: readonly string[],
  now: Date,
  signal: AbortSignal,
): Promise<Map<string, ProofStatus>> {
  const { names } = await records.proofs(signal);
  const horizon = now.getTime() + CLOCK_TOLERANCE_MS;
  const believable = names.filter(({ proof }) => proofTime(proof).getTime() <= horizon);
  const status = new Map<string, ProofStatus>();
  for (const destination of destinations) {
    const own = believable.filter((name) => name.destination === destination);
    status.set(destination, {
      lastGoodAt: await lastGood(records, own, signal),
      badCopies: await countBad(records, catalogue, own, signal),
    });
  }
  return status;
}

async function lastGood(records: KnownRecords, names: readonly ProofName[], signal: AbortSignal): Promise<Date | null> {
  const good = names.filter(({ verdict }) => verdict === 'good').toSorted(newestFirst);
  for (const name of good.slice(0, MAX_REFUSED)) {
    if ((await records.proof(name, signal)) !== null) return proofTime(name.proof);
  }
  return null;
}

/** Only copies that were ever called bad are looked at: there are few, and a good name alone does not clear them. */
async function countBad(
  records: KnownRecords,
  catalogue: Catalogue,
  names: readonly ProofName[],
  signal: AbortSignal,
): Promise<number> {
  const suspects = new Set(names.filter(({ verdict }) => verdict === 'bad').map(({ snapshot }) => snapshot));
  let bad = 0;
  for (const snapshot of suspects) {
    const readings = names.filter((name) => name.snapshot === snapshot).toSorted(newestFirst);
    for (const name of readings.slice(0, MAX_REFUSED)) {
      if ((await records.proof(name, signal)) === null) continue;
      if (name.verdict === 'bad' && (await isThere(catalogue, snapshot, signal))) bad += 1;
      break;
    }
  }
  return bad;
}

/** A snapshot that no destination has a manifest of was removed: its copies are bad for nobody. */
async function isThere(catalogue: Catalogue, snapshot: SnapshotId, signal: AbortSignal): Promise<boolean> {
  try {
    await catalogue.read(snapshot, signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return e.code !== 'E_NOT_FOUND';
  }
  return true;
}

function newestFirst(a: ProofName, b: ProofName): number {
  return a.proof < b.proof ? 1 : -1;
}
