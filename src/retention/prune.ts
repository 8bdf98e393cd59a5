/** Carrying out the retention policy: under the lease of every destination, decided again, written down, then done. */
import { hostname, userInfo } from 'node:os';
import { nextMarkId, readMarks } from '../catalogue/marks.ts';
import { eachBounded } from '../core/bounded.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import type { RunId, SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { inStage } from '../core/scope.ts';
import type { Lease } from '../lease/lease.ts';
import type { Store } from '../store/store.ts';
import { type Removal, writeJournal } from './journal.ts';
import { extendSnapshot } from './locks.ts';
import type { Orphan } from './orphans.ts';
import type { PlannedMark } from './plan-marks.ts';
import { type DestinationPlan, type PlanDeps, type PrunePlan, planPrune } from './prune-plan.ts';
import { removeSnapshot } from './remove.ts';

export type PruneDeps = PlanDeps & {
  log: Log;
  /** the lease of the cluster in every destination, or E_LOCKED, or the error of one that does not answer */
  takeLease: (run: RunId, signal: AbortSignal) => Promise<Lease>;
};

export type DestinationResult = {
  destination: string;
  /** gone for good, with every version */
  removed: { snapshot: SnapshotId; bytes: number }[];
  orphans: { what: Orphan['what']; name: string; bytes: number }[];
  /** to be removed, and locked until then; null = nobody knows until when */
  deferred: { snapshot: string; until: Date | null; why: string }[];
  /** locks that now last longer */
  extended: { snapshot: SnapshotId; until: Date }[];
  /** why it was given up; what is listed above was done before */
  error: StrongroomError | null;
};

export type PruneResult = { run: RunId; plan: PrunePlan; destinations: DestinationResult[]; marks: PlannedMark[] };

const REMOVALS_AT_ONCE = 4;

/**
 * Removes what the policy does not keep, everywhere or in `only` that destination. One that fails is given up, with its error in the
 * result, and the others are carried out; a lock is no failure. Rejects with E_LOCKED while another run is at work or when the lease
 * is lost, with the error of a destination that does not answer before anything was removed, or with the abort reason.
 */
export async function prune(
  deps: PruneDeps,
  options: { run: RunId; only?: string },
  signal: AbortSignal,
): Promise<PruneResult> {
  const { run, only } = options;
  await using lease = await inStage('lease', () => deps.takeLease(run, signal));
  const either = AbortSignal.any([signal, lease.signal]);
  const plan = await inStage('plan', () => planPrune(deps, either));
  await writeMarks(deps, plan.marks, either);
  const destinations: DestinationResult[] = [];
  for (const one of plan.destinations) {
    if (only !== undefined && one.destination !== only) continue;
    const known = deps.destinations.find(({ store }) => store.name === one.destination);
    if (known === undefined) throw new StrongroomError('E_BUG', `a plan for an unknown destination ${one.destination}`);
    const { store, refusal } = known;
    if (refusal !== undefined) {
      destinations.push({ ...nothingDone(one.destination), error: refusal });
      continue;
    }
    const how = { run, store, at: plan.at };
    destinations.push(await inStage(`prune ${one.destination}`, () => carryOut(deps, one, how, either)));
  }
  either.throwIfAborted();
  return { run, plan, destinations, marks: plan.marks };
}

async function carryOut(
  deps: PruneDeps,
  plan: DestinationPlan,
  { run, store, at }: { run: RunId; store: Store; at: Date },
  signal: AbortSignal,
): Promise<DestinationResult> {
  const { destination } = plan;
  const result = nothingDone(destination);
  for (const { snapshot, action, deferUntil, reasons } of plan.snapshots) {
    if (action === 'defer') result.deferred.push({ snapshot, until: deferUntil, why: reasons.join('; ') });
  }
  try {
    for (const lock of plan.locks) {
      // What keeps something comes before what removes something.
      if ((await extendSnapshot(store, deps.cluster, lock, signal)) > 0) result.extended.push(lock);
    }
    const removals = removalsOf(plan);
    await writeJournal(deps.records, { run, destination, at, removals: removals.map(({ entry }) => entry) }, signal);
    await eachBounded(
      removals,
      REMOVALS_AT_ONCE,
      async ({ snapshot, entry }) => {
        try {
          await removeSnapshot(store, deps.cluster, snapshot, signal);
        } catch (e) {
          if (!isError(e, 'E_STORE_LOCKED')) throw e;
          result.deferred.push({ snapshot, until: null, why: e.message });
          return;
        }
        const { bytes, what, reasons } = entry;
        if (what === 'snapshot') result.removed.push({ snapshot, bytes });
        else result.orphans.push({ what: 'objects', name: snapshot, bytes });
        deps.log.info({ cluster: deps.cluster, run, store: destination, snapshot, bytes, reasons }, 'removed');
      },
      signal,
    );
    for (const orphan of plan.orphans) await removeOrphan(store, orphan, result, signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    deps.log.error({ cluster: deps.cluster, run, store: destination, err: e.toJSON() }, 'pruning was given up there');
    result.error = e;
  }
  // Several went at once, and came to their ends in any order.
  result.removed.sort((a, b) => (a.snapshot < b.snapshot ? -1 : 1));
  return result;
}

function nothingDone(destination: string): DestinationResult {
  return { destination, removed: [], orphans: [], deferred: [], extended: [], error: null };
}

/** Oldest first. */
function removalsOf(plan: DestinationPlan): { snapshot: SnapshotId; entry: Removal }[] {
  const published = plan.snapshots.flatMap(({ snapshot, action, bytes, reasons }) =>
    action === 'remove' ? [{ snapshot, entry: { snapshot, what: 'snapshot' as const, bytes, reasons } }] : [],
  );
  const leftovers = plan.orphans.flatMap(({ snapshot, action, bytes, reason }) =>
    action === 'remove' && snapshot !== null
      ? [{ snapshot, entry: { snapshot, what: 'leftover' as const, bytes, reasons: [reason] } }]
      : [],
  );
  return [...leftovers, ...published.toReversed()];
}

/** Of no snapshot: unfinished uploads, and versions of what is written again and again. */
async function removeOrphan(
  store: Store,
  { what, name, action, snapshot, bytes, uploads, versions }: Orphan,
  result: DestinationResult,
  signal: AbortSignal,
): Promise<void> {
  if (action !== 'remove' || snapshot !== null) return;
  for (const upload of uploads) await store.abortUnfinished(upload, { signal });
  let isLocked = false;
  await eachBounded(
    versions,
    REMOVALS_AT_ONCE,
    async ({ key, versionId }) => {
      try {
        await store.delete(key, { signal, versionId });
      } catch (e) {
        if (!isError(e, 'E_STORE_LOCKED')) throw e;
        isLocked = true;
      }
    },
    signal,
  );
  if (isLocked) result.deferred.push({ snapshot: name, until: null, why: 'some of its older versions are locked' });
  else result.orphans.push({ what, name, bytes });
}

async function writeMarks(
  { records, clock }: PruneDeps,
  marks: readonly PlannedMark[],
  signal: AbortSignal,
): Promise<void> {
  if (marks.length === 0) return;
  const { newest } = await readMarks(records, signal);
  for (const { snapshot, act, why } of marks) {
    const now = clock.now();
    const who = `${userInfo().username}@${hostname()}`;
    const id = nextMarkId(newest.get(snapshot), now);
    const record = {
      schema: '1',
      cluster: records.cluster,
      snapshot,
      id,
      act,
      at: now.toISOString(),
      who,
      why,
    } as const;
    const { failures } = await records.writeMark(record, signal);
    for (const { error } of failures) throw error;
  }
}

/** The first error of a destination that was given up, naming all of them; null = none was. */
export function pruneFailure({ destinations }: Pick<PruneResult, 'destinations'>): StrongroomError | null {
  const failed = destinations.flatMap(({ destination, error }) => (error === null ? [] : [{ destination, error }]));
  const [first] = failed;
  if (first === undefined) return null;
  const message = failed.map(({ destination, error }) => `${destination}: ${error.message}`).join('; ');
  return new StrongroomError(first.error.code, `not everything was pruned: ${message}`, {
    ...(first.error.hint === undefined ? {} : { hint: first.error.hint }),
    details: { failures: failed.map(({ destination, error }) => ({ destination, code: error.code })) },
    retryable: failed.every(({ error }) => error.retryable),
    cause: first.error,
  });
}
