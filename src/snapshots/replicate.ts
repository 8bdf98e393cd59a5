/** Makes every destination hold what it should: finds copies that are missing or differ, and makes them again from good ones. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Records } from '../catalogue/records.ts';
import { StrongroomError } from '../core/errors.ts';
import type { ClusterName, RunId, SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { OnProgress } from '../core/progress.ts';
import { inStage } from '../core/scope.ts';
import { type Clock, formatDuration } from '../core/units.ts';
import type { Lease } from '../lease/lease.ts';
import type { RetentionPolicy } from '../retention/facts.ts';
import type { ObjectKind } from '../store/layout.ts';
import type { ProofKind } from '../store/prove-copy.ts';
import type { Destination } from './copy-lock.ts';
import { type MendedCopy, mendSnapshot } from './mend-snapshot.ts';
import { type CopiesPlan, PUBLISHING_MS, planCopies } from './plan-copies.ts';
import { KIND_NAMES } from './presence.ts';

export type ReplicateDeps = {
  cluster: ClusterName;
  catalogue: Catalogue;
  destinations: readonly Destination[];
  /** what each destination keeps, by its name; one that is not in it keeps everything */
  policies: ReadonlyMap<string, RetentionPolicy>;
  records: Records;
  /** the lease of the cluster, or E_LOCKED */
  takeLease: (run: RunId, signal: AbortSignal) => Promise<Lease>;
  clock: Clock;
  log: Log;
  onProgress: OnProgress;
};

export type ReplicateOptions = {
  run: RunId;
  /** how a copy that is made anew is proven */
  prove: ProofKind;
  /** the lease is given back for others after so long, in milliseconds; what is left then is for the next run. Default 10 min */
  maxHoldMs?: number;
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
  /** copies that are not there on purpose: retention removed them, or would */
  leftAlone: number;
  unmended: Unmended[];
};

/** A backup that is due waits for so long, in milliseconds. */
const MAX_HOLD_MS = 10 * 60_000;

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
 * Looking takes no lease. Where there is something to do it is taken, and looked again: what a prune removed meanwhile does
 * not come back. Rejects with E_LOCKED while another run is at work, or when the lease is lost: nothing is published then.
 * Rejects when no destination can be listed; and in the end with E_STORE_CHECKSUM when the data of a snapshot is whole
 * nowhere, after everything else was done.
 */
export async function replicate(
  deps: ReplicateDeps,
  options: ReplicateOptions,
  signal: AbortSignal,
): Promise<ReplicateResult> {
  const seen = await inStage('survey', () => planCopies(deps, signal));
  if (seen.todo.length === 0) return resultOf(seen);
  await using lease = await deps.takeLease(options.run, signal);
  const either = AbortSignal.any([signal, lease.signal]);
  const plan = await inStage('survey', () => planCopies(deps, either));
  const { result, lost } = await inStage('mend', () => mendAll(deps, options, plan, lease, either));
  either.throwIfAborted();
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

function resultOf({ snapshots, young, leftAlone, unmended }: CopiesPlan): ReplicateResult {
  return { snapshots, young, repaired: [], cleared: [], leftAlone, unmended: [...unmended] };
}

async function mendAll(
  deps: ReplicateDeps,
  { run, prove, maxHoldMs = MAX_HOLD_MS }: ReplicateOptions,
  plan: CopiesPlan,
  lease: Lease,
  signal: AbortSignal,
): Promise<{ result: ReplicateResult; lost: StrongroomError[] }> {
  const { survey, suspects } = plan;
  const result = resultOf(plan);
  const lost: StrongroomError[] = [];
  const away = new Map(survey.away.map(({ destination, error }) => [destination, error]));
  const begun = performance.now();
  for (const [i, { snapshot, destinations }] of plan.todo.entries()) {
    signal.throwIfAborted();
    if (performance.now() - begun > maxHoldMs) {
      result.unmended.push({ snapshot: null, destination: null, error: leftForLater(plan.todo.length - i) });
      break;
    }
    const mended = await mendSnapshot(
      { ...deps, away, survey, suspects: suspects.bad, prove, run, lease },
      snapshot,
      destinations.filter(({ store }) => !away.has(store.name)),
      signal,
    );
    if (mended.lost !== null) lost.push(mended.lost);
    for (const copy of mended.copies) note(deps, result, away, snapshot, copy);
  }
  return { result, lost };
}

function leftForLater(count: number): StrongroomError {
  return new StrongroomError('E_PARTIAL', `${count} snapshots are left for the next run: others wait for the cluster`, {
    hint: 'nothing is wrong: run it again, or wait for its schedule',
  });
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
export function summariseReplicate(result: ReplicateResult): string[] {
  const { snapshots, young, repaired, cleared, leftAlone, unmended } = result;
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
    ...(leftAlone > 0 ? [`  not copied  ${leftAlone}: their destination's retention removed them, or would`] : []),
    ...(young > 0 ? [`  left alone  ${young}: younger than ${formatDuration(PUBLISHING_MS)}`] : []),
  ];
}

/** One line: where, and what is wrong there. */
export function describeUnmended({ snapshot, destination, error }: Unmended): string {
  const where = [snapshot, destination].filter((word) => word !== null).join(' in ');
  return `${where}: ${error.message}`;
}
