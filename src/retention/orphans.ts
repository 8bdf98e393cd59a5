/** What lies in a destination and belongs to no snapshot there: what of it may go, and why the rest may not. */
import type { SnapshotId } from '../core/ids.ts';
import { isProbe } from '../store/layout.ts';
import type { StoredVersion, UnfinishedUpload } from '../store/store.ts';
import { bytesOf, currentOf, type Inventory, KINDS, type Objects } from './inventory.ts';

export type Orphan = {
  what: 'objects' | 'tombstone' | 'upload' | 'versions';
  /** null = of no snapshot */
  snapshot: SnapshotId | null;
  /** a key, or what the objects have in common */
  name: string;
  action: 'remove' | 'keep';
  reason: string;
  bytes: number;
  /** of `upload` and `versions`: what exactly is to go */
  uploads: UnfinishedUpload[];
  versions: StoredVersion[];
};

export type OrphanContext = {
  now: Date;
  tombstones: ReadonlySet<SnapshotId>;
  /** what a signed journal names as removed from this destination */
  journaled: ReadonlySet<SnapshotId>;
  /** names of other destinations that hold the manifest */
  elsewhere: (snapshot: SnapshotId) => readonly string[];
  /** what tells that it was published once; null = nothing does */
  evidence: (snapshot: SnapshotId) => string | null;
  uploads: readonly UnfinishedUpload[];
};

const DAY_MS = 24 * 3_600_000;

/** Snapshots that have something here and no manifest: a journal may tell why. */
export function withoutManifest({ snapshots }: Inventory): SnapshotId[] {
  return [...snapshots].flatMap(([id, objects]) => (currentOf(objects, 'manifests') === null ? [id] : []));
}

/**
 * Everything without a manifest, each with what is to become of it. Pure. Whoever may write to a bucket can take a manifest away, or hide
 * it behind a delete marker: what was published once is never removed for the lack of its manifest, unless a signed journal says
 * that a prune was at it.
 */
export function findOrphans(inventory: Inventory, context: OrphanContext): Orphan[] {
  const found: Orphan[] = [];
  for (const [snapshot, objects] of inventory.snapshots) {
    if (currentOf(objects, 'manifests') === null) found.push(judge(snapshot, objects, context));
    else if (context.tombstones.has(snapshot)) found.push(buried(snapshot, objects, context));
  }
  for (const upload of context.uploads) {
    const isLeft = isProbe(upload.key) || isOld(upload.startedAt, context.now);
    const since = upload.startedAt.toISOString();
    found.push({
      ...nothing(null, upload.key),
      what: 'upload',
      action: isLeft ? 'remove' : 'keep',
      reason: isLeft ? `unfinished upload of ${since}` : `unfinished upload of ${since}: younger than a day`,
      uploads: [upload],
    });
  }
  const old = inventory.rewritten.filter(({ modifiedAt }) => isOld(modifiedAt, context.now));
  for (const [key, versions] of Map.groupBy(old, (version) => version.key)) {
    found.push({
      ...nothing(null, key),
      what: 'versions',
      reason: `${versions.length} older version(s), replaced since`,
      bytes: versions.reduce((sum, { bytes }) => sum + bytes, 0),
      versions,
    });
  }
  return found;
}

function judge(snapshot: SnapshotId, objects: Objects, context: OrphanContext): Orphan {
  const orphan = { ...nothing(snapshot, snapshot), bytes: bytesOf(objects) };
  const keep = (reason: string): Orphan => ({ ...orphan, action: 'keep', reason });
  if (context.journaled.has(snapshot)) return { ...orphan, reason: 'left by a prune that did not end' };
  const holders = context.elsewhere(snapshot);
  if (holders.length > 0) return keep(`its manifest is in ${holders.join(' and ')}: replicate completes it here`);
  const isShown = KINDS.some((kind) => currentOf(objects, kind) !== null);
  if (!isShown) return keep('hidden by somebody else than a prune: bring its versions back, or remove them by hand');
  if (objects.manifests.length > 0) return keep('its manifest was hidden by somebody else than a prune');
  const evidence = context.evidence(snapshot);
  if (evidence !== null) return keep(`its manifest was taken away by somebody else than a prune: ${evidence}`);
  const newest = KINDS.flatMap((kind) => objects[kind]).map(({ modifiedAt }) => modifiedAt.getTime());
  if (!isOld(new Date(Math.max(...newest)), context.now)) return keep('no manifest, and younger than a day');
  return { ...orphan, reason: 'no manifest for over a day: its backup never ended' };
}

function buried(snapshot: SnapshotId, objects: Objects, context: OrphanContext): Orphan {
  const orphan: Orphan = { ...nothing(snapshot, snapshot), what: 'tombstone', bytes: bytesOf(objects) };
  const holders = context.elsewhere(snapshot);
  const buriedAt = currentOf(objects, 'manifests')?.modifiedAt ?? context.now;
  if (holders.length > 0) return { ...orphan, action: 'keep', reason: `its manifest is in ${holders.join(' and ')}` };
  // A run that was paused for longer does not wake up to publish what its tombstone stops.
  if (isOld(buriedAt, context.now)) {
    return { ...orphan, reason: 'tombstone of a run that lost its lease over a day ago' };
  }
  return { ...orphan, action: 'keep', reason: 'tombstone: its run may still wake up and publish' };
}

function nothing(snapshot: SnapshotId | null, name: string): Orphan {
  return { what: 'objects', snapshot, name, action: 'remove', reason: '', bytes: 0, uploads: [], versions: [] };
}

function isOld(at: Date, now: Date): boolean {
  return now.getTime() - at.getTime() > DAY_MS;
}
