/** Do legal holds and records of holds say the same? Only snapshots that somebody ever held are looked at. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { actsBySnapshot, isHolding, newestAct } from '../catalogue/holds.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import type { Records } from '../catalogue/records.ts';
import { isError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { Store } from '../store/store.ts';
import type { Report } from './audit-findings.ts';
import { objectsOf } from './legal-hold.ts';
import { KIND_NAMES } from './presence.ts';

export type HoldsAudit = {
  catalogue: Catalogue;
  records: Records;
  stores: readonly Store[];
  now: Date;
  report: Report;
};

/** Rejects as a store does. */
export async function auditHolds(on: HoldsAudit, signal: AbortSignal): Promise<void> {
  const { names } = await on.records.holds(signal);
  for (const [snapshot, acts] of actsBySnapshot(names)) {
    const { record } = await newestAct(on.records, acts, signal);
    if (record === null) continue;
    const isHeld = isHolding(record, on.now);
    const manifest = await manifestOrNull(on.catalogue, snapshot, signal);
    for (const store of on.stores) await auditStore(on, store, { snapshot, manifest, isHeld }, signal);
  }
}

async function auditStore(
  { catalogue, report }: HoldsAudit,
  store: Store,
  { snapshot, manifest, isHeld }: { snapshot: SnapshotId; manifest: Manifest | null; isHeld: boolean },
  signal: AbortSignal,
): Promise<void> {
  const differing: string[] = [];
  for (const { kind, key, ...version } of await objectsOf(catalogue, store, snapshot, manifest, signal)) {
    const now = await store.legalHold(key, { signal, ...version });
    if (now === null) return;
    if (now !== isHeld) differing.push(KIND_NAMES[kind]);
  }
  if (differing.length === 0) return;
  const about = { destination: store.name, snapshot };
  if (isHeld) report('hold-ineffective', `it is held, and has no legal hold: ${differing.join(', ')}`, about);
  else report('hold-left', `it is not held any more, and a legal hold is left: ${differing.join(', ')}`, about);
}

async function manifestOrNull(
  catalogue: Catalogue,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<Manifest | null> {
  try {
    return (await catalogue.read(snapshot, signal)).manifest;
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return null;
  }
}
