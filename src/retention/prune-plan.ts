/** What a prune would do, in every destination of a cluster, each thing with its reason. Nothing is changed here. */
import { eachBounded } from '../core/bounded.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import { parseSnapshotId } from '../core/ids.ts';
import type { Clock } from '../core/units.ts';
import { clusterPrefix, latestKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import type { RetentionPolicy, SnapshotFacts } from './facts.ts';
import { readJournaled } from './journal.ts';
import { type Decided, keepForOthers } from './last-copy.ts';
import { lastBackupFailed } from './last-run.ts';
import { extendLocks, type LockLimits } from './lock-until.ts';
import { readLocks, shortestLock } from './locks.ts';
import { findOrphans, type Orphan, withoutManifest } from './orphans.ts';
import { type PlannedMark, planMarks } from './plan-marks.ts';
import { type Decision, decide } from './policy.ts';
import { type DestinationFacts, type ReadDeps, readFacts, readShared, type Shared } from './read-facts.ts';

export type PruneDestination = {
  store: Store;
  policy: RetentionPolicy;
  /** how locks follow the policy; null = they do not, and none is made longer */
  follow: LockLimits | null;
  /** why nothing may be removed there at all; absent = nothing is against it */
  refusal?: StrongroomError;
};

export type PlanDeps = ReadDeps & { cluster: ClusterName; destinations: readonly PruneDestination[]; clock: Clock };

export type PlannedSnapshot = Decision & { createdAt: Date; bytes: number };

export type DestinationPlan = {
  destination: string;
  location: string;
  /** newest first */
  snapshots: PlannedSnapshot[];
  orphans: Orphan[];
  /** locks that are to last until then */
  locks: { snapshot: SnapshotId; until: Date }[];
  /** what could not be looked at, for people */
  notes: string[];
};

export type PrunePlan = {
  cluster: ClusterName;
  at: Date;
  /** then nothing is removed */
  lastRunFailed: boolean;
  destinations: DestinationPlan[];
  marks: PlannedMark[];
};

const READS_AT_ONCE = 16;
const MAX_POINTER_BYTES = 4096;
const NOT_LOCKED: Date = new Date(0);

/**
 * The plan for all of `deps.destinations`, which have to be all that the cluster has. Rejects with the error of a destination that
 * does not answer: it may hold the last good copy, or the word of a hold.
 */
export async function planPrune(deps: PlanDeps, signal: AbortSignal): Promise<PrunePlan> {
  const now = deps.clock.now();
  const shared = await readShared(deps, now, signal);
  const found: { facts: DestinationFacts; destination: PruneDestination }[] = [];
  for (const destination of deps.destinations) {
    found.push({ facts: await readFacts(deps, destination.store, shared, signal), destination });
  }
  const all = found.map(({ facts }) => facts);
  const lastRunFailed = await lastBackupFailed(deps.records, newestGood(all), now, signal);
  const decided: Decided[] = [];
  for (const { facts, destination } of found) {
    decided.push(await decideHere(facts, destination, { now, lastRunFailed }, signal));
  }
  const kept = keepForOthers(decided, now);
  const destinations: DestinationPlan[] = [];
  for (const [i, { facts, destination }] of found.entries()) {
    const known = decided[i]?.facts ?? [];
    const decisions = await keepPointed(
      deps.cluster,
      destination.store,
      kept.get(destination.store.name) ?? [],
      signal,
    );
    const byId = new Map(known.map((one) => [one.snapshot, one]));
    destinations.push({
      destination: destination.store.name,
      location: destination.store.location,
      snapshots: decisions.map((decision) => ({
        ...decision,
        createdAt: byId.get(decision.snapshot)?.createdAt ?? NOT_LOCKED,
        bytes: byId.get(decision.snapshot)?.bytes ?? 0,
      })),
      orphans: await orphansOf(deps, facts, { all, shared, now }, signal),
      locks: await locksOf(facts, destination, { known, decisions, now }, signal),
      notes: [
        ...(destination.refusal === undefined ? [] : [`nothing is removed there: ${destination.refusal.message}`]),
        ...(facts.inventory.unseen === null
          ? []
          : [`versions that were replaced or hidden are not seen: ${facts.inventory.unseen.message}`]),
      ],
    });
  }
  return {
    cluster: deps.cluster,
    at: now,
    lastRunFailed,
    destinations,
    marks: await planMarks(all, shared, now, signal),
  };
}

/** Locks cost a request for each object, so only of what would go they are asked for; then it is decided again. */
async function decideHere(
  { store, inventory, facts }: DestinationFacts,
  { policy }: PruneDestination,
  { now, lastRunFailed }: { now: Date; lastRunFailed: boolean },
  signal: AbortSignal,
): Promise<Decided> {
  const first = decide(facts, policy, now, { lastRunFailed });
  const known = new Map<SnapshotId, SnapshotFacts>(facts.map((one) => [one.snapshot, one]));
  const toGo = first.filter(({ action }) => action !== 'keep');
  await eachBounded(
    toGo,
    READS_AT_ONCE,
    async ({ snapshot }) => {
      const objects = inventory.snapshots.get(snapshot);
      const one = known.get(snapshot);
      if (objects === undefined || one === undefined) return;
      const { until, isLegallyHeld } = await readLocks(store, objects, signal);
      const hold = isLegallyHeld ? { who: 'the store', why: 'a legal hold on its objects', until: null } : one.hold;
      known.set(snapshot, { ...one, lockedUntil: until, hold });
    },
    signal,
  );
  const locked = [...known.values()];
  const decisions = decide(locked, policy, now, { lastRunFailed });
  return { destination: store.name, facts: locked, policy, decisions };
}

/** The pointer names the newest, which is kept anyway. It is not signed: it can keep something, and never remove anything. */
async function keepPointed(
  cluster: ClusterName,
  store: Store,
  decisions: readonly Decision[],
  signal: AbortSignal,
): Promise<Decision[]> {
  if (decisions.every(({ action }) => action === 'keep')) return [...decisions];
  const pointed = await pointedTo(cluster, store, signal);
  return decisions.map((decision) =>
    decision.snapshot === pointed && decision.action !== 'keep'
      ? { ...decision, action: 'keep', reasons: [...decision.reasons, 'latest.json points to it'], deferUntil: null }
      : decision,
  );
}

async function pointedTo(cluster: ClusterName, store: Store, signal: AbortSignal): Promise<SnapshotId | null> {
  try {
    const bytes = await collect(store.get(latestKey(cluster), { signal }), MAX_POINTER_BYTES);
    const json: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (typeof json !== 'object' || json === null || !('snapshot' in json)) return null;
    return typeof json.snapshot === 'string' ? parseSnapshotId(json.snapshot) : null;
  } catch (e) {
    if (isError(e, 'E_NOT_FOUND') || e instanceof SyntaxError || e instanceof RangeError) return null;
    throw e;
  }
}

async function orphansOf(
  { cluster, records }: PlanDeps,
  here: DestinationFacts,
  { all, shared, now }: { all: readonly DestinationFacts[]; shared: Shared; now: Date },
  signal: AbortSignal,
): Promise<Orphan[]> {
  const suspects = withoutManifest(here.inventory);
  const others = all.filter(({ store }) => store !== here.store);
  const proven = new Set([...shared.proofs.values()].flat().map(({ snapshot }) => snapshot));
  return findOrphans(here.inventory, {
    now,
    tombstones: here.tombstones,
    journaled: await readJournaled(records, here.store.name, suspects, signal),
    elsewhere: (snapshot) =>
      others.flatMap(({ store, facts }) => (facts.some((one) => one.snapshot === snapshot) ? [store.name] : [])),
    evidence: (snapshot) => {
      if (all.some(({ named }) => named.has(snapshot))) return 'a later manifest names it';
      return proven.has(snapshot) ? 'there is a proof of it' : null;
    },
    uploads: await Array.fromAsync(here.store.listUnfinished(clusterPrefix(cluster), { signal })),
  });
}

/** By the locks of the manifests first: only where they would be too short the objects are asked. */
async function locksOf(
  { store, inventory, lockedBy }: DestinationFacts,
  { policy, follow }: PruneDestination,
  { known, decisions, now }: { known: readonly SnapshotFacts[]; decisions: readonly Decision[]; now: Date },
  signal: AbortSignal,
): Promise<{ snapshot: SnapshotId; until: Date }[]> {
  if (follow === null) return [];
  const guessed = known.map((one) => ({ ...one, lockedUntil: lockedBy.get(one.snapshot) ?? NOT_LOCKED }));
  const suspects = new Set(extendLocks(decisions, guessed, policy, now, follow).map(({ snapshot }) => snapshot));
  const asked: SnapshotFacts[] = [];
  for (const one of known) {
    const objects = suspects.has(one.snapshot) ? inventory.snapshots.get(one.snapshot) : undefined;
    asked.push({ ...one, lockedUntil: objects === undefined ? null : await shortestLock(store, objects, signal) });
  }
  return extendLocks(decisions, asked, policy, now, follow);
}

function newestGood(all: readonly DestinationFacts[]): Date | null {
  const times = all
    .flatMap(({ facts }) => facts.filter(({ isGood, purpose }) => isGood && purpose === 'backup'))
    .map(({ createdAt }) => createdAt.getTime());
  return times.length === 0 ? null : new Date(Math.max(...times));
}
