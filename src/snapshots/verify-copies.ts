/** Reads stored copies again, those in most need first, within what may be read in a day, and records what it showed. */
import type { Records } from '../catalogue/records.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { newRunId, type RunId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { type Clock, formatBytes } from '../core/units.ts';
import { type CopyToProve, copiesByNeed, proofTime } from './choose-copies.ts';
import { type CopyVerdict, type VerifyDeps, verifySnapshot } from './verify.ts';

export type VerifyCopiesDeps = VerifyDeps & { records: Records; clock: Clock; log: Log };

export type VerifiedCopy = CopyToProve & { bytes: number; verdict: 'good' | 'bad'; level: CopyVerdict['level'] };

export type VerifyCopiesResult = {
  verified: VerifiedCopy[];
  /** copies that are left for another day */
  left: number;
  bytes: number;
  budgetBytes: number;
  /** read in the last 24 hours before this run, in bytes */
  spentBytes: number;
};

const DAY_MS = 24 * 3_600_000;

/**
 * Reads copy after copy until `budgetBytes` of the last 24 hours are used up; the last one may go over it, so that a copy
 * larger than the budget is read at all. What is wrong with a copy is recorded, and no reason to leave the next one out;
 * in the end it rejects with the first such failure. Rejects at once when the destinations cannot be listed.
 */
export async function verifyCopies(
  deps: VerifyCopiesDeps,
  { run, budgetBytes }: { run: RunId; budgetBytes: number },
  signal: AbortSignal,
): Promise<VerifyCopiesResult> {
  const { entries } = await deps.catalogue.list(signal);
  const { names } = await deps.records.proofs(signal);
  const spentBytes = await bytesOfLastDay(deps, names, signal);
  const result: VerifyCopiesResult = { verified: [], left: 0, bytes: 0, budgetBytes, spentBytes };
  const failures: StrongroomError[] = [];
  for (const copy of copiesByNeed(entries, names)) {
    if (spentBytes + result.bytes >= budgetBytes) {
      result.left += 1;
      continue;
    }
    const { verified, error } = await verifyOne(deps, copy, run, signal);
    result.verified.push(verified);
    result.bytes += verified.bytes;
    if (error !== null) failures.push(error);
  }
  const [first] = failures;
  if (first === undefined) return result;
  throw new StrongroomError(
    first.code,
    `${failures.length} of ${result.verified.length} copies that were read are not good: ${failures.map(({ message }) => message).join('; ')}`,
    {
      hint: first.hint ?? 'strongroom job run replicate makes a bad copy again from a good one',
      details: { failures: failures.map(({ code, message }) => ({ code, message })) },
      retryable: false,
      cause: first,
    },
  );
}

async function verifyOne(
  deps: VerifyCopiesDeps,
  copy: CopyToProve,
  run: RunId,
  signal: AbortSignal,
): Promise<{ verified: VerifiedCopy; error: StrongroomError | null }> {
  const { snapshot, destination } = copy;
  const provenAt = deps.clock.now();
  let bytes = 0;
  let manifestSha256 = '';
  let verdict: Pick<CopyVerdict, 'level' | 'openedWith' | 'error'>;
  try {
    const { manifest, sha256 } = await deps.catalogue.read(snapshot, signal);
    bytes = manifest.ciphertext.bytes;
    manifestSha256 = sha256;
    const { copies } = await verifySnapshot(deps, manifest, signal, { only: destination });
    const [found] = copies;
    if (found === undefined) throw new StrongroomError('E_BUG', `a copy in ${destination} was not looked at`);
    verdict = found;
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    verdict = { level: 'failed', openedWith: null, error: e };
  }
  const { level, openedWith, error } = verdict;
  // What could not be asked today says nothing of the copy: it keeps its place in the queue.
  const isUnknown = error !== null && error.retryable && error.code !== 'E_STORE_CHECKSUM';
  const verified = { ...copy, bytes, verdict: error === null ? 'good' : 'bad', level } as const;
  if (!isUnknown) {
    await deps.records.writeProof(
      {
        schema: '1',
        cluster: deps.records.cluster,
        snapshot,
        destination,
        proof: newRunId(provenAt),
        run,
        provenAt: provenAt.toISOString(),
        verdict: verified.verdict,
        level,
        openedWith,
        bytes,
        manifestSha256,
        error: error === null ? null : { code: error.code, message: error.message },
      },
      signal,
    );
  }
  if (error !== null) deps.log.error({ snapshot, destination, err: error.toJSON() }, 'a stored copy is not good');
  return { verified, error };
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
      if (!isError(e)) throw e;
    }
  }
  return bytes;
}

/** First line: the verdict. */
export function summariseVerify({ verified, left, bytes, budgetBytes }: VerifyCopiesResult): string[] {
  const unopened = verified.filter(({ level }) => level === 'ciphertext').length;
  return [
    `read ${verified.length} copies in full: all good`,
    ...verified.map(({ snapshot, destination, level }) => `  ${snapshot} in ${destination}: ${level}`),
    ...(unopened > 0 ? [`  not decrypted   ${unopened}: no key at hand opens them`] : []),
    `  read            ${formatBytes(bytes)} of ${formatBytes(budgetBytes)} a day; ${left} copies left for another day`,
  ];
}
