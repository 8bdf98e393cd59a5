/** Quorum arithmetic of raft; pure. */

/** Voters that must be alive among `voters`: floor(n/2)+1. Throws a RangeError below one voter. */
export function quorumOf(voters: number): number {
  if (!Number.isInteger(voters) || voters < 1) throw new RangeError(`${voters} is no number of voters`);
  return Math.floor(voters / 2) + 1;
}

/** How many of `voters` may be lost before nothing can be written. */
export function failureToleranceOf(voters: number): number {
  return voters - quorumOf(voters);
}

/** How many more of `voters` may be lost when `alive` of them are; negative = quorum is lost. */
export function remainingTolerance(voters: number, alive: number): number {
  return alive - quorumOf(voters);
}
