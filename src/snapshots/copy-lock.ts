/** Until when a copy that is made anew is locked. */
import type { Manifest } from '../catalogue/manifest.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { factsOfName, type RetentionPolicy } from '../retention/facts.ts';
import { type LockLimits, lockUntil } from '../retention/lock-until.ts';
import type { LockMode, PutOptions, Store } from '../store/store.ts';

/** Less than this is left of a lock: it would be over before it could do any good. */
const SHORTEST_LOCK_MS = 60_000;

/** Where copies are to be. */
export type Destination = {
  store: Store;
  /**
   * keep every object of a snapshot against deletion for so long, in milliseconds; with `follow` until the policy could let go of
   * it. null = nothing is locked there
   */
  lock: { mode: LockMode; keepMs: number; follow?: { policy: RetentionPolicy; limits: LockLimits } } | null;
};

/**
 * The lock of what is written anew: as long as the copy would have been locked had it never been harmed, by the manifest or
 * by the config of today, whichever is longer. Counted from the snapshot and not from now: a repair must not keep a copy
 * beyond the time when its snapshot is to go, least of all in compliance mode, which nobody can lift. A lock whose time is over is not set
 * again; one that a longer-lived generation needs is extended there as for any other copy.
 *
 * Where locks follow the retention it is the policy that says the time, from `existing`, the names in that destination.
 */
export function lockFor(
  { store, lock }: Destination,
  manifest: Manifest,
  existing: readonly SnapshotId[],
  now: Date,
): Pick<PutOptions, 'lock'> {
  if (lock === null) return {};
  const snapshot = manifest.snapshot as SnapshotId;
  const copy = manifest.destinations.find(({ name }) => name === store.name);
  const signed = copy?.status === 'stored' && copy.lock !== undefined ? Date.parse(copy.lock.until) : 0;
  const until = Math.max(signed, configured(lock, manifest, existing, snapshot, now));
  if (until < now.getTime() + SHORTEST_LOCK_MS) return {};
  return { lock: { mode: lock.mode, until: new Date(until) } };
}

/** Milliseconds. */
function configured(
  { keepMs, follow }: NonNullable<Destination['lock']>,
  { purpose }: Manifest,
  existing: readonly SnapshotId[],
  snapshot: SnapshotId,
  now: Date,
): number {
  const createdAt = snapshotTime(snapshot);
  if (follow === undefined) return createdAt.getTime() + keepMs;
  const upload = { snapshot, createdAt, purpose };
  return lockUntil(upload, existing.map(factsOfName), follow.policy, now, follow.limits).getTime();
}
