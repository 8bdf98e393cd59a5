import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RetentionPolicy, SnapshotFacts } from '../../../src/retention/facts.ts';
import { extendLocks, type LockLimits, lockUntil } from '../../../src/retention/lock-until.ts';
import { decide } from '../../../src/retention/policy.ts';
import { DAY, fact, HOUR, NOTHING, policies, seriesOf } from './series.ts';

const LIMITS: LockLimits = { slackMs: 2 * HOUR, maxMs: 10 * 366 * DAY };
const AT = '2026-11-22T06:00Z';

function locked(
  policy: Partial<RetentionPolicy>,
  existing: readonly SnapshotFacts[] = [],
  { at = AT, limits = LIMITS, purpose = 'backup' as SnapshotFacts['purpose'] } = {},
): string {
  const upload = { ...fact(at), purpose };
  return lockUntil(upload, existing, { ...NOTHING, ...policy }, new Date(at), limits)
    .toISOString()
    .slice(0, 16);
}

function extended(
  snapshots: readonly SnapshotFacts[],
  policy: Partial<RetentionPolicy>,
  now: string,
  limits = LIMITS,
): Record<string, string> {
  const full = { ...NOTHING, ...policy };
  const decisions = decide(snapshots, full, new Date(now), { lastRunFailed: false });
  const times = new Map(snapshots.map(({ snapshot, createdAt }) => [snapshot, createdAt.toISOString().slice(0, 16)]));
  return Object.fromEntries(
    extendLocks(decisions, snapshots, full, new Date(now), limits).map(({ snapshot, until }) => [
      times.get(snapshot) ?? '',
      until.toISOString().slice(0, 16),
    ]),
  ) as Record<string, string>;
}

describe('a snapshot that is uploaded now', () => {
  const midnight = fact('2026-11-22T00:00Z');
  it.each<[string, Partial<RetentionPolicy>, SnapshotFacts[], string]>([
    ['the first of its day, of seven', { keepDaily: 7 }, [], '2026-11-29T02:00'],
    ['not the first of its day', { keepDaily: 7 }, [midnight], '2026-11-22T08:00'],
    ['the first after one that was refused', { keepDaily: 7 }, [{ ...midnight, isGood: false }], '2026-11-29T02:00'],
    ['the first after one that is ignored', { keepDaily: 7 }, [{ ...midnight, isIgnored: true }], '2026-11-29T02:00'],
    ['the first after a safety snapshot', { keepDaily: 7 }, [{ ...midnight, purpose: 'safety' }], '2026-11-29T02:00'],
    ['the first of its hour only', { keepHourly: 24, keepDaily: 7 }, [midnight], '2026-11-23T08:00'],
    ['the first of its day and year', { keepDaily: 7, keepYearly: 5 }, [], '2031-01-01T02:00'],
    [
      'the first of its day, not of its year',
      { keepDaily: 7, keepYearly: 5 },
      [fact('2026-11-01T00:00Z')],
      '2026-11-29T02:00',
    ],
    ['the first of its week', { keepWeekly: 4 }, [fact('2026-11-15T00:00Z')], '2026-12-14T02:00'],
    ['the first of its month', { keepMonthly: 12 }, [fact('2026-10-15T00:00Z')], '2027-11-01T02:00'],
    ['kept for its age', { keepWithinMs: 10 * DAY }, [midnight], '2026-12-02T08:00'],
    [
      'one of the last, each a day apart',
      { keepLast: 5 },
      [fact('2026-11-21T06:00Z'), fact('2026-11-20T06:00Z')],
      '2026-11-27T08:00',
    ],
    ['one of the last, of an unknown schedule', { keepLast: 5 }, [], '2026-11-22T08:00'],
    ['the last, after a year without any', { keepLast: 1 }, [fact('2025-11-21T06:00Z')], '2026-11-22T08:00'],
    [
      'one of the last, further back thinned out',
      { keepLast: 3 },
      ['2026-11-22T05:00Z', '2026-11-22T04:00Z', '2026-01-01T00:00Z'].map((at) => fact(at)),
      '2026-11-22T11:00',
    ],
  ])('and is %s', (_what, policy, existing, until) => {
    expect(locked(policy, existing)).toBe(until);
  });

  it('has its days in the zone of the policy', () => {
    expect(locked({ keepDaily: 7, timeZone: 'America/New_York' })).toBe('2026-11-29T07:00');
    // 06:00 in Berlin, on the day on which the clock goes back.
    expect(locked({ keepDaily: 1, timeZone: 'Europe/Berlin' }, [], { at: '2026-10-25T00:10Z' })).toBe(
      '2026-10-26T01:00',
    );
  });

  it('is a safety snapshot', () => {
    expect(locked({ keepYearly: 5 }, [], { purpose: 'safety' })).toBe('2026-12-22T08:00');
  });

  it('is never locked for longer than the cap, slack included', () => {
    expect(locked({ keepYearly: 5 }, [], { limits: { slackMs: 2 * HOUR, maxMs: 30 * DAY } })).toBe('2026-12-22T06:00');
    expect(locked({ keepYearly: 5 }, [], { limits: { slackMs: 2 * HOUR, maxMs: HOUR } })).toBe('2026-11-22T07:00');
    expect(locked({ keepYearly: 100_000 })).toBe('2036-11-29T06:00');
  });

  it('is the same after a second attempt that finds what the first one left', () => {
    const upload = fact(AT);
    const policy = { ...NOTHING, keepDaily: 7 };
    const [first, second] = [[], [upload]].map((existing) => lockUntil(upload, existing, policy, new Date(AT), LIMITS));
    expect(second).toEqual(first);
  });

  it('gives way to a policy that keeps nothing', () => {
    expect(() => locked({})).toThrow(expect.objectContaining({ code: 'E_CONFIG_INVALID' }));
  });
});

describe('a lock that is there', () => {
  const day = (n: number, change: Partial<SnapshotFacts> = {}): SnapshotFacts =>
    fact(new Date(Date.UTC(2026, 10, n)), { lockedUntil: new Date(Date.UTC(2026, 10, n + 7, 2)), ...change });
  const week = [day(16), day(17), day(18), day(19), day(20), day(21), day(22)];

  it('is long enough where nothing changed', () => {
    expect(extended(week, { keepDaily: 7 }, '2026-11-22T06:00Z')).toEqual({});
  });

  it('is extended where the policy grew, and by no more than it grew', () => {
    expect(extended(week.slice(5), { keepDaily: 9 }, '2026-11-22T06:00Z')).toEqual({
      '2026-11-21T00:00': '2026-11-30T02:00',
      '2026-11-22T00:00': '2026-12-01T02:00',
    });
  });

  it('is extended where days without a snapshot make it last longer', () => {
    // Nothing came on the 21st and 22nd, and the 23rd has none so far: four more days may come before the 20th goes.
    const gap = [day(17), day(18), day(19), day(20)];
    expect(extended(gap, { keepDaily: 4 }, '2026-11-23T06:00Z')).toEqual({});
    expect(extended(gap, { keepDaily: 7 }, '2026-11-23T06:00Z')).toEqual({
      '2026-11-17T00:00': '2026-11-26T02:00',
      '2026-11-18T00:00': '2026-11-27T02:00',
      '2026-11-19T00:00': '2026-11-28T02:00',
      '2026-11-20T00:00': '2026-11-29T02:00',
    });
  });

  it('is extended where its snapshot took the place of one found bad', () => {
    const lock = { lockedUntil: new Date('2026-11-22T03:00Z') };
    const second = fact('2026-11-22T01:00Z', lock);
    expect(extended([day(22), second], { keepDaily: 7 }, '2026-11-22T06:00Z')).toEqual({});
    expect(extended([day(22, { isIgnored: true }), second], { keepDaily: 7 }, '2026-11-22T06:00Z')).toEqual({
      '2026-11-22T01:00': '2026-11-29T02:00',
    });
  });

  it('is extended by the slack, again and again, where backups have stopped', () => {
    expect(extended([day(1)], { keepDaily: 1 }, '2026-12-24T06:00Z')).toEqual({
      '2026-11-01T00:00': '2026-12-24T08:00',
    });
  });

  it.each<[string, SnapshotFacts]>([
    ['no rule keeps', day(1)],
    ['is held, and kept by no rule', day(1, { hold: { who: 'ana', why: 'audit', until: null } })],
    ['is ignored', fact('2026-11-22T00:00Z', { isIgnored: true, lockedUntil: new Date(AT) })],
    ['is refused', fact('2026-11-22T00:00Z', { isGood: false, lockedUntil: new Date(AT) })],
    ['is a safety snapshot past its time', fact('2026-10-01T00:00Z', { purpose: 'safety', lockedUntil: new Date(AT) })],
    ['has no lock', fact('2026-11-22T01:00Z')],
  ])('is left alone for what %s', (_what, facts) => {
    const newest = fact('2026-11-22T05:00Z', { lockedUntil: new Date('2027-01-01T00:00Z') });
    const others = facts.createdAt > new Date('2026-11-22T00:30Z') ? [newest] : [newest, fact('2026-11-22T00:00Z')];
    expect(extended([...others, facts], { keepDaily: 1, keepWithinMs: DAY }, AT)).toEqual({});
  });

  it('of a safety snapshot follows keepSafety', () => {
    const safety = fact('2026-11-22T00:00Z', { purpose: 'safety', lockedUntil: new Date('2026-11-23T00:00Z') });
    expect(extended([safety], { keepDaily: 1 }, AT)).toEqual({ '2026-11-22T00:00': '2026-12-22T02:00' });
  });

  it('is extended up to the cap', () => {
    const limits = { slackMs: 2 * HOUR, maxMs: 10 * DAY };
    expect(extended([day(22)], { keepYearly: 5 }, AT, limits)).toEqual({ '2026-11-22T00:00': '2026-12-02T06:00' });
  });
});

/** Backups, locks, extensions and removals in the order in which they happen, at every backup. */
function live(
  series: readonly SnapshotFacts[],
  policy: RetentionPolicy,
  limits: LockLimits,
  onStep: (left: SnapshotFacts[], now: Date) => void,
) {
  let left: SnapshotFacts[] = [];
  for (const upload of series) {
    const now = upload.createdAt;
    left.push({ ...upload, lockedUntil: lockUntil(upload, left, policy, now, limits) });
    const decisions = decide(left, policy, now, { lastRunFailed: false });
    const longer = new Map(
      extendLocks(decisions, left, policy, now, limits).map(({ snapshot, until }) => [snapshot, until]),
    );
    const gone = new Set(decisions.filter(({ action }) => action === 'remove').map(({ snapshot }) => snapshot));
    left = left
      .filter(({ snapshot }) => !gone.has(snapshot))
      .map((facts) => ({ ...facts, lockedUntil: longer.get(facts.snapshot) ?? facts.lockedUntil }));
    onStep(left, now);
  }
}

describe('over a life of uploads and removals', () => {
  // How long the last few are kept is a guess from the schedule: the rest is not.
  const dated = policies.map((policy) => ({ ...policy, keepLast: 0, keepDaily: Math.max(1, policy.keepDaily) }));
  const limits = fc.record({ slackMs: fc.integer({ min: 1, max: DAY }), maxMs: fc.constantFrom(20 * DAY, 5000 * DAY) });
  const clean = seriesOf(40).map(({ snapshots }) =>
    snapshots
      .map(({ createdAt, verifiedAt }) => fact(createdAt, { verifiedAt }))
      .toSorted((a, b) => a.createdAt.getTime() - b.createdAt.getTime()),
  );

  it('no lock outlives its snapshot by more than the slack, nor the cap; none ends while its generation goes on', () => {
    fc.assert(
      fc.property(clean, dated, limits, (series, policy, bounds) => {
        live(series, policy, bounds, (left, now) => {
          const locks = new Map(left.map(({ snapshot, lockedUntil }) => [snapshot, lockedUntil?.getTime() ?? 0]));
          const wrong = decide(left, policy, now, { lastRunFailed: false }).filter(
            ({ snapshot, action, generations }) => {
              const ahead = (locks.get(snapshot) ?? 0) - now.getTime();
              const isStuck = action === 'defer' && ahead > bounds.slackMs;
              return ahead > bounds.maxMs || isStuck || (generations.length > 0 && ahead < 0);
            },
          );
          expect(wrong).toEqual([]);
        });
      }),
      { numRuns: 50 },
    );
  });

  it('extending twice extends once', () => {
    fc.assert(
      fc.property(clean, policies, limits, (series, policy, bounds) => {
        // The last few are asked for their schedule, and removals must not make it look slower.
        live(series, policy, bounds, (left, now) => {
          const decisions = decide(left, policy, now, { lastRunFailed: false });
          expect(extendLocks(decisions, left, policy, now, bounds)).toEqual([]);
        });
      }),
      { numRuns: 50 },
    );
  });

  it('a schedule without gaps never needs an extension', () => {
    const bounds = { slackMs: HOUR, maxMs: 5000 * DAY };
    const regular = Array.from({ length: 24 * 25 }, (_, n) => fact(new Date(Date.UTC(2026, 9, 12) + n * HOUR)));
    const policy = {
      ...NOTHING,
      keepHourly: 24,
      keepDaily: 7,
      keepWeekly: 4,
      keepMonthly: 3,
      timeZone: 'Europe/Berlin',
    };
    let left: SnapshotFacts[] = [];
    for (const upload of regular) {
      const now = upload.createdAt;
      left.push({ ...upload, lockedUntil: lockUntil(upload, left, policy, now, bounds) });
      const decisions = decide(left, policy, now, { lastRunFailed: false });
      expect(extendLocks(decisions, left, policy, now, bounds)).toEqual([]);
      const gone = new Set(decisions.filter(({ action }) => action === 'remove').map(({ snapshot }) => snapshot));
      left = left.filter(({ snapshot }) => !gone.has(snapshot));
    }
    expect(left.length).toBeLessThan(24 + 7 + 4 + 3 + 3);
  });
});
