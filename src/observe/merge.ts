/** What was known, where it can no longer be asked: facts grow old, they do not go away. */
import type { StrongroomError } from '../core/errors.ts';
import type { ClusterStatus, DestinationStatus } from './cluster-status.ts';

/**
 * `next` with what `before` knew in the place of what is unknown now. Where a destination is away the newest whole backup
 * stays the last one that was seen to be whole, and its age grows; `isWholeKnown` says that nobody can tell now.
 */
export function keepKnown(before: ClusterStatus | null, next: ClusterStatus): ClusterStatus {
  if (before === null) return next;
  const isSomeoneAway = next.destinations.some(({ away }) => away !== null);
  const isOlder = next.newest === null || (before.newest !== null && before.newest.snapshot > next.newest.snapshot);
  const isKept = isSomeoneAway && isOlder;
  return {
    ...next,
    readAt: next.readAt ?? before.readAt,
    newest: isKept ? before.newest : next.newest,
    members: isKept ? before.members : next.members,
    newestWhole: next.isWholeKnown ? next.newestWhole : before.newestWhole,
    fromTheFuture: next.readAt === null ? before.fromTheFuture : next.fromTheFuture,
    destinations: next.destinations.map((destination) => keepDestination(before, destination, next.isWholeKnown)),
    jobs: next.jobs ?? before.jobs,
  };
}

function keepDestination(before: ClusterStatus, next: DestinationStatus, isWholeKnown: boolean): DestinationStatus {
  const known = before.destinations.find(({ name }) => name === next.name);
  if (known === undefined) return next;
  // null of a proof means "never" where bad copies are known, and "unknown" where they are not.
  const areProofsKnown = next.badCopies !== null;
  return {
    ...next,
    newest: next.away === null ? next.newest : known.newest,
    // Its objects were not looked at: what was wrong with them is not right because another destination is away.
    problems: isWholeKnown ? next.problems : unique([...next.problems, ...known.problems]),
    locks: next.away === null ? next.locks : known.locks,
    badCopies: areProofsKnown ? next.badCopies : known.badCopies,
    lastProofAt: areProofsKnown ? next.lastProofAt : known.lastProofAt,
  };
}

function unique(errors: readonly StrongroomError[]): StrongroomError[] {
  return [...new Map(errors.map((error) => [error.message, error])).values()];
}

/** The status of a cluster that nothing is known of, because of `problem` or because it was not asked yet. */
export function unknownStatus(
  cluster: string,
  destinations: readonly string[],
  problem: DestinationStatus['away'],
): ClusterStatus {
  return {
    cluster,
    readAt: null,
    newest: null,
    newestWhole: null,
    isWholeKnown: false,
    fromTheFuture: [],
    members: [],
    destinations: destinations.map((name) => ({
      name,
      away: problem,
      newest: null,
      problems: [],
      copiesMissing: null,
      lastProofAt: null,
      badCopies: null,
      locks: null,
    })),
    jobs: null,
    recordsProblem: null,
  };
}
