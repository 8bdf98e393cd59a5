/**
 * Until when an object lock has to hold: the lock follows the generation. A lock that is too short is extended later,
 * one that is too long cannot be taken back: so it is the earliest end that counts, and a guess is a low one.
 */
import type { SnapshotId } from '../core/ids.ts';
import {
  checkFacts,
  checkPolicy,
  isUsable,
  type RetentionPolicy,
  type SnapshotFacts,
  safetyUntil,
  usableBackups,
} from './facts.ts';
import { PERIOD_KINDS, type PeriodKind, periodStart, periodsOf } from './generations.ts';
import { type Generation, generationsOf } from './keepers.ts';
import type { Decision } from './policy.ts';

export type LockLimits = {
  /** how much longer than the policy a lock holds, in milliseconds: time for the next run to extend it */
  slackMs: number;
  /** no lock ends later than this from now, in milliseconds, slack included */
  maxMs: number;
};

/** A snapshot whose objects are about to be locked. */
export type Upload = Pick<SnapshotFacts, 'snapshot' | 'createdAt' | 'purpose'>;

/**
 * Until when the objects of `upload` have to be locked, given what its destination holds already: the earliest time at
 * which the policy could let go of the last of its generations, and slack. With `keepDaily: 7` the first snapshot of a day
 * is locked until its day is the eighth; the ones behind it hold no generation and get the slack only.
 *
 * Throws as decide().
 */
export function lockUntil(
  upload: Upload,
  existing: readonly SnapshotFacts[],
  policy: RetentionPolicy,
  now: Date,
  limits: LockLimits,
): Date {
  checkPolicy(policy);
  const facts: SnapshotFacts = {
    ...upload,
    isGood: true,
    verifiedAt: null,
    drilledAt: null,
    hold: null,
    lockedUntil: null,
    bytes: 0,
    isIgnored: false,
  };
  // A second attempt finds what the first one left.
  const all = [...existing.filter(({ snapshot }) => snapshot !== upload.snapshot), facts];
  checkFacts(all, now);
  const series = seriesOf(all, policy, now);
  const generations = generationsOf(series.usable, policy).get(upload.snapshot) ?? [];
  const release = earliestRelease(facts, generations, series);
  return new Date(capped(release ?? now, now, limits) + limits.slackMs);
}

/**
 * The locks that end before the policy could let go of their snapshot, each with its new end: the policy grew, periods
 * without a snapshot made it last longer, or it took the place of one that was found bad. Asks for nothing where the lock
 * holds long enough, so a second call after the first was carried out is empty. A snapshot without any lock gets none.
 *
 * `decisions` are those of decide() for `existing` with the same policy and time. Throws as decide().
 */
export function extendLocks(
  decisions: readonly Decision[],
  existing: readonly SnapshotFacts[],
  policy: RetentionPolicy,
  now: Date,
  limits: LockLimits,
): { snapshot: SnapshotId; until: Date }[] {
  checkPolicy(policy);
  checkFacts(existing, now);
  const series = seriesOf(existing, policy, now);
  const decided = new Map(decisions.map((decision) => [decision.snapshot, decision]));
  return existing.flatMap((facts) => {
    const decision = decided.get(facts.snapshot);
    if (decision?.action !== 'keep' || facts.lockedUntil === null || !isUsable(facts, now)) return [];
    const release = earliestRelease(facts, decision.generations, series);
    if (release === null) return [];
    const until = capped(release, now, limits);
    // The slack is also what keeps a few seconds of jitter from extending every lock at every run.
    if (facts.lockedUntil.getTime() >= until) return [];
    return [{ snapshot: facts.snapshot, until: new Date(until + limits.slackMs) }];
  });
}

type Series = {
  /** newest first */
  usable: readonly SnapshotFacts[];
  policy: RetentionPolicy;
  now: Date;
  /** the kinds whose newest snapshot is of the period that is now */
  current: ReadonlySet<PeriodKind>;
};

function seriesOf(snapshots: readonly SnapshotFacts[], policy: RetentionPolicy, now: Date): Series {
  const usable = usableBackups(snapshots, now);
  const newest = usable[0]?.createdAt ?? now;
  const [last, today] = [newest, now].map((at) => periodsOf(at, policy.timeZone));
  const current = PERIOD_KINDS.filter((kind) => newest >= now || last?.[kind] === today?.[kind]);
  return { usable, policy, now, current: new Set(current) };
}

/** Milliseconds; the end of a lock without its slack. What is due already is kept until the next run at least. */
function capped(release: Date, now: Date, { slackMs, maxMs }: LockLimits): number {
  return Math.min(Math.max(release.getTime(), now.getTime()), now.getTime() + maxMs - slackMs);
}

/** The earliest time at which no rule of the policy keeps it any more; null = none does now. */
function earliestRelease(facts: SnapshotFacts, generations: readonly Generation[], series: Series): Date | null {
  const { usable, policy, now } = series;
  if (facts.purpose === 'safety') {
    const until = safetyUntil(facts, policy);
    return until > now ? until : null;
  }
  const newest = usable[0];
  if (newest === undefined) return null;
  const ends = generations.map((generation) => releaseOf(generation, newest, series).getTime());
  const withinEnd = facts.createdAt.getTime() + (policy.keepWithinMs ?? 0);
  if (policy.keepWithinMs !== null && withinEnd >= newest.createdAt.getTime()) ends.push(withinEnd);
  return ends.length === 0 ? null : new Date(Math.max(...ends));
}

/** When so many more snapshots or periods can have come that this place in the generation is the last one no more. */
function releaseOf(generation: Generation, newest: SnapshotFacts, series: Series): Date {
  const { usable, policy, now, current } = series;
  const places = generation.of - generation.rank + 1;
  if (generation.kind === 'last') {
    return new Date(newest.createdAt.getTime() + places * usualIntervalMs(usable, generation.of));
  }
  const { kind } = generation;
  // Where the newest one is of an earlier period, this period itself is the first that may still come.
  return current.has(kind)
    ? periodStart(kind, newest.createdAt, places, policy.timeZone)
    : periodStart(kind, now, places - 1, policy.timeZone);
}

/**
 * The median time between the newest `count`, in milliseconds; 0 with fewer than two. Only they are sure to be whole:
 * further back snapshots are thinned out, and a year between two of them would be taken for the schedule.
 */
function usualIntervalMs(usable: readonly SnapshotFacts[], count: number): number {
  const times = usable.slice(0, count).map(({ createdAt }) => createdAt.getTime());
  const gaps = times.slice(1).map((time, index) => (times[index] ?? time) - time);
  return gaps.toSorted((a, b) => a - b)[(gaps.length - 1) >> 1] ?? 0;
}
