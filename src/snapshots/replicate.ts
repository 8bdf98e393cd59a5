/** Makes every destination hold what it should: finds copies that are missing or differ, and makes them again from good ones. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Records } from '../catalogue/records.ts';
import { StrongroomError } from '../core/errors.ts';
import { type ClusterName, type RunId, type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { OnProgress } from '../core/progress.ts';
import { inStage } from '../core/scope.ts';
import { type Clock, formatDuration } from '../core/units.ts';
import type { ObjectKind } from '../store/layout.ts';
import type { ProofKind } from '../store/prove-copy.ts';
import { type MendedCopy, mendSnapshot } from './mend-snapshot.ts';
import { KIND_NAMES } from './presence.ts';
import { copyKey } from './proofs.ts';
import type { Destination } from './repair-copy.ts';
import { differs, published, type Survey, surveyCopies } from './survey.ts';
import { badProofs, type Suspects } from './suspects.ts';

export type ReplicateDeps = {
  cluster: ClusterName;
  catalogue: Catalogue;
  destinations: readonly Destination[];
  records: Records;
  clock: Clock;
  log: Log;
  onProgress: OnProgress;
};

export type ReplicateOptions = {
  run: RunId;
  /** how a copy that is made anew is proven */
  prove: ProofKind;
  /** should `destination` have a copy of `snapshot`? What retention removed from one destination must not come back from another */
  wants?: (snapshot: SnapshotId, destination: string) => boolean;
};

export type RepairedCopy = {
  snapshot: SnapshotId;
  destination: string;
  /** the objects that were written */
  wrote: ObjectKind[];
  /** how its data was proven, by the store's checksum or by reading every byte; null = no word was against the data that is there */
  proof: ProofKind | null;
};

/** A promise that is not kept, and why; `snapshot: null` = it concerns the whole destination. */
export type Unmended = { snapshot: SnapshotId | null; destination: string | null; error: StrongroomError };

export type ReplicateResult = {
  /** snapshots that have a manifest somewhere */
  snapshots: number;
  /** of those, the ones too young to be looked at: their backup may still be publishing them */
  young: number;
  repaired: RepairedCopy[];
  /** copies whose last reading was bad, and that are good now without having been written */
  cleared: { snapshot: SnapshotId; destination: string }[];
  unmended: Unmended[];
};

/** So long a backup may take from its first manifest to its last. */
const PUBLISHING_MS = 3_600_000;

/** What a destination says that it would say again to the next request: it is not asked any more in this run. */
const AWAY = [
  'E_STORE_UNREACHABLE',
  'E_STORE_THROTTLED',
  'E_STORE_DENIED',
  'E_STORE_BUCKET',
  'E_STORE_FULL',
  'E_STORE_SKEW',
] as const;

/**
 * One pass over all snapshots of the cluster, the newest first. What to do is told by the listings and by the newest reading
 * of each copy that was bad; where both show nothing, nothing is asked for. Needs no key: every byte is held against the signed
 * manifest on its way. A good object is never touched. What cannot be mended now is in `unmended`, and no reason to leave
 * the others out.
 *
 * Rejects when no destination can be listed; and in the end with E_STORE_CHECKSUM when the data of a snapshot is whole
 * nowhere, after everything else was done.
 */
export async function replicate(
  deps: ReplicateDeps,
  options: ReplicateOptions,
  signal: AbortSignal,
): Promise<ReplicateResult> {
  const stores = deps.destinations.map(({ store }) => store);
  const survey = await inStage('survey', () => surveyCopies(deps.cluster, stores, signal));
  const suspects = await badProofs(deps.records, survey, signal);
  const result: ReplicateResult = { snapshots: 0, young: 0, repaired: [], cleared: [], unmended: [] };
  const away = new Map(survey.away.map(({ destination, error }) => [destination, error]));
  for (const { destination, error } of survey.away) result.unmended.push({ snapshot: null, destination, error });
  for (const unread of suspects.unread) result.unmended.push(unread);
  const lost: StrongroomError[] = [];
  const youngest = deps.clock.now().getTime() - PUBLISHING_MS;
  for (const snapshot of published(survey)) {
    signal.throwIfAborted();
    result.snapshots += 1;
    if (snapshotTime(snapshot).getTime() > youngest) {
      result.young += 1;
      continue;
    }
    const destinations = wanted(deps, options, survey, snapshot).filter(({ store }) => !away.has(store.name));
    if (!isToBeLookedAt(survey, suspects, snapshot, destinations)) continue;
    await inStage('mend', async () => {
      const mended = await mendSnapshot(
        { ...deps, away, survey, suspects: suspects.bad, prove: options.prove, run: options.run },
        snapshot,
        destinations,
        signal,
      );
      if (mended.lost !== null) lost.push(mended.lost);
      for (const copy of mended.copies) note(deps, result, away, snapshot, copy);
    });
  }
  for (const error of lost)
    deps.log.error({ cluster: deps.cluster, err: error.toJSON() }, 'a snapshot is whole nowhere');
  const [first] = lost;
  if (first === undefined) return result;
  throw new StrongroomError('E_STORE_CHECKSUM', lostMessage(lost, first), {
    ...(first.hint === undefined ? {} : { hint: first.hint }),
    details: { lost: lost.map(({ details }) => details['snapshot']), repaired: result.repaired.length },
    retryable: false,
    cause: first,
  });
}

/** Those that answered, and should have a copy. */
function wanted(
  { destinations }: ReplicateDeps,
  { wants }: ReplicateOptions,
  { held }: Survey,
  snapshot: SnapshotId,
): Destination[] {
  return destinations.filter(({ store: { name } }) => held.has(name) && (wants?.(snapshot, name) ?? true));
}

function isToBeLookedAt(
  survey: Survey,
  { bad }: Suspects,
  snapshot: SnapshotId,
  destinations: readonly Destination[],
): boolean {
  const names = destinations.map(({ store }) => store.name);
  return differs(survey, snapshot, names) || names.some((destination) => bad.has(copyKey({ snapshot, destination })));
}

function note(
  { cluster, log }: ReplicateDeps,
  result: ReplicateResult,
  away: Map<string, StrongroomError>,
  snapshot: SnapshotId,
  { destination, wrote, proof, error }: MendedCopy,
): void {
  if (destination !== null && wrote.length > 0) {
    result.repaired.push({ snapshot, destination, wrote, proof });
    log.warn({ cluster, snapshot, destination, wrote, proof }, 'a stored copy was made again');
  } else if (destination !== null && proof !== null) {
    result.cleared.push({ snapshot, destination });
  }
  if (error === null) return;
  log.error({ cluster, snapshot, destination, err: error.toJSON() }, 'a stored copy is not as it should be');
  const isAway = destination !== null && AWAY.some((code) => code === error.code);
  if (isAway) away.set(destination, error);
  result.unmended.push({ snapshot: isAway ? null : snapshot, destination, error });
}

function lostMessage(lost: readonly StrongroomError[], first: StrongroomError): string {
  return lost.length === 1 ? first.message : `${lost.length} snapshots are whole nowhere, the newest: ${first.message}`;
}

/** First line: the verdict. */
export function summariseReplicate({ snapshots, young, repaired, cleared, unmended }: ReplicateResult): string[] {
  const compared = snapshots - young;
  const isMended = compared === 0 ? 'nothing was compared' : 'every destination has what it should';
  const verdict = unmended.length === 0 ? isMended : 'not every destination has what it should';
  return [
    `${verdict}: ${compared} snapshots, ${repaired.length} copies made again`,
    ...repaired.map(({ snapshot, destination, wrote, proof }) => {
      const how =
        proof === null ? '' : `, proven by ${proof === 'read' ? 'reading every byte' : "the store's own checksum"}`;
      return `  made again  ${snapshot} in ${destination}: ${wrote.map((kind) => KIND_NAMES[kind]).join(', ')}${how}`;
    }),
    ...cleared.map(({ snapshot, destination }) => `  good again  ${snapshot} in ${destination}: by other hands`),
    ...unmended.map((one) => `  NOT GOOD    ${describeUnmended(one)}`),
    ...(young > 0 ? [`  left alone  ${young}: younger than ${formatDuration(PUBLISHING_MS)}`] : []),
  ];
}

/** One line: where, and what is wrong there. */
export function describeUnmended({ snapshot, destination, error }: Unmended): string {
  const where = [snapshot, destination].filter((word) => word !== null).join(' in ');
  return `${where}: ${error.message}`;
}
