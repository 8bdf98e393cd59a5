/** Who is a member of a cluster, by raft itself: against what somebody wrote down, and against what was there before. */

export type Member = { readonly id: string; readonly address: string };

/**
 * Members that the inventory does not know, or knows under another address, and those that changed since the last
 * snapshot. A scratch node that joined production shows nowhere else: health and autopilot stay green.
 */
export function compareMembers(
  servers: readonly Member[],
  inventory: readonly Member[],
  previous: readonly Member[] | null,
): string[] {
  const warnings: string[] = [];
  const known = new Map(inventory.map(({ id, address }) => [id, address]));
  if (inventory.length > 0) {
    for (const { id, address } of servers) {
      const expected = known.get(id);
      if (expected === undefined) warnings.push(`raft member ${id} at ${address} is a stranger to the inventory`);
      else if (expected !== address) {
        warnings.push(`raft member ${id} is at ${address}, but the inventory says ${expected}`);
      }
    }
    const present = new Set(servers.map(({ id }) => id));
    for (const { id } of inventory) if (!present.has(id)) warnings.push(`raft member ${id} of the inventory is absent`);
  }
  if (previous === null) return warnings;
  return [...warnings, ...changesOf(servers, previous).map((line) => `${line} since the last snapshot`)];
}

/** Each member that is new, has another address or is gone, in words that go on with "since …". */
export function changesOf(servers: readonly Member[], previous: readonly Member[]): string[] {
  const before = new Map(previous.map(({ id, address }) => [id, address]));
  const changes: string[] = [];
  for (const { id, address } of servers) {
    const was = before.get(id);
    if (was === undefined) changes.push(`raft member ${id} at ${address} is new`);
    else if (was !== address) changes.push(`raft member ${id} moved from ${was} to ${address}`);
  }
  const present = new Set(servers.map(({ id }) => id));
  for (const { id, address } of previous) {
    if (!present.has(id)) changes.push(`raft member ${id} at ${address} is gone`);
  }
  return changes;
}
