/** What one destination holds, asked of it alone: what would be left if all the others were lost. */
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import { newSnapshotId, parseSnapshotId, type SnapshotId, snapshotTime } from '../core/ids.ts';
import { kindPrefix, objectKey, parseObjectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { type BackupFact, CLOCK_TOLERANCE_MS, type DestinationStatus, type StatusDeps } from './cluster-status.ts';
import { answered } from './patience.ts';

type Read = { status: DestinationStatus; fromTheFuture: SnapshotId[] };

/** Copies whose lock is looked at, and how far back in milliseconds: each costs a request. */
const LOCKS_LOOKED_AT = 10;
const LOCKS_OF_MS = 7 * 86_400_000;

/** Never rejects for a destination that cannot be asked: that is `away`. Rejects on abort, and with a defect. */
export async function readDestination(deps: StatusDeps, store: Store, now: Date, signal: AbortSignal): Promise<Read> {
  const status: DestinationStatus = {
    name: store.name,
    away: null,
    newest: null,
    problems: [],
    copiesMissing: null,
    lastProofAt: null,
    badCopies: null,
    locks: null,
  };
  const read: Read = { status, fromTheFuture: [] };
  const known = deps.silence?.of(store.name, now) ?? null;
  if (known !== null) return { ...read, status: { ...status, away: known } };
  try {
    await answered(store.location, (either) => readInto(read, deps, store, now, either), signal, deps.answerMs);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return { ...read, status: { ...status, away: e, newest: null, locks: null } };
  }
  return read;
}

async function readInto(
  { status, fromTheFuture }: Read,
  deps: StatusDeps,
  store: Store,
  now: Date,
  signal: AbortSignal,
): Promise<void> {
  const own = deps.catalogue.only(store.name);
  const horizon = new Date(now.getTime() + CLOCK_TOLERANCE_MS);
  let { newest, skipped } = await own.latest(signal);
  if (newest !== null && timeOf(newest) > horizon) {
    fromTheFuture.push(newest.manifest.snapshot as SnapshotId);
    const before = await own.latest(signal, { notAfter: horizon });
    newest = before.newest;
    skipped = [...skipped, ...before.skipped];
  }
  status.newest = newest === null ? null : factOf(newest);
  status.problems = unique(skipped);
  if (deps.locked.includes(store.name)) status.locks = await readLocks(deps, store, now, signal);
}

/** By the store itself: what a manifest says of a lock is what was asked for. */
async function readLocks(
  { catalogue: { cluster } }: StatusDeps,
  store: Store,
  now: Date,
  signal: AbortSignal,
): Promise<(Date | null)[]> {
  const since = objectKey(cluster, 'manifests', newSnapshotId(new Date(now.getTime() - LOCKS_OF_MS)));
  const ids: SnapshotId[] = [];
  for await (const { key } of store.list(kindPrefix(cluster, 'manifests'), { signal, after: since })) {
    const id = parseObjectKey(cluster, 'manifests', key);
    if (id !== null) ids.push(id);
  }
  return await Promise.all(
    ids.slice(-LOCKS_LOOKED_AT).map(async (id) => {
      const head = await store.head(objectKey(cluster, 'data', id), { signal });
      return head?.lock?.until ?? null;
    }),
  );
}

/** The facts that are kept of a manifest; the manifest itself may be megabytes. */
export function factOf({ manifest }: VerifiedManifest): BackupFact {
  const snapshot = manifest.snapshot as SnapshotId;
  return {
    snapshot,
    at: snapshotTime(snapshot),
    finishedAt: new Date(manifest.finishedAt),
    bytes: manifest.archive.bytes,
    storedBytes: manifest.ciphertext.bytes,
    records: manifest.archive.state.records,
    members: manifest.archive.raft.servers.map(({ id, address }) => ({ id, address })),
    previous: manifest.previous === null ? null : parseSnapshotId(manifest.previous.snapshot),
  };
}

function timeOf({ manifest }: VerifiedManifest): Date {
  return snapshotTime(manifest.snapshot as SnapshotId);
}

function unique(errors: readonly StrongroomError[]): StrongroomError[] {
  return [...new Map(errors.map((error) => [error.message, error])).values()];
}
