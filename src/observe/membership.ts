/**
 * Drift of the raft members: who was one in each of the last backups, and whether anybody said so. A scratch node that takes
 * the place of a real one shows nowhere else: health and autopilot stay green.
 */
import { changesOf, compareMembers, type Member } from '../catalogue/members.ts';
import { isError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { BackupFact, BackupMembers, StatusDeps } from './cluster-status.ts';
import { factOf } from './destination-status.ts';
import { answered } from './patience.ts';

export type MembershipRules = {
  /** who is meant to be a member; empty = nobody wrote it down */
  inventory: readonly Member[];
  /** when members may change */
  windows: readonly { from: Date; to: Date }[];
};

/** So many backups before the newest are looked at: a change must be seen by whoever looks only now and then. */
const LOOKED_AT = 5;

/**
 * `newest` and the backups that it continues, newest first. It ends where one cannot be read any more: it may have been
 * pruned. `known` is read from first, and then holds these alone. Rejects on abort, and with a defect.
 */
export async function readMembers(
  { catalogue, answerMs }: StatusDeps,
  answering: readonly string[],
  newest: BackupFact | null,
  known: Map<SnapshotId, BackupMembers>,
  signal: AbortSignal,
): Promise<BackupMembers[]> {
  if (newest === null) return [];
  const found: BackupMembers[] = [newest];
  const readable = catalogue.only(...answering);
  const follow = async (either: AbortSignal): Promise<void> => {
    let { previous } = newest;
    while (previous !== null && found.length <= LOOKED_AT) {
      const one: BackupMembers = known.get(previous) ?? factOf(await readable.read(previous, either));
      // A chain that does not go back in time was not made by backups.
      if (one.snapshot >= (found.at(-1)?.snapshot ?? '')) return;
      found.push(one);
      ({ previous } = one);
    }
  };
  try {
    await answered('a destination', follow, signal, answerMs);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
  }
  known.clear();
  for (const { snapshot, at, members, previous } of found) known.set(snapshot, { snapshot, at, members, previous });
  return found;
}

/**
 * What changed and nobody declared, a sentence each; empty = nothing; null = there is nothing to compare with. Pure.
 *
 * With an inventory it alone decides: a member that it names was meant to be one. A difference is excused while a window was
 * open since the newest backup, for that one may be older than the change. Without an inventory each backup is compared with
 * the one before, and a change is excused by a window that was open between the two.
 */
export function driftOf(
  backups: readonly BackupMembers[],
  { inventory, windows }: MembershipRules,
  now: Date,
): string[] | null {
  const [newest] = backups;
  if (newest === undefined) return null;
  const isDeclared = (since: Date, until: Date): boolean =>
    windows.some(({ from, to }) => from <= until && to >= since);
  if (inventory.length > 0) {
    return isDeclared(newest.at, now) ? [] : compareMembers(newest.members, inventory, null);
  }
  if (backups.length < 2) return null;
  return backups.flatMap((backup, i) => {
    const before = backups[i + 1];
    if (before === undefined || isDeclared(before.at, backup.at)) return [];
    return changesOf(backup.members, before.members).map((line) => `${line} since ${before.at.toISOString()}`);
  });
}
