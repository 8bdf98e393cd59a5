/** Reads stored copies again, those in most need first, within what may be read in a day, and records what it showed. */
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import type { ProofRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { removedOnPurpose } from '../catalogue/removals.ts';
import { isUnbelievable } from '../catalogue/unbelievable.ts';
import { type ErrorCode, isError, StrongroomError } from '../core/errors.ts';
import { newRunId, type RunId, type SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { inStage } from '../core/scope.ts';
import { type Clock, formatBytes } from '../core/units.ts';
import type { Lease } from '../lease/lease.ts';
import { objectKey } from '../store/layout.ts';
import { type CopyToProve, copiesByNeed, proofTime } from './choose-copies.ts';
import { type CopyVerdict, type VerifyDeps, verifySnapshot } from './verify.ts';

export type VerifyCopiesDeps = VerifyDeps & {
  records: Records;
  clock: Clock;
  log: Log;
  /** the lease of the cluster, waited for as long as a run beside this one may take; else E_LOCKED */
  takeLease: (run: RunId, signal: AbortSignal) => Promise<Lease>;
};

export type VerifiedCopy = CopyToProve & {
  /** that were read, be the copy good or not */
  bytes: number;
  /** `unknown`: it could not be asked, or not be opened, which says nothing of the copy; nothing is recorded then */
  verdict: 'good' | 'bad' | 'unknown';
  level: CopyVerdict['level'];
};

export type VerifyCopiesResult = {
  verified: VerifiedCopy[];
  /** copies that are left for another day, or because their destination does not answer */
  left: number;
  /** snapshots whose manifest cannot be read or believed in any destination: there is nothing to hold a copy against */
  refused: { snapshot: SnapshotId; error: StrongroomError }[];
  /** copies that retention removed while they were read: nothing is said of them */
  removed: number;
  bytes: number;
  budgetBytes: number;
  /** read in the last 24 hours before this run, in bytes */
  spentBytes: number;
};

const DAY_MS = 24 * 3_600_000;
/** With a key that `trusted` forgot, every manifest is refused: nobody waits until ten thousand of them are read. */
const MAX_REFUSED = 50;
/** A destination that lists and does not give costs a minute for each manifest. */
const MAX_UNREAD = 3;
/** Words in the message of a run that failed; all of them are in its details. */
const MAX_TOLD = 5;

/**
 * What is said of the copy itself. All else is said of the way to it, or of our keys and rights: E_DECRYPT, too, for by then
 * every byte was the signed one, and the identity at hand may be of something else.
 */
const OF_THE_COPY: readonly ErrorCode[] = [
  'E_STORE_CHECKSUM',
  'E_NOT_FOUND',
  'E_SIGNATURE',
  'E_MANIFEST',
  'E_SNAPSHOT_TRUNCATED',
  'E_SNAPSHOT_FORMAT',
  'E_SNAPSHOT_CHECKSUM',
  'E_SNAPSHOT_UNSEALED',
];

/** Said of the whole destination: it would be said of the next copy, too, a minute later. */
const OF_THE_DESTINATION: readonly ErrorCode[] = [
  'E_STORE_UNREACHABLE',
  'E_STORE_THROTTLED',
  'E_STORE_DENIED',
  'E_STORE_BUCKET',
  'E_STORE_SKEW',
];

/**
 * Reads copy after copy until `budgetBytes` of the last 24 hours are used up; the last one may go over it, so that a copy
 * larger than the budget is read at all. What is wrong with a copy is recorded, and no reason to leave the next one out;
 * in the end it rejects with the first such failure. Rejects at once when the destinations cannot be listed, and with E_LOCKED where
 * what was read could not be recorded because another run is at work.
 *
 * Only what a believable manifest promises is a copy. A name with a refused manifest is told of in every run, and uses up
 * nothing; a name behind which nobody has a manifest any more is passed over.
 */
export async function verifyCopies(
  deps: VerifyCopiesDeps,
  { run, budgetBytes }: { run: RunId; budgetBytes: number },
  signal: AbortSignal,
): Promise<VerifyCopiesResult> {
  const { entries } = await deps.catalogue.list(signal);
  const { names } = await deps.records.proofs(signal);
  const spentBytes = await bytesOfLastDay(deps, names, signal);
  const result: VerifyCopiesResult = {
    verified: [],
    left: 0,
    refused: [],
    removed: 0,
    bytes: 0,
    budgetBytes,
    spentBytes,
  };
  const failures: StrongroomError[] = [];
  const away = new Set<string>();
  const manifests = new Manifests(deps);
  for (const copy of copiesByNeed(entries, names, deps.clock.now())) {
    if (spentBytes + result.bytes >= budgetBytes || away.has(copy.destination)) {
      result.left += 1;
      continue;
    }
    const found = await manifests.of(copy.snapshot, signal);
    if (found === null) continue;
    const { verified, error, wasRemoved } = await inStage(`verify ${copy.destination}`, () =>
      verifyOne(deps, copy, found, run, signal),
    );
    if (wasRemoved) {
      result.removed += 1;
      result.bytes += verified.bytes;
      continue;
    }
    result.verified.push(verified);
    result.bytes += verified.bytes;
    if (error === null) continue;
    failures.push(error);
    if (verified.verdict === 'unknown' && OF_THE_DESTINATION.includes(error.code)) away.add(copy.destination);
  }
  result.refused = manifests.refused;
  for (const { error } of result.refused) failures.push(error);
  if (failures.length === 0) return result;
  throw failed(failures, result);
}

/** Each manifest is asked for once, however many copies it stands for. */
class Manifests {
  readonly refused: { snapshot: SnapshotId; error: StrongroomError }[] = [];
  readonly #deps: VerifyCopiesDeps;
  readonly #known = new Map<SnapshotId, VerifiedManifest | null>();
  #believed = 0;
  #unread = 0;

  constructor(deps: VerifyCopiesDeps) {
    this.#deps = deps;
  }

  /** null = there is none to be believed. Rejects when nothing but refusals comes. */
  async of(snapshot: SnapshotId, signal: AbortSignal): Promise<VerifiedManifest | null> {
    const known = this.#known.get(snapshot);
    if (known !== undefined) return known;
    try {
      const found = await this.#deps.catalogue.read(snapshot, signal);
      this.#believed += 1;
      this.#known.set(snapshot, found);
      return found;
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      this.#known.set(snapshot, null);
      if (e.code === 'E_NOT_FOUND') return null;
      this.#deps.log.error({ snapshot, err: e.toJSON() }, 'no manifest of a stored snapshot can be believed');
      this.refused.push({ snapshot, error: e });
      if (!isUnbelievable(e)) this.#unread += 1;
      if (this.#unread >= MAX_UNREAD || (this.#believed === 0 && this.refused.length >= MAX_REFUSED)) throw e;
      return null;
    }
  }
}

async function verifyOne(
  deps: VerifyCopiesDeps,
  copy: CopyToProve,
  { manifest, sha256 }: VerifiedManifest,
  run: RunId,
  signal: AbortSignal,
): Promise<{ verified: VerifiedCopy; error: StrongroomError | null; wasRemoved: boolean }> {
  const { snapshot, destination } = copy;
  const provenAt = deps.clock.now();
  let bytes = 0;
  const onProgress: VerifyDeps['onProgress'] = (event) => {
    bytes = event.bytes ?? bytes;
    deps.onProgress(event);
  };
  const { copies } = await verifySnapshot({ ...deps, onProgress }, manifest, signal, { only: destination });
  const [found] = copies;
  if (found === undefined) throw new StrongroomError('E_BUG', `a copy in ${destination} was not looked at`);
  const { level, openedWith, error } = found;
  const verdict = error === null ? 'good' : OF_THE_COPY.includes(error.code) ? 'bad' : 'unknown';
  const verified: VerifiedCopy = { ...copy, bytes, verdict, level };
  if (verdict !== 'unknown') {
    const record: ProofRecord = {
      schema: '1',
      cluster: deps.records.cluster,
      snapshot,
      destination,
      proof: newRunId(provenAt),
      run,
      provenAt: provenAt.toISOString(),
      verdict,
      level,
      openedWith,
      bytes,
      manifestSha256: sha256,
      error: error === null ? null : { code: error.code, message: error.message },
    };
    try {
      if (!(await recordProof(deps, record, run, signal))) return { verified, error: null, wasRemoved: true };
    } catch (e) {
      // That a copy is bad is told, also where it cannot be put on record.
      if (error === null || !isError(e, 'E_LOCKED')) throw e;
      deps.log.error({ snapshot, destination, err: e.toJSON() }, 'that a copy is not good could not be recorded');
    }
  }
  if (error !== null) {
    const what = verdict === 'bad' ? 'a stored copy is not good' : 'a stored copy could not be read';
    deps.log.error({ snapshot, destination, err: error.toJSON() }, what);
  }
  return { verified, error, wasRemoved: false };
}

/**
 * Under the lease, so that no prune is at work: false = one has removed the copy while it was read, and nothing was written. A
 * proof that is newer than the removal would tell everybody else that the copy outlived it.
 */
async function recordProof(
  { catalogue, stores, records, takeLease }: VerifyCopiesDeps,
  record: ProofRecord,
  run: RunId,
  signal: AbortSignal,
): Promise<boolean> {
  await using lease = await takeLease(run, signal);
  const either = AbortSignal.any([signal, lease.signal]);
  const copy = { snapshot: record.snapshot as SnapshotId, destination: record.destination };
  const store = stores.find(({ name }) => name === copy.destination);
  const key = objectKey(catalogue.cluster, 'manifests', copy.snapshot);
  if (store !== undefined && (await store.head(key, { signal: either })) === null) {
    const isRemoved = await removedOnPurpose(records, [copy], either);
    if (isRemoved(copy)) return false;
  }
  await lease.confirm(either);
  await records.writeProof(record, either);
  return true;
}

function failed(failures: readonly StrongroomError[], { verified, refused }: VerifyCopiesResult): StrongroomError {
  // A copy that is bad says more than a destination that is away.
  const worst = failures.find(({ code }) => OF_THE_COPY.includes(code)) ?? failures[0];
  if (worst === undefined) return new StrongroomError('E_BUG', 'a verification failed without a failure');
  const count = (verdict: VerifiedCopy['verdict']): number => verified.filter((one) => one.verdict === verdict).length;
  const counts = [
    `${count('bad')} of ${verified.length} copies that were read are not good`,
    ...(count('unknown') > 0 ? [`${count('unknown')} could not be read`] : []),
    ...(refused.length > 0 ? [`${refused.length} have no manifest that can be believed`] : []),
  ];
  const told = [worst, ...failures.filter((failure) => failure !== worst)].map(({ message }) => message);
  const more = told.length > MAX_TOLD ? [`and ${told.length - MAX_TOLD} more`] : [];
  return new StrongroomError(worst.code, `${counts.join(', ')}: ${[...told.slice(0, MAX_TOLD), ...more].join('; ')}`, {
    hint: worst.hint ?? 'strongroom job run replicate makes a bad copy again from a good one',
    details: { failures: failures.map(({ code, message }) => ({ code, message })) },
    // Another try reads the same bytes; only what was away may be back.
    retryable: failures.every((failure) => failure.retryable && !OF_THE_COPY.includes(failure.code)),
    cause: worst,
  });
}

async function bytesOfLastDay(
  { records, clock }: VerifyCopiesDeps,
  names: Awaited<ReturnType<Records['proofs']>>['names'],
  signal: AbortSignal,
): Promise<number> {
  const since = clock.now().getTime() - DAY_MS;
  let bytes = 0;
  for (const name of names.filter(({ proof }) => proofTime(proof).getTime() >= since)) {
    try {
      bytes += (await records.readProof(name, signal)).bytes;
    } catch (e) {
      signal.throwIfAborted();
      // A record that cannot be believed cannot use up the day either.
      if (!isUnbelievable(e)) throw e;
    }
  }
  return bytes;
}

/** First line: the verdict. Only for a run in which everything that was read is good. */
export function summariseVerify({ verified, left, removed, bytes, budgetBytes }: VerifyCopiesResult): string[] {
  const unopened = verified.filter(({ level }) => level === 'ciphertext').length;
  return [
    verified.length === 0 ? 'read no copy' : `read ${verified.length} copies in full: all good`,
    ...verified.map(({ snapshot, destination, level }) => `  ${snapshot} in ${destination}: ${level}`),
    ...(removed > 0 ? [`  left out        ${removed}: retention removed them while they were read`] : []),
    ...(unopened > 0 ? [`  not decrypted   ${unopened}: no key at hand opens them`] : []),
    `  read            ${formatBytes(bytes)} of ${formatBytes(budgetBytes)} a day; ${left} copies left for another day`,
  ];
}
