/** What retention knows of a snapshot and what a policy says; both are checked here before anything is decided. */
import { StrongroomError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { GenerationCounts } from './keepers.ts';

/** What has to be known of a snapshot to decide about it. */
export type SnapshotFacts = {
  snapshot: SnapshotId;
  createdAt: Date;
  /** `safety` = made by a restore of what it overwrote */
  purpose: 'backup' | 'safety';
  /** its manifest is there, signed by somebody trusted, and its own */
  isGood: boolean;
  /** what is wrong with one that is not good; default: `manifest refused` */
  fault?: string;
  /** when the stored bytes were last read back and found right; null = never */
  verifiedAt: Date | null;
  /** when it was last restored in a drill that passed; null = never */
  drilledAt: Date | null;
  /** `until` null = until it is released by hand */
  hold: { who: string; why: string; until: Date | null } | null;
  /** end of the object lock that lasts longest on any of its objects; null = none */
  lockedUntil: Date | null;
  bytes: number;
  /** marked "ignore for restore": found bad, and known to be */
  isIgnored: boolean;
};

export type RetentionPolicy = GenerationCounts & {
  /** all that are younger than the newest good one by at most so many milliseconds; null = none */
  keepWithinMs: number | null;
  /** the newest so many verified ones are never removed; the newest one is not in any case */
  minVerified: number;
  /** for how long a safety snapshot is kept, in milliseconds since it was made */
  keepSafetyMs: number;
};

const MAX_AHEAD_MS = 10 * 60_000;
/** A larger count is a slip of the finger, and its last period is past the end of JavaScript's calendar. */
const MAX_COUNT = 100_000;
const COUNTS = ['keepLast', 'keepHourly', 'keepDaily', 'keepWeekly', 'keepMonthly', 'keepYearly'] as const;

/** Throws E_CONFIG_INVALID for a policy that keeps nothing by itself, or has a number that is none. */
export function checkPolicy(policy: RetentionPolicy): void {
  for (const name of [...COUNTS, 'minVerified'] as const) {
    const count = policy[name];
    if (Number.isInteger(count) && count >= 0 && count <= MAX_COUNT) continue;
    throw new StrongroomError('E_CONFIG_INVALID', `${name} of the retention policy is not a count`, {
      hint: `write a whole number from 0 to ${MAX_COUNT}`,
    });
  }
  for (const name of ['keepWithinMs', 'keepSafetyMs'] as const) {
    const ms = policy[name];
    if (ms === null || (Number.isFinite(ms) && ms >= 0)) continue;
    throw new StrongroomError('E_CONFIG_INVALID', `${name} of the retention policy is not a duration`, {
      hint: 'write a number and a unit, such as 30d',
    });
  }
  if (isEmptyPolicy(policy)) {
    throw new StrongroomError('E_CONFIG_INVALID', 'the retention policy keeps nothing', {
      hint: 'write at least one of keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly, keepWithin',
    });
  }
}

function isEmptyPolicy(policy: RetentionPolicy): boolean {
  return COUNTS.every((name) => policy[name] === 0) && (policy.keepWithinMs ?? 0) === 0;
}

/** Throws E_BUG for a snapshot that is given twice, and for a time that is none: its decision would be a guess. */
export function checkFacts(snapshots: readonly SnapshotFacts[], now: Date): void {
  if (Number.isNaN(now.getTime())) throw new StrongroomError('E_BUG', 'retention got a present that is no time');
  const seen = new Set<SnapshotId>();
  for (const { snapshot, createdAt, hold, lockedUntil } of snapshots) {
    if (seen.has(snapshot)) throw new StrongroomError('E_BUG', `retention got snapshot ${snapshot} twice`);
    seen.add(snapshot);
    const dates = [createdAt, lockedUntil, hold?.until ?? null];
    if (dates.some((date) => date !== null && Number.isNaN(date.getTime()))) {
      throw new StrongroomError('E_BUG', `retention got snapshot ${snapshot} with a time that is none`);
    }
  }
}

/** What a name alone tells: it counts as a good backup that nobody has proven, held or locked. */
export function factsOfName(snapshot: SnapshotId): SnapshotFacts {
  return {
    snapshot,
    createdAt: snapshotTime(snapshot),
    purpose: 'backup',
    isGood: true,
    verifiedAt: null,
    drilledAt: null,
    hold: null,
    lockedUntil: null,
    bytes: 0,
    isIgnored: false,
  };
}

/** A copy in order of time; of two of one millisecond the greater id counts as newer. */
export function sortNewestFirst(snapshots: readonly SnapshotFacts[]): SnapshotFacts[] {
  return snapshots.toSorted(
    (a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.snapshot < b.snapshot ? 1 : -1),
  );
}

/** The good backups of `snapshots` that a restore would take: none that is ignored, none from the future. Newest first. */
export function usableBackups(snapshots: readonly SnapshotFacts[], now: Date): SnapshotFacts[] {
  return sortNewestFirst(snapshots).filter((facts) => facts.purpose === 'backup' && isUsable(facts, now));
}

/** Good, not ignored, and not from the future: it may stand for others. */
export function isUsable(facts: SnapshotFacts, now: Date): boolean {
  return facts.isGood && !facts.isIgnored && !isFromFuture(facts, now);
}

/** More than ten minutes ahead of `now`: made by a wrong clock. Less is the usual skew of two machines. */
export function isFromFuture({ createdAt }: SnapshotFacts, now: Date): boolean {
  return createdAt.getTime() > now.getTime() + MAX_AHEAD_MS;
}

/** When a safety snapshot is no longer kept for being one. */
export function safetyUntil({ createdAt }: Pick<SnapshotFacts, 'createdAt'>, policy: RetentionPolicy): Date {
  return new Date(createdAt.getTime() + policy.keepSafetyMs);
}
