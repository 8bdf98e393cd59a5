import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SnapshotId } from '../../../src/core/ids.ts';
import { isFromFuture, type RetentionPolicy, type SnapshotFacts } from '../../../src/retention/facts.ts';
import { periodsOf } from '../../../src/retention/generations.ts';
import type { Generation } from '../../../src/retention/keepers.ts';
import { type Decision, decide } from '../../../src/retention/policy.ts';
import { DAY, fact, HOUR, policies, seriesOf } from './series.ts';

const AFTER_SUCCESS = { lastRunFailed: false };

/** What is left after the removals, oldest first or in whatever order they were. */
function carryOut(snapshots: readonly SnapshotFacts[], policy: RetentionPolicy, now: Date): SnapshotFacts[] {
  const gone = new Set(
    decide(snapshots, policy, now, AFTER_SUCCESS)
      .filter(({ action }) => action === 'remove')
      .map(({ snapshot }) => snapshot),
  );
  return snapshots.filter(({ snapshot }) => !gone.has(snapshot));
}

function usable(snapshots: readonly SnapshotFacts[], now: Date): SnapshotFacts[] {
  return snapshots.filter(
    (facts) => facts.isGood && !facts.isIgnored && facts.purpose === 'backup' && !isFromFuture(facts, now),
  );
}

const newest = (snapshots: readonly SnapshotFacts[]): number =>
  Math.max(...snapshots.map(({ createdAt }) => createdAt.getTime()));
const isVerified = ({ verifiedAt }: SnapshotFacts): boolean => verifiedAt !== null;
const generationsIn = (decisions: readonly Decision[]): Map<SnapshotId, Generation[]> =>
  new Map(decisions.filter((d) => d.generations.length > 0).map((d) => [d.snapshot, d.generations]));
const isOfKind =
  (kind: string) =>
  (generation: Generation): boolean =>
    generation.kind === kind;

const scenes = fc.tuple(seriesOf(200), policies);

describe('a new snapshot', () => {
  it('takes no place but the last one, and only in a generation that it is the keeper of itself', () => {
    fc.assert(
      fc.property(
        scenes,
        fc.integer({ min: 1, max: 3 * DAY }),
        fc.boolean(),
        ([{ snapshots, now }, policy], ms, isGood) => {
          const added = fact(new Date(Math.max(now.getTime(), newest(usable(snapshots, now))) + ms), { isGood });
          const then = new Date(added.createdAt);
          // Only the snapshot makes the difference, and not the time that has passed.
          const before = decide(snapshots, policy, then, AFTER_SUCCESS);
          const after = decide([...snapshots, added], policy, then, AFTER_SUCCESS);
          const later = new Map(after.map((decision) => [decision.snapshot, decision]));
          const own = later.get(added.snapshot)?.generations ?? [];
          if (!isGood) expect(own).toEqual([]);
          for (const { snapshot, generations } of before) {
            const kept = later.get(snapshot);
            const lost = generations.filter(({ kind }) => !kept?.generations.some(isOfKind(kind)));
            for (const { kind, rank, of } of lost) {
              expect(rank).toBe(of);
              expect(own.some(isOfKind(kind))).toBe(true);
            }
            if (lost.length < generations.length) expect(kept?.action).toBe('keep');
          }
        },
      ),
    );
  });

  it('in a period that has one changes nothing for that period, however often', () => {
    fc.assert(
      fc.property(scenes, fc.integer({ min: 1, max: 30 }), ([{ snapshots, now }, policy], more) => {
        const last = newest(usable(snapshots, now));
        if (!Number.isFinite(last)) return;
        const dated = { ...policy, keepLast: 0, keepWithinMs: null, keepYearly: 1 };
        const then = new Date(Math.max(now.getTime(), last + HOUR));
        const hour = periodsOf(new Date(last), policy.timeZone).hourly;
        const added = Array.from({ length: more }, (_, n) => fact(new Date(last + n + 1))).filter(
          ({ createdAt }) => periodsOf(createdAt, policy.timeZone).hourly === hour,
        );
        expect(generationsIn(decide([...snapshots, ...added], dated, then, AFTER_SUCCESS))).toEqual(
          generationsIn(decide(snapshots, dated, then, AFTER_SUCCESS)),
        );
      }),
    );
  });
});

it('what is kept does not depend on how often somebody pruned', () => {
  fc.assert(
    fc.property(fc.tuple(seriesOf(80), policies), ([{ snapshots, now }, policy]) => {
      const past = snapshots
        .filter((facts) => !isFromFuture(facts, now))
        .toSorted((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
      let left: SnapshotFacts[] = [];
      for (const facts of past) left = carryOut([...left, facts], policy, facts.createdAt);
      expect(generationsIn(decide(left, policy, now, AFTER_SUCCESS))).toEqual(
        generationsIn(decide(past, policy, now, AFTER_SUCCESS)),
      );
    }),
    { numRuns: 40 },
  );
});

it('the keepers are those that a plain count finds', () => {
  fc.assert(
    fc.property(scenes, ([{ snapshots, now }, policy]) => {
      const good = usable(snapshots, now).toSorted((a, b) => b.createdAt.getTime() - a.createdAt.getTime());
      const counts = {
        hourly: policy.keepHourly,
        daily: policy.keepDaily,
        weekly: policy.keepWeekly,
        monthly: policy.keepMonthly,
        yearly: policy.keepYearly,
      } as const;
      const decisions = decide(snapshots, policy, now, AFTER_SUCCESS);
      for (const kind of ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const) {
        const groups = Object.groupBy(good, ({ createdAt }) => periodsOf(createdAt, policy.timeZone)[kind]);
        const expected = Object.values(groups)
          .map((group = []) => Math.min(...group.map(({ createdAt }) => createdAt.getTime())))
          .toSorted((a, b) => b - a)
          .slice(0, counts[kind]);
        const found = decisions
          .filter(({ generations }) => generations.some(isOfKind(kind)))
          .map(({ snapshot }) => snapshots.find((facts) => facts.snapshot === snapshot)?.createdAt.getTime());
        expect(found).toEqual(expected);
      }
      expect(decisions.filter(({ generations }) => generations.some(isOfKind('last')))).toHaveLength(
        Math.min(policy.keepLast, good.length),
      );
    }),
  );
});

it('deciding again after the removals changes nothing', () => {
  fc.assert(
    fc.property(scenes, ([{ snapshots, now }, policy]) => {
      const decisions = decide(snapshots, policy, now, AFTER_SUCCESS);
      const again = decide(carryOut(snapshots, policy, now), policy, now, AFTER_SUCCESS);
      expect(again).toEqual(decisions.filter(({ action }) => action !== 'remove'));
    }),
  );
});

it('the order of the input changes nothing', () => {
  fc.assert(
    fc.property(
      scenes.chain(([{ snapshots, now }, policy]) =>
        fc.tuple(
          fc.constant({ snapshots, now, policy }),
          fc.shuffledSubarray(snapshots, { minLength: snapshots.length, maxLength: snapshots.length }),
        ),
      ),
      ([{ snapshots, now, policy }, shuffled]) => {
        expect(decide(shuffled, policy, now, AFTER_SUCCESS)).toEqual(decide(snapshots, policy, now, AFTER_SUCCESS));
      },
    ),
  );
});

/** Fails where `left` has not everything that no policy may take from `all`. */
function expectMinimum(
  all: readonly SnapshotFacts[],
  left: readonly SnapshotFacts[],
  policy: RetentionPolicy,
  now: Date,
) {
  const [good, goodLeft] = [usable(all, now), usable(left, now)];
  if (good.length === 0) return;
  expect(newest(goodLeft)).toBe(newest(good));
  expect(newest(goodLeft.filter(isVerified))).toBe(newest(good.filter(isVerified)));
  const isDrilled = ({ drilledAt }: SnapshotFacts): boolean => drilledAt !== null;
  expect(newest(goodLeft.filter(isDrilled))).toBe(newest(good.filter(isDrilled)));
  expect(goodLeft.filter(isVerified).length).toBeGreaterThanOrEqual(
    Math.min(policy.minVerified, good.filter(isVerified).length),
  );
}

it('there is always the newest good, the newest verified, the newest drilled one, and the minimum of verified ones', () => {
  fc.assert(
    fc.property(scenes, ([{ snapshots, now }, policy]) => {
      expectMinimum(snapshots, carryOut(snapshots, policy, now), policy, now);
    }),
  );
});

it('time alone takes away neither the minimum nor a generation', () => {
  const leaps = fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(scenes, leaps, ([{ snapshots, now }, policy], days) => {
      let left = snapshots.filter((facts) => !isFromFuture(facts, now));
      const before = generationsIn(decide(left, policy, now, AFTER_SUCCESS));
      let then = now;
      for (const leap of days) {
        then = new Date(then.getTime() + leap * DAY);
        const next = carryOut(left, policy, then);
        expectMinimum(left, next, policy, then);
        left = next;
      }
      expect(generationsIn(decide(left, policy, then, AFTER_SUCCESS))).toEqual(before);
    }),
  );
});

describe('what is removed', () => {
  it('has no reason to be kept', () => {
    fc.assert(
      fc.property(scenes, ([{ snapshots, now }, policy]) => {
        const decisions = new Map(decide(snapshots, policy, now, AFTER_SUCCESS).map((d) => [d.snapshot, d]));
        const good = usable(snapshots, now);
        for (const facts of snapshots) {
          const decision = decisions.get(facts.snapshot);
          expect(decision?.reasons.length).toBeGreaterThan(0);
          if (decision?.action === 'keep') continue;
          const { createdAt, hold, lockedUntil, purpose } = facts;
          expect(decision?.generations).toEqual([]);
          expect(hold === null || (hold.until !== null && hold.until <= now)).toBe(true);
          expect(isFromFuture(facts, now)).toBe(false);
          expect(newest(good.filter(isVerified))).toBeGreaterThan(createdAt.getTime());
          if (purpose === 'safety' && facts.isGood && !facts.isIgnored) {
            expect(now.getTime() - createdAt.getTime()).toBeGreaterThanOrEqual(policy.keepSafetyMs);
          }
          if (policy.keepWithinMs !== null && good.includes(facts)) {
            expect(newest(good) - createdAt.getTime()).toBeGreaterThan(policy.keepWithinMs);
          }
          const isLocked = lockedUntil !== null && lockedUntil > now;
          expect(decision).toMatchObject(
            isLocked ? { action: 'defer', deferUntil: lockedUntil } : { action: 'remove', deferUntil: null },
          );
        }
      }),
    );
  });

  it('is nothing after a failed run', () => {
    fc.assert(
      fc.property(scenes, ([{ snapshots, now }, policy]) => {
        const failed = decide(snapshots, policy, now, { lastRunFailed: true });
        expect(failed.every(({ action }) => action === 'keep')).toBe(true);
        const fine = decide(snapshots, policy, now, AFTER_SUCCESS);
        const silent = failed.filter(
          ({ reasons }, n) => fine[n]?.action !== 'keep' && !reasons.includes('after a failed run'),
        );
        expect(silent).toEqual([]);
      }),
    );
  });

  it('is no keeper of the series as it was before its manifests were refused, whichever they are', () => {
    const spoilt = fc.func(fc.boolean());
    fc.assert(
      fc.property(scenes, spoilt, ([{ snapshots, now }, policy], isSpoilt) => {
        const before = snapshots.map((facts) => ({ ...facts, isGood: true }));
        const after = before.map((facts, index) => ({ ...facts, isGood: !isSpoilt(index) }));
        const left = new Set(carryOut(after, policy, now).map(({ snapshot }) => snapshot));
        const keepers = generationsIn(decide(before, policy, now, AFTER_SUCCESS)).keys();
        expect([...keepers].filter((snapshot) => !left.has(snapshot))).toEqual([]);
      }),
    );
  });
});

it('a year of hourly snapshots keeps every promise too', () => {
  fc.assert(
    fc.property(seriesOf(366 * 24, HOUR), policies, ({ snapshots, now }, policy) => {
      const left = carryOut(snapshots, policy, now);
      expectMinimum(snapshots, left, policy, now);
      expect(carryOut(left, policy, now)).toEqual(left);
    }),
    { numRuns: 8 },
  );
});
