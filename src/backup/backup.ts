/**
 * One backup: snapshot -> verify -> encrypt -> spool, the spool to every destination, then the manifest.
 * Until the manifest is written nothing is visible; whatever fails before leaves nothing behind.
 */
import { join } from 'node:path';
import type { CopyRecord, Manifest } from '../catalogue/manifest.ts';
import { compareMembers } from '../catalogue/members.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { newRunId, newSnapshotId, type RunId, type SnapshotId, snapshotTime } from '../core/ids.ts';
import { inStage } from '../core/scope.ts';
import { completeWraps } from '../crypt/complete.ts';
import { checkRecipients } from '../crypt/policy.ts';
import { type MissingWrap, type Sidecar, serialiseSidecar } from '../crypt/sidecar.ts';
import type { Lease } from '../lease/lease.ts';
import { takeLease } from '../lease/take.ts';
import { runFolder } from '../spool/folder.ts';
import { takeLock } from '../spool/lock.ts';
import { SpoolFile } from '../spool/spool.ts';
import { objectKey } from '../store/layout.ts';
import { compositeSha256 } from '../store/parts.ts';
import { tombstones } from './fence.ts';
import { followRetention } from './follow.ts';
import { forget, note } from './journal.ts';
import { buildManifest } from './manifest.ts';
import type { BackupDeps, BackupOptions, Destination } from './options.ts';
import { compareWithPrevious, implausible } from './plausible.ts';
import { type Preflight, preflight, preflightFailure } from './preflight.ts';
import { mayBeStored, publish } from './publish.ts';
import { clearAfterPublishing, clearTraces, sweepAfterCrash, sweepAgain } from './sweep.ts';
import { type Taken, takeVerified } from './take.ts';
import { lockOf, type UploadedCopy, uploadCopy } from './upload.ts';

export type BackupResult = {
  /** false = a promised copy or wrap is missing: `missing` says which; the exit code is 3 */
  complete: boolean;
  missing: { what: string; code: string; message: string }[];
  manifest: Manifest;
  attempts: number;
  /** milliseconds by stage */
  timings: { preflight: number; snapshot: number; upload: number; publish: number; total: number };
};

/** After an abort the traces still have to go: so long may that take, in milliseconds. */
const CLEANUP_MS = 20_000;

/**
 * Takes, proves and stores one snapshot of the cluster.
 *
 * Resolves once a proven copy and its signed manifest are in at least `requiredCopies` destinations. Rejects with the
 * error of whatever stopped it, or with the abort reason; then spool file, uploads and objects of it are removed as far
 * as the stores allow, and no manifest of it exists. Only an abort after the first manifest finds the snapshot published:
 * then it stays, and its other copies get theirs.
 */
export async function backup(deps: BackupDeps, options: BackupOptions, signal: AbortSignal): Promise<BackupResult> {
  const start = performance.now();
  const now = deps.clock.now();
  const run = options.run ?? newRunId(now);
  const folder = runFolder(deps.spool.directory, deps.cluster);
  await using _lock = await takeLock(join(folder, 'lock'), run, now, { fromSilent: true }, signal);
  // The spool's lock is for this machine; the lease is for all of them.
  await using lease = await inStage('lease', () => takeClusterLease(deps, run, signal));
  const either = AbortSignal.any([signal, lease.signal]);
  const killed = await inStage('sweep', () => sweepAfterCrash(deps, folder, either));
  const result = await backupLocked(deps, options, { run, lease }, either);
  await sweepAgain(deps, folder, killed, either);
  return { ...result, timings: { ...result.timings, total: performance.now() - start } };
}

/** The lease of the cluster for a backup. One destination is enough: to have a backup counts for more than to have one only. */
async function takeClusterLease(deps: BackupDeps, run: RunId, signal: AbortSignal): Promise<Lease> {
  const { cluster, clock, log, lease } = deps;
  const stores = deps.destinations.map(({ store }) => store);
  const { waitMs, door, ...how } = lease;
  const fence = tombstones(deps, run);
  return await takeLease({ cluster, stores, clock, log, ...how }, { need: 'any', waitMs, run, door, fence }, signal);
}

/**
 * {@link backup} for a run that holds the cluster's lock already, and looks after what killed runs left by itself. `lease: null` =
 * it could not be had, and the run goes on without it all the same.
 */
export async function backupLocked(
  configured: BackupDeps,
  options: BackupOptions,
  { run, lease }: { run: RunId; lease: Lease | null },
  signal: AbortSignal,
): Promise<BackupResult> {
  const start = performance.now();
  const snapshot = newSnapshotId(configured.clock.now());
  const destinations = await followRetention(configured, { snapshot, purpose: options.purpose }, signal);
  const deps = { ...configured, destinations };
  const folder = runFolder(deps.spool.directory, deps.cluster);
  deps.onProgress({ stage: 'preflight' });
  const before = await inStage('preflight', async () => {
    const found = await preflight(deps, options, signal);
    const refusal = preflightFailure(found.checks);
    if (refusal !== null) throw refusal;
    return found;
  });
  // Asked under the lease: whoever had it before has published by now.
  const doneBy = madeSince(deps, before, options);
  if (doneBy !== null) throw doneBy;
  const preflightMs = performance.now() - start;

  await note(folder, run, snapshot);
  let made: Made;
  let isUnpublished = true;
  const onPublish = async (): Promise<readonly string[]> => {
    const onRecord = (await lease?.willPublish(snapshot, signal)) ?? [];
    isUnpublished = false;
    return onRecord;
  };
  try {
    made = await backUp(deps, options, { run, snapshot, before, onPublish }, signal);
  } catch (e) {
    const cleanup = AbortSignal.timeout(CLEANUP_MS);
    // A manifest that may still appear must find its data: then the next run looks again, and decides. Who lost the lease in the
    // middle of publishing has cut off its own requests, and knows as little.
    const isLast = !mayBeStored(e) && (isUnpublished || lease?.signal.aborted !== true);
    const traces = await clearTraces(deps, snapshot, { isLast, isUnpublished }, cleanup).catch(() => null);
    // The note stays where something could not be done, for the next run to do it.
    if (traces !== null && !traces.incomplete) await forget(folder, snapshot);
    throw e;
  }
  const isClear = made.isStored || (await clearAfter(deps, snapshot, signal));
  // Where a copy lacks its manifest, the note makes the next run give it one; and remove what could not be removed now.
  if (made.isEverywhere && isClear) await forget(folder, snapshot);
  const { result } = made;
  return { ...result, timings: { ...result.timings, preflight: preflightMs, total: performance.now() - start } };
}

/** E_LOCKED: somebody else was asked the same, and was quicker. */
function madeSince(
  { cluster, unlessSince }: BackupDeps,
  { previous }: Preflight,
  { newLineage }: BackupOptions,
): StrongroomError | null {
  if (unlessSince === null || previous === null || newLineage) return null;
  const { snapshot, run } = previous.manifest;
  if (snapshotTime(snapshot as SnapshotId) < unlessSince) return null;
  return new StrongroomError('E_LOCKED', `run ${run} made the backup ${snapshot} of ${cluster} meanwhile`, {
    hint: 'nothing is to be done: it began after this run was asked for',
    details: { cluster, snapshot, run },
  });
}

type Made = {
  result: BackupResult;
  /** every destination has a proven copy */
  isStored: boolean;
  /** every proven copy has its manifest */
  isEverywhere: boolean;
};
type Run = {
  run: RunId;
  snapshot: SnapshotId;
  before: Preflight;
  /** called before the first request that could make the snapshot visible; gives where a lease says so */
  onPublish: () => Promise<readonly string[]>;
};

/** The backup is made: what a failed copy left behind changes nothing of it, however the removal goes. */
async function clearAfter(deps: BackupDeps, snapshot: SnapshotId, signal: AbortSignal): Promise<boolean> {
  const cleanup = AbortSignal.any([signal, AbortSignal.timeout(CLEANUP_MS)]);
  return await clearAfterPublishing(deps, snapshot, cleanup).catch(() => false);
}

async function backUp(
  deps: BackupDeps,
  options: BackupOptions,
  { run, snapshot, before, onPublish }: Run,
  signal: AbortSignal,
): Promise<Made> {
  const snapshotStart = performance.now();
  await using spool = await SpoolFile.create(deps.spool, join(deps.cluster, `${snapshot}.spool`));
  const { taken, warnings } = await inStage('snapshot', async () => {
    const made = await takeVerified(deps, snapshot, spool, signal);
    return { taken: made, warnings: await judge(deps, options, made, before, signal) };
  });
  const uploadStart = performance.now();

  const body = await spool.hashParts(signal);
  const composite = compositeSha256(body.partSha256);
  const what = { cluster: deps.cluster, snapshot, sidecar: taken.sidecar, body, composite };
  const copies = await Promise.allSettled(
    deps.destinations.map(async (destination) => {
      const { prove, onProgress } = deps;
      const how = { prove, now: deps.clock.now(), onProgress, signal };
      return await inStage(`upload ${destination.store.name}`, () => uploadCopy(destination, what, how));
    }),
  );
  signal.throwIfAborted();
  const { holders, records, failures } = sortCopies(deps.destinations, copies);
  if (holders.length < deps.requiredCopies) throw tooFewCopies(deps, holders.length, failures);
  const sidecar = await repairWraps(deps, taken, holders, snapshot, signal);

  const publishStart = performance.now();
  const manifest = buildManifest(deps, options, {
    run,
    snapshot,
    taken,
    body,
    composite,
    records,
    before,
    warnings,
    sidecar,
  });
  const onRecord = await onPublish();
  const published = await inStage('publish', () => publish(deps, manifest, { holders, onRecord }, signal));
  const missing = [
    ...failures.map(({ store, error }) => ({ what: `copy in ${store}`, code: error.code, message: error.message })),
    ...published.failures.map(({ store, error }) => ({
      what: `manifest in ${store}`,
      code: error.code,
      message: error.message,
    })),
    ...sidecar.missing.map(missingWrap),
  ];
  const end = performance.now();
  const result = {
    complete: missing.length === 0,
    missing,
    manifest,
    attempts: taken.attempts,
    timings: {
      preflight: 0,
      snapshot: uploadStart - snapshotStart,
      upload: publishStart - uploadStart,
      publish: end - publishStart,
      total: end - snapshotStart,
    },
  };
  return { result, isStored: failures.length === 0, isEverywhere: published.failures.length === 0 };
}

function missingWrap(wrap: MissingWrap): { what: string; code: string; message: string } {
  const key = wrap.type === 'aws-kms' ? wrap.keyId : wrap.recipient;
  return {
    what: `wrap under ${key}`,
    code: wrap.code,
    message: `the identity is not wrapped under ${key}; once that key is back: strongroom snapshots rewrap`,
  };
}

/** What the archive itself says against going on, and what is worth a warning in the manifest. */
async function judge(
  deps: BackupDeps,
  options: BackupOptions,
  { report }: Taken,
  before: Preflight,
  signal: AbortSignal,
): Promise<string[]> {
  const previous = before.previous?.manifest ?? null;
  // The archive names the seal's key: only now is it certain that the seal and the backup do not share one.
  const recipients = { kms: deps.kms, breakGlass: deps.breakGlass, sealKeyIds: report.seal.keyIds };
  await checkRecipients(deps.recipientPolicy, recipients, signal);
  const { failures, warnings } = compareWithPrevious(report, previous, deps.limits);
  const error = implausible(failures);
  if (error !== null && !options.newLineage) throw error;
  return [
    ...new Set([
      ...before.checks.filter(({ status }) => status === 'warning').map(({ name, detail }) => `${name}: ${detail}`),
      ...failures.map(({ message }) => `accepted with --new-lineage: ${message}`),
      ...warnings,
      ...compareMembers(report.raft.servers, deps.members, null).map((warning) => `archive: ${warning}`),
    ]),
  ];
}

function sortCopies(
  destinations: readonly Destination[],
  copies: readonly PromiseSettledResult<UploadedCopy>[],
): { holders: Destination[]; records: CopyRecord[]; failures: { store: string; error: StrongroomError }[] } {
  const holders: Destination[] = [];
  const records: CopyRecord[] = [];
  const failures: { store: string; error: StrongroomError }[] = [];
  for (const [i, destination] of destinations.entries()) {
    const copy = copies[i];
    const { name, location } = destination.store;
    if (copy?.status === 'fulfilled') {
      const { data, proof } = copy.value;
      holders.push(destination);
      records.push({
        name,
        location,
        status: 'stored',
        etag: data.etag,
        proof,
        ...(data.versionId === undefined ? {} : { versionId: data.versionId }),
        ...(data.lock === undefined ? {} : { lock: { mode: data.lock.mode, until: data.lock.until.toISOString() } }),
      });
    } else {
      const reason: unknown = copy?.reason;
      if (!isError(reason)) throw reason;
      failures.push({ store: name, error: reason });
      records.push({ name, location, status: 'missing', code: reason.code, message: reason.message });
    }
  }
  return { holders, records, failures };
}

function tooFewCopies(
  deps: BackupDeps,
  stored: number,
  failures: readonly { store: string; error: StrongroomError }[],
): StrongroomError {
  const [first] = failures;
  const list = failures.map(({ store, error }) => `${store}: ${error.message}`).join('; ');
  return new StrongroomError(
    first?.error.code ?? 'E_BUG',
    `${stored} of ${deps.destinations.length} copies were stored and ${deps.requiredCopies} are required, so nothing is published; ${list}`,
    {
      ...(first?.error.hint === undefined ? {} : { hint: first.error.hint }),
      details: { failures: failures.map(({ store, error }) => ({ store, code: error.code, message: error.message })) },
      retryable: failures.every(({ error }) => error.retryable),
      cause: first?.error,
    },
  );
}

/**
 * The identity is still in memory: a KMS region that was down when the run began gets one more try. A later run could
 * not do this, for a writer can only encrypt.
 */
async function repairWraps(
  deps: BackupDeps,
  taken: Taken,
  holders: readonly Destination[],
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<Sidecar> {
  if (taken.sidecar.missing.length === 0) return taken.sidecar;
  const sidecar = await completeWraps(taken.sidecar, taken.container.identity, deps.kms, deps.clock.now(), signal);
  if (sidecar.missing.length === taken.sidecar.missing.length) return taken.sidecar;
  const key = objectKey(deps.cluster, 'keys', snapshot);
  await Promise.all(
    holders.map(async (holder) => {
      const { store } = holder;
      const head = await store.head(key, { signal });
      if (head === null) throw new StrongroomError('E_STORE_RESPONSE', `${key} vanished from ${store.location}`);
      await store.put(key, serialiseSidecar(sidecar), {
        signal,
        condition: { etag: head.etag },
        contentType: 'application/json',
        // A new version: it is not under the lock of the one before.
        ...lockOf(holder, deps.clock.now()),
      });
    }),
  );
  return sidecar;
}
