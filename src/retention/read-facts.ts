/** What is true of each snapshot in one destination: by what is there, by what is signed, and by nothing else. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import { currentHolds } from '../catalogue/holds.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { readMarks } from '../catalogue/marks.ts';
import type { HoldRecord, MarkRecord, ProofRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { commitIn, MAX_TOMBSTONE_BYTES } from '../catalogue/tombstone.ts';
import { eachBounded } from '../core/bounded.ts';
import { isError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { ProofName } from '../store/record-layout.ts';
import type { Store } from '../store/store.ts';
import type { SnapshotFacts } from './facts.ts';
import { bytesOf, currentOf, type Inventory, KINDS, type Objects, takeInventory } from './inventory.ts';

export type ReadDeps = { catalogue: Catalogue; records: Records };

/** What holds for all destinations; read once for a plan. */
export type Shared = {
  holds: Map<SnapshotId, HoldRecord>;
  marks: Map<SnapshotId, MarkRecord>;
  /** of each snapshot and destination, newest first */
  proofs: Map<string, ProofName[]>;
};

export type DestinationFacts = {
  store: Store;
  inventory: Inventory;
  /** of every snapshot that has a manifest here, good or not; tombstones are none */
  facts: SnapshotFacts[];
  tombstones: Set<SnapshotId>;
  /** snapshots that a good manifest here names as the one before it: they were published once */
  named: Set<SnapshotId>;
  /** the end of the lock by the word of the manifest; an extension since is not in it */
  lockedBy: Map<SnapshotId, Date>;
  /** snapshots whose copy here was read and found bad, with what was found */
  bad: Map<SnapshotId, string>;
  /** when the copy here was last proven good by reading it again */
  provenAt: Map<SnapshotId, Date>;
};

const READS_AT_ONCE = 16;
/** What says that a document is not to be believed. Everything else says that it is not known. */
const REFUSALS = ['E_NOT_FOUND', 'E_SIGNATURE', 'E_MANIFEST'] as const;

/** Holds, marks and names of proofs. Rejects where a destination does not answer: it may be the only one that knows of a hold. */
export async function readShared({ records }: ReadDeps, now: Date, signal: AbortSignal): Promise<Shared> {
  const holds = await currentHolds(records, now, signal);
  const { ignored, failures } = await readMarks(records, signal);
  const { names, failures: unheard } = await records.proofs(signal);
  for (const failure of [...failures, ...unheard]) throw failure;
  const newestFirst = names.toSorted((a, b) => (a.proof < b.proof ? 1 : -1));
  return { holds, marks: ignored, proofs: Map.groupBy(newestFirst, (name) => keyOf(name.snapshot, name.destination)) };
}

/**
 * The facts of every snapshot in `store`, without their locks: those cost a request for each object. A snapshot is good when its own
 * manifest and signature are here and right, its other objects are here in the length that was signed, and the newest proof of
 * this copy that can be believed does not say otherwise. No record of drills exists yet, so none counts as drilled.
 *
 * Rejects with the store's error: what could not be read is not known to be bad.
 */
export async function readFacts(
  deps: ReadDeps,
  store: Store,
  shared: Shared,
  signal: AbortSignal,
): Promise<DestinationFacts> {
  const inventory = await takeInventory(store, deps.catalogue.cluster, signal);
  const found: DestinationFacts = {
    store,
    inventory,
    facts: [],
    tombstones: new Set(),
    named: new Set(),
    lockedBy: new Map(),
    bad: new Map(),
    provenAt: new Map(),
  };
  const published = [...inventory.snapshots].filter(([, objects]) => currentOf(objects, 'manifests') !== null);
  await eachBounded(
    published,
    READS_AT_ONCE,
    ([id, objects]) => readOne(deps, found, shared, id, objects, signal),
    signal,
  );
  return found;
}

async function readOne(
  deps: ReadDeps,
  found: DestinationFacts,
  shared: Shared,
  snapshot: SnapshotId,
  objects: Objects,
  signal: AbortSignal,
): Promise<void> {
  const { store } = found;
  if ((currentOf(objects, 'manifests')?.bytes ?? 0) <= MAX_TOMBSTONE_BYTES) {
    const { kind } = await commitIn(deps.catalogue, store, snapshot, signal);
    if (kind === 'tombstone') {
      found.tombstones.add(snapshot);
      return;
    }
  }
  const manifest = await readManifest(deps, store, snapshot, signal);
  const proof = await newestProof(deps, shared.proofs.get(keyOf(snapshot, store.name)) ?? [], signal);
  const provenAt = proof?.verdict === 'good' ? new Date(proof.provenAt) : null;
  const fault = faultOf(manifest, objects, proof);
  if (proof?.verdict === 'bad')
    found.bad.set(snapshot, proof.error?.message ?? 'it was read and is not what was signed');
  if (provenAt !== null) found.provenAt.set(snapshot, provenAt);
  if (manifest !== null) noteManifest(found, snapshot, manifest);
  const mark = shared.marks.get(snapshot);
  const hold = shared.holds.get(snapshot);
  found.facts.push({
    snapshot,
    createdAt: snapshotTime(snapshot),
    purpose: manifest?.purpose ?? 'backup',
    isGood: fault === null,
    ...(fault === null ? {} : { fault }),
    verifiedAt: fault === null ? latest(provenAtBackup(manifest, store), provenAt) : null,
    drilledAt: null,
    hold:
      hold === undefined
        ? null
        : { who: hold.who, why: hold.why, until: hold.until === null ? null : new Date(hold.until) },
    lockedUntil: null,
    bytes: bytesOf(objects),
    isIgnored: mark !== undefined && !(provenAt !== null && provenAt > new Date(mark.at)),
  });
}

/** The manifest of this destination itself; null = it is not to be believed. */
async function readManifest(
  { catalogue }: ReadDeps,
  store: Store,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<Manifest | null> {
  try {
    return (await catalogue.only(store.name).read(snapshot, signal)).manifest;
  } catch (e) {
    if (isRefusal(e)) return null;
    throw e;
  }
}

/** The newest of `names` that can be believed: an unsigned "good" does not hide a signed "bad". */
async function newestProof(
  { records }: ReadDeps,
  names: readonly ProofName[],
  signal: AbortSignal,
): Promise<ProofRecord | null> {
  for (const name of names) {
    try {
      return await records.readProof(name, signal);
    } catch (e) {
      if (!isRefusal(e)) throw e;
    }
  }
  return null;
}

function faultOf(manifest: Manifest | null, objects: Objects, proof: ProofRecord | null): string | null {
  if (manifest === null) return 'manifest refused';
  const missing = KINDS.filter((kind) => currentOf(objects, kind) === null);
  if (missing.length > 0) return `no ${missing.join(' and ')} here`;
  const bytes = currentOf(objects, 'data')?.bytes ?? 0;
  if (bytes !== manifest.ciphertext.bytes) return `${bytes} bytes of data instead of ${manifest.ciphertext.bytes}`;
  return proof?.verdict === 'bad' ? 'found bad when it was read again' : null;
}

function provenAtBackup(manifest: Manifest | null, { name }: Store): Date | null {
  const copy = manifest?.destinations.find((one) => one.name === name);
  return manifest !== null && copy?.status === 'stored' ? new Date(manifest.finishedAt) : null;
}

function noteManifest(found: DestinationFacts, snapshot: SnapshotId, manifest: Manifest): void {
  if (manifest.previous !== null) found.named.add(manifest.previous.snapshot as SnapshotId);
  const copy = manifest.destinations.find(({ name }) => name === found.store.name);
  if (copy?.status === 'stored' && copy.lock !== undefined) found.lockedBy.set(snapshot, new Date(copy.lock.until));
}

function isRefusal(e: unknown): boolean {
  return REFUSALS.some((code) => isError(e, code));
}

function keyOf(snapshot: SnapshotId, destination: string): string {
  return `${snapshot} ${destination}`;
}

function latest(a: Date | null, b: Date | null): Date | null {
  if (a === null || b === null) return a ?? b;
  return a > b ? a : b;
}
