/** One snapshot in all stores: what is there against what its signed manifest promises. No data is read. */
import type { Catalogue, VerifiedManifest } from '../catalogue/catalogue.ts';
import type { Records } from '../catalogue/records.ts';
import { isError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { type ObjectKind, objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { auditData } from './audit-data.ts';
import { kindOfRefusal, type Report } from './audit-findings.ts';
import { auditKeys } from './audit-keys.ts';
import type { Objects, Sighting } from './audit-walk.ts';
import { KIND_NAMES, KINDS } from './presence.ts';

/** Did retention remove `snapshot` from `destination`, by a record that can be believed? */
export type IsRemoved = (snapshot: SnapshotId, destination: string, signal: AbortSignal) => Promise<boolean>;

export type SnapshotAudit = {
  catalogue: Catalogue;
  records: Records;
  /** those that can still be listed */
  stores: readonly Store[];
  isRemoved: IsRemoved;
  now: Date;
  report: Report;
};

/** What the chain needs to know of a snapshot. */
export type Seen = {
  /** a manifest is there, good or bad */
  isThere: boolean;
  /** the first that was accepted */
  truth: VerifiedManifest | null;
};

/** A run takes hours at most: what has no manifest after a day never gets one, in milliseconds. */
export const RUN_MS = 24 * 3_600_000;

/** Reports what is not right with one snapshot. Rejects as a store does that does not answer any more. */
export async function auditSnapshot(
  on: SnapshotAudit,
  { snapshot, stores }: Sighting,
  signal: AbortSignal,
): Promise<Seen> {
  const accepted: VerifiedManifest[] = [];
  let isThere = false;
  for (const [store, objects] of stores) {
    if (objects.manifests === undefined) continue;
    const found = await readManifest(on, store, snapshot, objects, signal);
    if (found !== 'gone') isThere = true;
    else delete objects.manifests;
    if (typeof found === 'object') accepted.push(found);
  }
  const [truth] = accepted;
  if (truth === undefined) {
    for (const [store, objects] of stores) {
      if (objects.manifests === undefined) await auditWithoutTruth(on, store, snapshot, { objects, isThere }, signal);
    }
    return { isThere, truth: null };
  }
  for (const { sha256, readFrom } of accepted) {
    if (sha256 === truth.sha256) continue;
    const message = `the manifest in ${readFrom} is another one than in ${truth.readFrom}, and both are signed`;
    on.report('manifests-differ', message, { destination: readFrom, snapshot });
  }
  for (const store of on.stores) await auditCopy(on, store, stores.get(store) ?? {}, truth, signal);
  await auditKeys(on, stores, snapshot, signal);
  return { isThere, truth };
}

async function readManifest(
  { catalogue, report }: SnapshotAudit,
  store: Store,
  snapshot: SnapshotId,
  { sigs }: Objects,
  signal: AbortSignal,
): Promise<VerifiedManifest | 'refused' | 'gone'> {
  const about = { destination: store.name, snapshot, key: objectKey(catalogue.cluster, 'manifests', snapshot) };
  try {
    return await catalogue.only(store.name).read(snapshot, signal);
  } catch (e) {
    signal.throwIfAborted();
    // It was listed, and is gone: removed meanwhile.
    if (isError(e, 'E_NOT_FOUND')) return 'gone';
    if (!isError(e, 'E_SIGNATURE') && !isError(e, 'E_MANIFEST')) throw e;
    const isUnsigned = sigs === undefined && (await isAbsent(store, catalogue, 'sigs', snapshot, signal));
    report(isUnsigned ? 'manifest-unsigned' : kindOfRefusal(e), e.message, about);
    return 'refused';
  }
}

async function auditWithoutTruth(
  { catalogue, report, now }: SnapshotAudit,
  store: Store,
  snapshot: SnapshotId,
  { objects, isThere }: { objects: Objects; isThere: boolean },
  signal: AbortSignal,
): Promise<void> {
  const names = KINDS.filter((kind) => objects[kind] !== undefined);
  if (names.length === 0 || !(await isAbsent(store, catalogue, 'manifests', snapshot, signal))) return;
  const about = { destination: store.name, snapshot };
  const what = names.map((kind) => KIND_NAMES[kind]).join(', ');
  if (isThere) report('manifest-missing', `${what}, and no manifest; that of another destination is refused`, about);
  else if (isRecent(snapshot, now)) report('running', `${what}, and no manifest yet`, about);
  else report('orphan', `${what}, and no destination has the manifest`, about);
}

async function auditCopy(
  on: SnapshotAudit,
  store: Store,
  objects: Objects,
  truth: VerifiedManifest,
  signal: AbortSignal,
): Promise<void> {
  const { manifest } = truth;
  const { catalogue, report, now } = on;
  const snapshot = manifest.snapshot as SnapshotId;
  const about = { destination: store.name, snapshot };
  const promised = manifest.destinations.find(({ name }) => name === store.name)?.status ?? null;
  const names = KINDS.filter((kind) => objects[kind] !== undefined);
  if (objects.manifests === undefined) {
    if (!(await isAbsent(store, catalogue, 'manifests', snapshot, signal))) return;
    const what = names.map((kind) => KIND_NAMES[kind]).join(', ');
    if (names.length === 0) {
      if (promised !== 'stored' || (await on.isRemoved(snapshot, store.name, signal))) return;
      report('copy-missing', 'nothing of it is there, and its manifest says that it was stored', about);
    } else if (promised === 'stored') report('manifest-missing', `${what}, and no manifest`, about);
    else if (isRecent(snapshot, now)) report('running', `${what}, and no manifest yet`, about);
    else report('leftover', `${what}, and no manifest; none was promised there`, about);
    if (promised !== 'stored') return;
  }
  if (names.length > 0) await auditData(on, store, objects.data, truth, signal);
  if (names.length > 0 && objects.keys === undefined && (await isAbsent(store, catalogue, 'keys', snapshot, signal))) {
    report('keys-missing', 'it has no keys.json', { ...about, key: objectKey(catalogue.cluster, 'keys', snapshot) });
  }
}

/** Listings of different kinds are minutes apart in a large bucket: what seems to lack is asked for once more. */
async function isAbsent(
  store: Store,
  { cluster }: Catalogue,
  kind: ObjectKind,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<boolean> {
  return (await store.head(objectKey(cluster, kind, snapshot), { signal })) === null;
}

/** May the run that began it still be at work? An id from the future is nobody's. */
function isRecent(snapshot: SnapshotId, now: Date): boolean {
  const age = now.getTime() - snapshotTime(snapshot).getTime();
  return age < RUN_MS && age > -RUN_MS / 24;
}
