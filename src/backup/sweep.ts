/**
 * What a run that was killed leaves behind. The next run removes what nobody else can know of (spool files, unfinished
 * uploads, objects without a manifest), and completes a snapshot that was published in some destinations only.
 */
import { commitIn } from '../catalogue/tombstone.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import { removeSpoolFiles } from '../spool/folder.ts';
import { clusterPrefix, isProbe, type ObjectKey, type ObjectKind, objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { completeCopies } from './complete.ts';
import { forget, noted } from './journal.ts';
import type { BackupDeps } from './options.ts';

export type SweepDeps = Pick<BackupDeps, 'cluster' | 'catalogue' | 'destinations' | 'clock' | 'log'>;

export type Traces = {
  snapshot: SnapshotId;
  removed: string[];
  /** destinations that now have the manifest, too */
  completed: string[];
  /** a manifest exists somewhere: the snapshot stays */
  published: boolean;
  /** something is still to be done, or not known: the note stays for the next run */
  incomplete: boolean;
};

/** An upload that nobody noted here may belong to a live run elsewhere; after a day it does not. */
const FOREIGN_UPLOAD_AGE_MS = 24 * 3_600_000;
const ORPHANS = ['data', 'sigs', 'keys'] as const satisfies readonly ObjectKind[];
const KINDS = [...ORPHANS, 'manifests'] as const satisfies readonly ObjectKind[];

/**
 * The first look, before a run does anything of its own; the cluster's lock must be held. The notes stay: what the killed
 * run had sent may still arrive. Give what this resolves to to {@link sweepAgain} at the end of the run.
 */
export async function sweepAfterCrash(deps: SweepDeps, folder: string, signal: AbortSignal): Promise<SnapshotId[]> {
  await removeSpoolFiles(folder);
  return await sweepDestinations(deps, folder, signal);
}

/** {@link sweepAfterCrash} for a run that has files of its own in the spool already: those of killed runs are its business. */
export async function sweepDestinations(deps: SweepDeps, folder: string, signal: AbortSignal): Promise<SnapshotId[]> {
  const snapshots = await noted(folder);
  for (const snapshot of snapshots) {
    const traces = await clearTraces(deps, snapshot, { isLast: false }, signal);
    deps.log.warn({ cluster: deps.cluster, ...traces }, 'cleaned up after a run that was killed');
  }
  await removeOldUploads(deps, signal);
  return snapshots;
}

/**
 * The second look. What cannot be done now, be it for an abort, keeps its note, so that the run after this one tries
 * again: the snapshot that was just made is good without it.
 */
export async function sweepAgain(
  deps: SweepDeps,
  folder: string,
  snapshots: readonly SnapshotId[],
  signal: AbortSignal,
): Promise<void> {
  for (const snapshot of snapshots) {
    try {
      const traces = await clearTraces(deps, snapshot, { isLast: true }, signal);
      if (!traces.incomplete) await forget(folder, snapshot);
    } catch (e) {
      if (!signal.aborted) throw e;
      return;
    }
  }
}

/**
 * Removes every object and upload of a snapshot that was never published, or completes one that was. Best effort: what
 * stays is never visible.
 *
 * `isLast: false` = a request of the run may still be on its way. The signature is stored before the manifest is sent,
 * so where there is a signature a manifest may come, and it must not find its data gone: then nothing is removed yet.
 * `isUnpublished` = the caller knows that no manifest was ever sent: a destination that does not answer is then no
 * reason to leave anything in the others.
 */
export async function clearTraces(
  deps: SweepDeps,
  snapshot: SnapshotId,
  { isLast, isUnpublished = false }: { isLast: boolean; isUnpublished?: boolean },
  signal: AbortSignal,
): Promise<Traces> {
  const traces: Traces = { snapshot, removed: [], completed: [], published: false, incomplete: false };
  const stores = deps.destinations.map(({ store }) => store);
  let isSigned = false;
  for (const store of isUnpublished ? [] : stores) {
    try {
      const { kind } = await commitIn(deps.catalogue, store, snapshot, signal);
      traces.published ||= kind === 'manifest';
      // Where a tombstone is, no manifest can come any more.
      isSigned ||=
        kind !== 'tombstone' && (await store.head(objectKey(deps.cluster, 'sigs', snapshot), { signal })) !== null;
    } catch (e) {
      if (!isError(e)) throw e;
      // Not knowing whether it was published, nothing may be removed.
      traces.incomplete = true;
    }
  }
  if (traces.published) {
    const completed = await completeCopies(deps, snapshot, signal, (store, e) =>
      tell(deps, traces, 'a copy of a published snapshot could not be completed', store, e, signal),
    );
    traces.completed.push(...completed);
    // Behind a copy that is whole a directory may still hold its temporary file.
    if (isLast) await inEach(deps, stores, traces, signal, (store) => abortUploads(deps, store, traces, signal));
    await clearFailedCopies(deps, traces, signal);
    return traces;
  }
  if (traces.incomplete) return traces;
  if (isSigned && !isLast) {
    traces.incomplete = true;
    return traces;
  }
  await removeFrom(deps, stores, traces, signal);
  return traces;
}

/**
 * Removes what a failed upload left in destinations that the published manifest names as missing. True when nothing of
 * it is left there.
 */
export async function clearAfterPublishing(
  deps: SweepDeps,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<boolean> {
  const traces: Traces = { snapshot, removed: [], completed: [], published: true, incomplete: false };
  await clearFailedCopies(deps, traces, signal);
  return !traces.incomplete;
}

async function clearFailedCopies(deps: SweepDeps, traces: Traces, signal: AbortSignal): Promise<void> {
  try {
    const { manifest } = await deps.catalogue.read(traces.snapshot, signal);
    const missing = manifest.destinations.flatMap(({ name, status }) => (status === 'missing' ? [name] : []));
    const stores = deps.destinations.flatMap(({ store }) => (missing.includes(store.name) ? [store] : []));
    await removeFrom(deps, stores, traces, signal);
  } catch (e) {
    tell(deps, traces, 'the manifest of a published snapshot could not be read', 'every destination', e, signal);
  }
}

async function removeFrom(
  deps: SweepDeps,
  stores: readonly Store[],
  traces: Traces,
  signal: AbortSignal,
): Promise<void> {
  await inEach(deps, stores, traces, signal, async (store) => {
    // One that has a manifest is left alone. A tombstone stays: it is what keeps a manifest from coming.
    if ((await commitIn(deps.catalogue, store, traces.snapshot, signal)).kind === 'manifest') return;
    await abortUploads(deps, store, traces, signal);
    for (const kind of ORPHANS)
      await removeObject(store, objectKey(deps.cluster, kind, traces.snapshot), traces, signal);
  });
}

/**
 * All stores at once: one that hangs must not use up the time of the others. Without delete rights, or under an object
 * lock, an orphan without manifest stays: never listed, never restored.
 */
async function inEach(
  deps: SweepDeps,
  stores: readonly Store[],
  traces: Traces,
  signal: AbortSignal,
  clear: (store: Store) => Promise<void>,
): Promise<void> {
  await Promise.all(
    stores.map(async (store) => {
      try {
        await clear(store);
      } catch (e) {
        tell(deps, traces, 'what a run left behind could not be removed', store.name, e, signal);
      }
    }),
  );
}

function tell(
  { cluster, log }: SweepDeps,
  traces: Traces,
  what: string,
  store: string,
  e: unknown,
  signal: AbortSignal,
): void {
  signal.throwIfAborted();
  if (!isError(e)) throw e;
  if (mayHealSoon(e)) traces.incomplete = true;
  log.warn({ cluster, snapshot: traces.snapshot, store, err: e.toJSON() }, what);
}

/** Also true of bytes that differ, but what differs today will differ tomorrow. */
function mayHealSoon(e: StrongroomError): boolean {
  return e.retryable && e.code !== 'E_STORE_CHECKSUM';
}

/**
 * Uploads that no note speaks of: of this cluster's runs on other machines, of whatever was killed while it wrote the
 * lease or keys anew, and of the probes of killed runs.
 */
async function removeOldUploads(deps: SweepDeps, signal: AbortSignal): Promise<void> {
  const { cluster, log } = deps;
  const now = deps.clock.now().getTime();
  for (const { store } of deps.destinations) {
    try {
      for await (const upload of store.listUnfinished(clusterPrefix(cluster), { signal })) {
        if (!isProbe(upload.key) && now - upload.startedAt.getTime() < FOREIGN_UPLOAD_AGE_MS) continue;
        await store.abortUnfinished(upload, { signal });
        log.warn({ cluster, store: store.name, key: upload.key }, 'aborted an unfinished upload that was left behind');
      }
    } catch (e) {
      if (!isError(e)) throw e;
      log.warn({ cluster, store: store.name, err: e.toJSON() }, 'unfinished uploads could not be looked for');
    }
  }
}

async function abortUploads({ cluster }: SweepDeps, store: Store, traces: Traces, signal: AbortSignal): Promise<void> {
  for (const kind of KINDS) {
    for await (const upload of store.listUnfinished(objectKey(cluster, kind, traces.snapshot), { signal })) {
      await store.abortUnfinished(upload, { signal });
      traces.removed.push(`${store.name}: unfinished upload ${upload.key}`);
    }
  }
}

async function removeObject(store: Store, key: ObjectKey, traces: Traces, signal: AbortSignal): Promise<void> {
  const head = await store.head(key, { signal });
  if (head === null) return;
  await store.delete(key, { signal, ...(head.versionId === undefined ? {} : { versionId: head.versionId }) });
  traces.removed.push(`${store.name}: ${key}`);
}
