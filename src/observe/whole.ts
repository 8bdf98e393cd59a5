/** Which backup is whole: its objects, under a good manifest, are in every configured destination that is to have them. */
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { lookAtCopies } from '../snapshots/presence.ts';
import {
  type BackupFact,
  CLOCK_TOLERANCE_MS,
  type DestinationStatus,
  PUBLISHING_MS,
  type StatusDeps,
} from './cluster-status.ts';
import { factOf } from './destination-status.ts';
import { withoutExcused } from './excused.ts';
import { answered, meansAway } from './patience.ts';

export type Whole = {
  newestWhole: BackupFact | null;
  /** false = a destination stopped answering meanwhile */
  isKnown: boolean;
  /** by destination: why it could not be asked */
  away: Map<string, StrongroomError>;
  /** by destination: what is wrong with the newest copies that it should hold */
  problems: Map<string, StrongroomError[]>;
  /** by destination: backups since the newest whole one that are not there */
  missing: Map<string, number>;
};

/** After so many that are not whole there is more wrong than can be counted; each costs a few requests. */
const MAX_LOOKED_AT = 20;

/**
 * Looks at backups from the newest on until one is whole. The manifest alone is not believed: data may have been deleted
 * since, and a copy that was missing then may have been made since. No data is read. `destinations` have all answered.
 */
export async function findWhole(
  deps: StatusDeps,
  destinations: readonly DestinationStatus[],
  now: Date,
  signal: AbortSignal,
): Promise<Whole> {
  const whole: Whole = {
    newestWhole: null,
    isKnown: true,
    away: new Map(),
    problems: new Map(),
    missing: new Map(destinations.map(({ name }) => [name, 0])),
  };
  try {
    await answered('a destination', (either) => search(deps, destinations, whole, now, either), signal, deps.answerMs);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    // Which of them it was does not matter: until all answer, nobody knows.
    whole.isKnown = false;
  }
  if (!whole.isKnown) whole.missing.clear();
  return whole;
}

async function search(
  deps: StatusDeps,
  destinations: readonly DestinationStatus[],
  whole: Whole,
  now: Date,
  signal: AbortSignal,
): Promise<void> {
  const horizon = now.getTime() + CLOCK_TOLERANCE_MS;
  const newest = destinations.reduce<SnapshotId | null>(
    (best, one) => (one.newest !== null && one.newest.snapshot > (best ?? '') ? one.newest.snapshot : best),
    null,
  );
  // Most often the newest is whole, and no listing is needed to see it.
  if (newest === null || (await lookAt(deps, newest, whole, { isNewest: true, now }, signal))) return;
  const { entries, failures } = await deps.catalogue.list(signal);
  const [failure] = failures;
  if (failure !== undefined) throw failure;
  let looked = 1;
  for (const { snapshot } of entries.toReversed()) {
    if (snapshot >= newest || snapshotTime(snapshot).getTime() > horizon) continue;
    if (looked >= MAX_LOOKED_AT) return;
    looked += 1;
    if (await lookAt(deps, snapshot, whole, { isNewest: false, now }, signal)) return;
  }
}

/** True when the search is over: it is whole, or a destination is away. Else it is counted where it is missing. */
async function lookAt(
  deps: StatusDeps,
  snapshot: SnapshotId,
  whole: Whole,
  { isNewest, now }: { isNewest: boolean; now: Date },
  signal: AbortSignal,
): Promise<boolean> {
  const found = await readManifest(deps, snapshot, signal);
  if (found === null || found.manifest.purpose !== 'backup') return false;
  const fact = factOf(found);
  const seen = await lookAtCopies(deps, asIfPromised(found.manifest, deps.stores), signal);
  for (const { destination, problems } of seen) {
    const away = problems.find(meansAway);
    if (away === undefined) continue;
    whole.away.set(destination, away);
    whole.isKnown = false;
  }
  if (!whole.isKnown) return true;
  const copies = await withoutExcused(deps, found, seen, signal);
  const lacking = copies.filter(({ problems }) => problems.length > 0);
  if (lacking.length === 0 && copies.length > 0) {
    whole.newestWhole = fact;
    return true;
  }
  for (const { destination, problems } of lacking) {
    whole.missing.set(destination, (whole.missing.get(destination) ?? 0) + 1);
    const copy = found.manifest.destinations.find(({ name }) => name === destination);
    // What was promised there and is gone was taken away; what never came is only missing. Older ones may have been pruned.
    const wasTaken = copy?.status === 'stored' && now.getTime() - fact.finishedAt.getTime() > PUBLISHING_MS;
    if (isNewest && wasTaken) whole.problems.set(destination, problems);
  }
  return false;
}

/** null = it is refused, or gone: whatever it is, it is not whole. */
async function readManifest(
  { catalogue }: StatusDeps,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<VerifiedManifest | null> {
  try {
    return await catalogue.read(snapshot, signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e) || meansAway(e)) throw e;
    return null;
  }
}

/** Nothing is taken for missing because the manifest did not promise it: a copy may have been made later. */
function asIfPromised(manifest: Manifest, stores: StatusDeps['stores']): Manifest {
  return {
    ...manifest,
    destinations: stores.map(
      ({ name, location }) =>
        manifest.destinations.find((copy) => copy.name === name && copy.status === 'stored') ?? {
          name,
          location,
          status: 'stored',
          etag: '',
          proof: 'checksum',
        },
    ),
  };
}
