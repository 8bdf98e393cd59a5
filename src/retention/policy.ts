/** What a retention policy makes of the snapshots of one cluster in one destination: keep, remove or wait, and why. */
import type { SnapshotId } from '../core/ids.ts';
import { formatDuration } from '../core/units.ts';
import {
  checkFacts,
  checkPolicy,
  isFromFuture,
  isUsable,
  type RetentionPolicy,
  type SnapshotFacts,
  safetyUntil,
  sortNewestFirst,
  usableBackups,
} from './facts.ts';
import { describeGeneration, type Generation, generationsOf } from './keepers.ts';

export type Decision = {
  snapshot: SnapshotId;
  /** `defer` = to be removed, and an object lock forbids it until `deferUntil` */
  action: 'keep' | 'remove' | 'defer';
  /** in words, at least one */
  reasons: string[];
  generations: Generation[];
  deferUntil: Date | null;
};

/**
 * One decision for each of `snapshots`, newest first, whatever their order. Pure: decided again after the removals, the
 * rest gets the same answers.
 *
 * Never removed: what is held, the newest good one, the newest verified, the newest drilled, `minVerified` verified ones,
 * and what is from the future. Nothing is removed after a failed run, and nothing that has no verified good backup newer
 * than itself. What is not good or ignored holds no place in any generation and stands for nobody else. A manifest may
 * also be refused because a key is missing from `signing.trusted`: such a snapshot is not removed sooner than a good one
 * in its place, or one slip in the config would empty the bucket.
 *
 * Throws E_CONFIG_INVALID for a policy that would keep nothing, E_BUG for facts that make no sense.
 */
export function decide(
  snapshots: readonly SnapshotFacts[],
  policy: RetentionPolicy,
  now: Date,
  { lastRunFailed }: { lastRunFailed: boolean },
): Decision[] {
  checkPolicy(policy);
  checkFacts(snapshots, now);
  const newestFirst = sortNewestFirst(snapshots);
  const usable = usableBackups(newestFirst, now);
  const generations = generationsOf(usable, policy);
  const minimum = minimumOf(usable, policy);
  const newestVerified = usable.find(({ verifiedAt }) => verifiedAt !== null);
  const refused = newestFirst.filter((facts) => !facts.isGood && !facts.isIgnored);
  // Only what a missing key may have spoilt is looked at as if it were good; it must not take the place of a good one.
  const wereGood = refused.length === 0 ? generations : generationsOf(asIfGood(newestFirst, now), policy);

  return newestFirst.map((facts): Decision => {
    const { snapshot, createdAt, lockedUntil } = facts;
    const own = generations.get(snapshot) ?? [];
    const keep = (reasons: string[]): Decision => {
      return { snapshot, action: 'keep', reasons, generations: own, deferUntil: null };
    };
    const reasons = [
      ...(isUsable(facts, now) ? rulesFor(facts, own, usable[0], policy, now) : []),
      ...(minimum.get(snapshot) ?? []),
      ...(isHeld(facts, now) ? [describeHold(facts)] : []),
      ...(isFromFuture(facts, now) ? [`from the future (${iso(createdAt)}): a clock is wrong`] : []),
    ];
    if (reasons.length > 0) return keep(reasons);
    if (!facts.isGood && !facts.isIgnored) {
      const rules = rulesFor(facts, wereGood.get(snapshot) ?? [], usable[0], policy, now);
      if (rules.length > 0) return keep(rules.map((rule) => `${faultOf(facts)}; if it were good: ${rule}`));
    }
    const isLeftBehind = newestVerified !== undefined && newestVerified.createdAt > createdAt;
    const blocks = [
      ...(lastRunFailed ? ['after a failed run'] : []),
      ...(isLeftBehind ? [] : ['without a newer verified copy']),
    ];
    if (blocks.length > 0) return keep(blocks);
    const why = whyRemoved(facts);
    if (lockedUntil !== null && lockedUntil > now) {
      const wait = `locked until ${iso(lockedUntil)}: removed then`;
      return { snapshot, action: 'defer', reasons: [why, wait], generations: [], deferUntil: lockedUntil };
    }
    return { snapshot, action: 'remove', reasons: [why], generations: [], deferUntil: null };
  });
}

function asIfGood(newestFirst: readonly SnapshotFacts[], now: Date): SnapshotFacts[] {
  return newestFirst.filter((facts) => facts.purpose === 'backup' && isUsable({ ...facts, isGood: true }, now));
}

function isHeld({ hold }: SnapshotFacts, now: Date): boolean {
  return hold !== null && (hold.until === null || hold.until > now);
}

/** The rules of the policy that keep it; `newest` = the newest good backup. */
function rulesFor(
  facts: SnapshotFacts,
  generations: readonly Generation[],
  newest: SnapshotFacts | undefined,
  policy: RetentionPolicy,
  now: Date,
): string[] {
  if (facts.purpose === 'safety') {
    const until = safetyUntil(facts, policy);
    return until > now ? [`safety snapshot, kept until ${iso(until)}`] : [];
  }
  const within = policy.keepWithinMs;
  return [
    ...generations.map(describeGeneration),
    ...(within !== null && newest !== undefined && isWithin(facts, newest, within)
      ? [`within ${formatDuration(within)} of the newest good one`]
      : []),
  ];
}

// Counted from the newest good one and not from now: where backups have stopped, nothing may age away.
function isWithin({ createdAt }: SnapshotFacts, newest: SnapshotFacts, withinMs: number): boolean {
  return createdAt.getTime() >= newest.createdAt.getTime() - withinMs;
}

/** What no policy removes, with the words for it. */
function minimumOf(usable: readonly SnapshotFacts[], policy: RetentionPolicy): Map<SnapshotId, string[]> {
  const reasons = new Map<SnapshotId, string[]>();
  const add = (facts: SnapshotFacts | undefined, words: string): void => {
    if (facts !== undefined) reasons.set(facts.snapshot, [...(reasons.get(facts.snapshot) ?? []), words]);
  };
  const verified = usable.filter(({ verifiedAt }) => verifiedAt !== null);
  add(usable[0], 'the newest good one');
  add(verified[0], 'the newest verified one');
  add(
    usable.find(({ drilledAt }) => drilledAt !== null),
    'the newest drilled one',
  );
  for (const [index, facts] of verified.slice(0, policy.minVerified).entries()) {
    if (index > 0) add(facts, `verified (${index + 1} of at least ${policy.minVerified})`);
  }
  return reasons;
}

function describeHold({ hold }: SnapshotFacts): string {
  if (hold === null) return '';
  return `held by ${hold.who}${hold.until === null ? '' : ` until ${iso(hold.until)}`}: ${hold.why}`;
}

function whyRemoved(facts: SnapshotFacts): string {
  if (facts.isIgnored) return 'marked to be ignored for restore';
  if (!facts.isGood) return `${faultOf(facts)}, and no rule would keep it`;
  return facts.purpose === 'safety' ? 'safety snapshot past its time' : 'no rule keeps it';
}

function faultOf({ fault }: SnapshotFacts): string {
  return fault ?? 'manifest refused';
}

/** `2026-11-21T13:00:00Z`: to the second, as people read it. */
function iso(date: Date): string {
  return date.toISOString().replace(/\.\d{3}Z$/, 'Z');
}
