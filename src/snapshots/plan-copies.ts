/** What a replication has to look at: by the listings, by readings that were bad, and by what is not there on purpose. */
import { type CopyName, removedOnPurpose } from '../catalogue/removals.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { unwantedCopies } from '../retention/wanted.ts';
import type { Destination } from './copy-lock.ts';
import { copyKey } from './proofs.ts';
import type { ReplicateDeps, Unmended } from './replicate.ts';
import { differs, published, type Survey, surveyCopies } from './survey.ts';
import { badProofs, type Suspects } from './suspects.ts';

export type CopiesPlan = {
  survey: Survey;
  suspects: Suspects;
  /** snapshots that have a manifest somewhere */
  snapshots: number;
  /** of those, the ones too young to be looked at: their backup may still be publishing them */
  young: number;
  /** newest first, each with the destinations that answered and should have a copy */
  todo: { snapshot: SnapshotId; destinations: Destination[] }[];
  /** copies that are not there on purpose */
  leftAlone: number;
  /** what could not be told */
  unmended: Unmended[];
};

/** So long a backup may take from its first manifest to its last, in milliseconds. */
export const PUBLISHING_MS = 3_600_000;

/**
 * Looks, and changes nothing. A copy of which nothing is there is left alone where a signed record of a prune says that it was
 * removed, and where the policy of its destination would remove it at once. Rejects when no destination can be listed.
 */
export async function planCopies(deps: ReplicateDeps, signal: AbortSignal): Promise<CopiesPlan> {
  const stores = deps.destinations.map(({ store }) => store);
  const survey = await surveyCopies(deps.cluster, stores, signal);
  const suspects = await badProofs(deps.records, survey, signal);
  const youngest = deps.clock.now().getTime() - PUBLISHING_MS;
  const all = published(survey);
  const old = all.filter((snapshot) => snapshotTime(snapshot).getTime() <= youngest);
  const plan: CopiesPlan = {
    survey,
    suspects,
    snapshots: all.length,
    young: all.length - old.length,
    todo: [],
    leftAlone: 0,
    unmended: [
      ...survey.away.map(({ destination, error }) => ({ snapshot: null, destination, error })),
      ...suspects.unread,
    ],
  };
  const alone = await copiesToLeave(deps, plan, all, signal);
  plan.leftAlone = alone.size;
  for (const snapshot of old) {
    const destinations = deps.destinations.filter(
      ({ store: { name } }) => survey.held.has(name) && !alone.has(copyKey({ snapshot, destination: name })),
    );
    const names = destinations.map(({ store }) => store.name);
    const isSuspect = names.some((destination) => suspects.bad.has(copyKey({ snapshot, destination })));
    if (isSuspect || differs(survey, snapshot, names)) plan.todo.push({ snapshot, destinations });
  }
  return plan;
}

/** By {@link copyKey}. Where it cannot be told, the copy is left alone for now, and that is in `plan.unmended`. */
async function copiesToLeave(
  deps: ReplicateDeps,
  plan: CopiesPlan,
  snapshots: readonly SnapshotId[],
  signal: AbortSignal,
): Promise<Set<string>> {
  const { held } = plan.survey;
  const lacked = snapshots.flatMap((snapshot) =>
    [...held].flatMap(([destination, all]): CopyName[] =>
      all.get(snapshot)?.manifests === undefined ? [{ snapshot, destination }] : [],
    ),
  );
  if (lacked.length === 0) return new Set();
  const records = deps.records.only(...held.keys());
  try {
    const isRemoved = await removedOnPurpose(records, lacked, signal);
    const alone = lacked.filter(isRemoved);
    // Where something is left of it, it was no prune that took the manifest, and it is not for the policy to say.
    const missed = lacked.filter((copy) => !isRemoved(copy));
    const isGone = ({ snapshot, destination }: CopyName): boolean => held.get(destination)?.get(snapshot) === undefined;
    // Those that are young, or that something is left of, take their places in the policy all the same.
    const unwanted = missed.some(isGone) ? await unwantedOf(deps, plan, missed, signal) : [];
    return new Set([...alone, ...unwanted.filter(isGone)].map(copyKey));
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    plan.unmended.push({ snapshot: null, destination: null, error: unknown(e) });
    return new Set(lacked.map(copyKey));
  }
}

async function unwantedOf(
  { catalogue, records, destinations, policies, clock }: ReplicateDeps,
  { survey, unmended }: CopiesPlan,
  missed: readonly CopyName[],
  signal: AbortSignal,
): Promise<CopyName[]> {
  if (policies.size === 0) return [];
  const alive = [...survey.held.keys()];
  const asked = destinations.flatMap(({ store }) =>
    alive.includes(store.name) ? [{ store, policy: policies.get(store.name) ?? null }] : [],
  );
  const lacked = new Map(
    [...Map.groupBy(missed, ({ destination }) => destination)].map(([destination, copies]) => [
      destination,
      new Set(copies.map(({ snapshot }) => snapshot)),
    ]),
  );
  const deps = { catalogue: catalogue.only(...alive), records: records.only(...alive) };
  const { snapshots, failures } = await unwantedCopies(deps, asked, lacked, clock.now(), signal);
  for (const { destination, error } of failures) unmended.push({ snapshot: null, destination, error });
  const unknowable = new Set(failures.map(({ destination }) => destination));
  return missed.filter(
    ({ snapshot, destination }) => unknowable.has(destination) || snapshots.get(destination)?.has(snapshot) === true,
  );
}

function unknown(e: StrongroomError): StrongroomError {
  return new StrongroomError(
    e.code,
    `it cannot be told which copies were removed on purpose, so none that is not there was made: ${e.message}`,
    { ...(e.hint === undefined ? {} : { hint: e.hint }), retryable: e.retryable, cause: e },
  );
}
