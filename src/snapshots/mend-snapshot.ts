/** One snapshot in all its destinations: what is good is found out, and made again where it is not. */
import { expectedParts } from '../catalogue/copy.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import type { ProofRecord } from '../catalogue/record-types.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { newRunId, type RunId, type SnapshotId } from '../core/ids.ts';
import type { Sidecar } from '../crypt/sidecar.ts';
import { wrapsToMetadata } from '../crypt/wrap-metadata.ts';
import type { Lease } from '../lease/lease.ts';
import { type ObjectKind, objectKey } from '../store/layout.ts';
import { type ProofKind, proveCopy } from '../store/prove-copy.ts';
import { proofTime } from './choose-copies.ts';
import type { Destination } from './copy-lock.ts';
import { fetchSmallObjects, type Signed, type SmallObjects, signedAmong } from './gather.ts';
import { type JudgedCopy, judgeCopy, sidecarIn } from './judge-copy.ts';
import { copyKey } from './proofs.ts';
import { repairCopy } from './repair-copy.ts';
import type { ReplicateDeps } from './replicate.ts';
import { type PartSource, SignedParts } from './signed-parts.ts';
import type { Held, Survey } from './survey.ts';
import { isAgainstData, isBeyondCopies } from './suspects.ts';

export type MendDeps = ReplicateDeps & {
  run: RunId;
  prove: ProofKind;
  /** of the run: what others see is changed under it only */
  lease: Pick<Lease, 'confirm'>;
  survey: Survey;
  /** newest readings that were bad, by copy */
  suspects: ReadonlyMap<string, ProofRecord>;
  /** destinations that do not answer: what they may hold is not known */
  away: ReadonlyMap<string, StrongroomError>;
};

export type MendedCopy = {
  /** null = it concerns every destination */
  destination: string | null;
  wrote: ObjectKind[];
  /** null = nothing of it was written or proven */
  proof: ProofKind | null;
  error: StrongroomError | null;
};

export type Mended = {
  copies: MendedCopy[];
  /** why the data is whole nowhere */
  lost: StrongroomError | null;
};

type Copy = { destination: Destination; held: Held; small: SmallObjects; bad: ProofRecord | undefined };
type Judged = Copy & JudgedCopy;

/** Rejects with the abort reason only; what goes wrong at one destination is in its {@link MendedCopy}. */
export async function mendSnapshot(
  deps: MendDeps,
  snapshot: SnapshotId,
  destinations: readonly Destination[],
  signal: AbortSignal,
): Promise<Mended> {
  const mended: Mended = { copies: [], lost: null };
  const copies = await atEach(mended, destinations, signal, async (destination): Promise<Copy> => {
    const { name } = destination.store;
    const held = deps.survey.held.get(name)?.get(snapshot) ?? {};
    const small = await fetchSmallObjects(deps.catalogue, destination.store, snapshot, held, signal);
    return { destination, held, small, bad: deps.suspects.get(copyKey({ snapshot, destination: name })) };
  });
  const signed = await signedOrSaid(deps, mended, snapshot, copies, signal);
  if (signed === null) return mended;
  const judged = await atEach(mended, copies, signal, async (copy): Promise<Judged> => {
    const isSuspect = copy.bad !== undefined && isAgainstData(copy.bad);
    const { store } = copy.destination;
    return { ...copy, ...(await judgeCopy(deps.catalogue, signed, { ...copy, store, isSuspect }, signal)) };
  });
  const sources = await partSources(deps, signed.manifest, judged, signal);
  // Somebody who was not asked may have what is looked for.
  const areAllAsked = deps.away.size === 0 && mended.copies.length === 0;
  for (const copy of judged) {
    if (mended.lost !== null && copy.needs.has('data')) continue;
    const body = new SignedParts(deps.cluster, signed.manifest, sources, signal);
    try {
      mended.copies.push(await mendCopy(deps, signed, copy, { body, copies: judged }, signal));
    } catch (e) {
      const error = ownError(e, signal);
      if (body.failure === null) mended.copies.push(failed(copy.destination, error));
      else if (areAllAsked && body.failure.code === 'E_STORE_CHECKSUM') mended.lost = body.failure;
      else mended.copies.push(failed(copy.destination, withoutSource(body.failure)));
    }
  }
  return mended;
}

/** null = there is none, which was said, or nothing that anybody would take for one. */
async function signedOrSaid(
  { catalogue }: MendDeps,
  mended: Mended,
  snapshot: SnapshotId,
  copies: readonly Copy[],
  signal: AbortSignal,
): Promise<Signed | null> {
  try {
    const signed = signedAmong(
      catalogue,
      snapshot,
      copies.map(({ small }) => small),
    );
    if (signed !== null) return signed;
    // Whoever could not be asked may have it.
    if (mended.copies.length > 0) return null;
    // What stands in the place of a manifest is refused, with words that fit, or does not count as one.
    await catalogue.read(snapshot, signal);
  } catch (e) {
    const error = ownError(e, signal);
    if (error.code !== 'E_NOT_FOUND') mended.copies.push({ destination: null, wrote: [], proof: null, error });
  }
  return null;
}

async function mendCopy(
  deps: MendDeps,
  signed: Signed,
  copy: Judged,
  { body, copies }: { body: SignedParts; copies: readonly Judged[] },
  signal: AbortSignal,
): Promise<MendedCopy> {
  const { destination, needs, bad } = copy;
  const { manifest } = signed;
  const { store } = destination;
  const keys = newestKeys(deps, manifest, copies);
  const done: MendedCopy = { destination: store.name, wrote: [], proof: null, error: null };
  if (needs.size > 0) {
    const { wrote, proof } = await repairCopy(
      {
        ...deps,
        destination,
        signed,
        needs,
        keys: keys?.bytes ?? null,
        metadata: keys === null ? metadataOf(copies) : wrapsToMetadata(keys.sidecar),
        body,
        // A store that was wrong about this object is not believed about it.
        prove: bad !== undefined && isAgainstData(bad) ? 'read' : deps.prove,
        existing: namesIn(deps.survey, store.name),
        confirm: (abort) => deps.lease.confirm(abort),
        now: deps.clock.now(),
      },
      signal,
    );
    Object.assign(done, { wrote, proof });
  }
  if (needs.has('keys') && keys === null) return { ...done, error: withoutKeys(store.location, manifest.snapshot) };
  if (bad !== undefined && isBeyondCopies(bad)) return { ...done, error: beyondCopies(bad) };
  if (bad !== undefined && copy.wasRead) done.proof = 'read';
  if (bad !== undefined && done.proof === null) {
    const key = objectKey(deps.cluster, 'data', manifest.snapshot as SnapshotId);
    const { sha256Composite } = manifest.ciphertext;
    done.proof = await proveCopy(store, key, expectedParts(manifest), sha256Composite, 'checksum', signal);
  }
  try {
    if (done.proof !== null) await deps.lease.confirm(signal);
    if (done.proof !== null)
      await writeProof(deps, signed, { destination: store.name, proof: done.proof, bad }, signal);
    return done;
  } catch (e) {
    return { ...done, error: withoutRecord(ownError(e, signal), manifest.snapshot) };
  }
}

function namesIn({ held }: Survey, destination: string): SnapshotId[] {
  return [...(held.get(destination) ?? [])].flatMap(([id, { manifests }]) => (manifests === undefined ? [] : [id]));
}

/** Later than the reading that it answers, whatever the clock of that one said. */
async function writeProof(
  { records, clock, run }: MendDeps,
  { manifest, sha256 }: Signed,
  { destination, proof, bad }: { destination: string; proof: ProofKind; bad: ProofRecord | undefined },
  signal: AbortSignal,
): Promise<void> {
  const answers = bad === undefined ? 0 : proofTime(bad.proof as RunId).getTime() + 1;
  const provenAt = new Date(Math.max(clock.now().getTime(), answers));
  await records.writeProof(
    {
      schema: '1',
      cluster: records.cluster,
      snapshot: manifest.snapshot,
      destination,
      proof: newRunId(provenAt),
      run,
      provenAt: provenAt.toISOString(),
      verdict: 'good',
      level: proof === 'read' ? 'ciphertext' : 'checksum',
      openedWith: null,
      bytes: proof === 'read' ? manifest.ciphertext.bytes : 0,
      manifestSha256: sha256,
      error: null,
    },
    signal,
  );
}

/**
 * Where parts may come from: copies that nothing speaks against, then the versions that a manifest recorded and something
 * was put over, then what was found bad, for a part of it may be right.
 */
async function partSources(
  { cluster }: MendDeps,
  manifest: Manifest,
  copies: readonly Judged[],
  signal: AbortSignal,
): Promise<PartSource[]> {
  const shown = (isBad: boolean): PartSource[] =>
    copies.flatMap(({ destination: { store }, needs, shown: found }) =>
      found !== null && needs.has('data') === isBad ? [{ store, versionId: null }] : [],
    );
  const recorded: PartSource[] = [];
  for (const { destination, needs, shown: found } of copies) {
    const { store } = destination;
    const copy = manifest.destinations.find(({ name }) => name === store.name);
    const versionId = copy?.status === 'stored' ? copy.versionId : undefined;
    if (!needs.has('data') || versionId === undefined || versionId === found?.versionId) continue;
    try {
      const key = objectKey(cluster, 'data', manifest.snapshot as SnapshotId);
      if ((await store.head(key, { signal, versionId })) !== null) recorded.push({ store, versionId });
    } catch (e) {
      // A version of another bucket, or one that this login may not ask for.
      ownError(e, signal);
    }
  }
  return [...shown(false), ...recorded, ...shown(true)];
}

/** keys.json of the highest revision; null = no destination has one that can be read. */
function newestKeys(
  { catalogue }: MendDeps,
  manifest: Manifest,
  copies: readonly Copy[],
): { sidecar: Sidecar; bytes: Uint8Array } | null {
  let newest: { sidecar: Sidecar; bytes: Uint8Array } | null = null;
  for (const { small } of copies) {
    const sidecar = sidecarIn(catalogue, manifest, small);
    if (sidecar === null || small.keys === null) continue;
    if (newest === null || sidecar.revision > newest.sidecar.revision) newest = { sidecar, bytes: small.keys };
  }
  return newest;
}

/** Wraps that are kept with the data: without keys.json they are the only ones. */
function metadataOf(copies: readonly Judged[]): Readonly<Record<string, string>> {
  return copies.find(({ shown, needs }) => shown?.metadata !== undefined && !needs.has('data'))?.shown?.metadata ?? {};
}

/** Not in the words of a destination that is away: the one that was to be written to is not. */
function withoutSource(failure: StrongroomError): StrongroomError {
  return new StrongroomError('E_PARTIAL', `a good copy could not be had: ${failure.message}`, {
    hint: 'the next run tries again, when all destinations answer',
    cause: failure,
  });
}

function withoutRecord(e: StrongroomError, snapshot: string): StrongroomError {
  return new StrongroomError('E_PARTIAL', `the proof of ${snapshot} could not be recorded: ${e.message}`, {
    ...(e.hint === undefined ? {} : { hint: e.hint }),
    cause: e,
  });
}

function withoutKeys(location: string, snapshot: string): StrongroomError {
  return new StrongroomError('E_NOT_FOUND', `no destination has the keys of ${snapshot} for ${location}`, {
    hint: 'the wraps kept with the data, or a break-glass identity, still open it',
  });
}

function beyondCopies({ snapshot, destination, error }: ProofRecord): StrongroomError {
  const what = error === null ? 'found bad' : `${error.code}: ${error.message}`;
  return new StrongroomError('E_PARTIAL', `${snapshot} in ${destination} is bad, and no copy helps: ${what}`, {
    hint: `strongroom snapshots verify ${snapshot}`,
    retryable: false,
  });
}

/** Asks all at once; one that fails is in `mended`, and not in the answer. */
async function atEach<T extends Destination | Copy, R>(
  mended: Mended,
  items: readonly T[],
  signal: AbortSignal,
  ask: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = await Promise.allSettled(items.map(ask));
  return results.flatMap((result, i) => {
    if (result.status === 'fulfilled') return [result.value];
    const item = items[i];
    const error = ownError(result.reason, signal);
    if (item !== undefined) mended.copies.push(failed('destination' in item ? item.destination : item, error));
    return [];
  });
}

function failed({ store }: Destination, error: StrongroomError): MendedCopy {
  return { destination: store.name, wrote: [], proof: null, error };
}

/** The failure as ours; throws the abort reason, and what is a defect. */
function ownError(e: unknown, signal: AbortSignal): StrongroomError {
  signal.throwIfAborted();
  if (!isError(e)) throw e;
  return e;
}
