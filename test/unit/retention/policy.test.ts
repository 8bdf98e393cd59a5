import { describe, expect, it } from 'vitest';
import type { RetentionPolicy, SnapshotFacts } from '../../../src/retention/facts.ts';
import { decide } from '../../../src/retention/policy.ts';
import { cpuMsSince } from '../../support/cpu-time.ts';
import { DAY, fact, HOUR, NOTHING } from './series.ts';

const NOW = new Date('2026-11-22T12:30:00Z');

/** `at` a short time of a snapshot, to `action: reasons`. */
function plan(
  snapshots: readonly SnapshotFacts[],
  policy: Partial<RetentionPolicy>,
  { now = NOW, lastRunFailed = false } = {},
): Record<string, string> {
  const times = new Map(snapshots.map(({ snapshot, createdAt }) => [snapshot, createdAt.toISOString().slice(0, 16)]));
  return Object.fromEntries(
    decide(snapshots, { ...NOTHING, ...policy }, now, { lastRunFailed }).map(({ snapshot, action, reasons }) => [
      times.get(snapshot) ?? '',
      `${action}: ${reasons.join(', ')}`,
    ]),
  );
}

describe('generations', () => {
  it('keep the first snapshot of each of the last periods that have one', () => {
    const days = ['2026-11-22T06:00Z', '2026-11-22T00:00Z', '2026-11-20T18:00Z', '2026-11-20T06:00Z'];
    // 21 November has none: it does not count.
    const snapshots = [...days, '2026-11-19T06:00Z', '2026-11-18T06:00Z'].map((at) => fact(at));
    expect(plan(snapshots, { keepDaily: 3 })).toEqual({
      '2026-11-22T06:00': 'keep: the newest good one, the newest verified one',
      '2026-11-22T00:00': 'keep: daily 2026-11-22 (1 of 3)',
      '2026-11-20T18:00': 'remove: no rule keeps it',
      '2026-11-20T06:00': 'keep: daily 2026-11-20 (2 of 3)',
      '2026-11-19T06:00': 'keep: daily 2026-11-19 (3 of 3)',
      '2026-11-18T06:00': 'remove: no rule keeps it',
    });
  });

  it('come together in one snapshot, each with its reason', () => {
    const snapshots = [
      fact('2026-11-22T11:00Z'),
      fact('2026-11-22T10:59Z'),
      fact('2026-11-16T00:00Z'),
      fact('2026-01-01T00:00Z'),
    ];
    const policy = { keepLast: 1, keepHourly: 1, keepDaily: 2, keepWeekly: 1, keepMonthly: 1, keepYearly: 2 };
    expect(plan(snapshots, policy)).toEqual({
      '2026-11-22T11:00':
        'keep: last (1 of 1), hourly 2026-11-22T11:00Z (1 of 1), the newest good one, the newest verified one',
      '2026-11-22T10:59': 'keep: daily 2026-11-22 (1 of 2)',
      '2026-11-16T00:00': 'keep: daily 2026-11-16 (2 of 2), weekly 2026-W47 (1 of 1), monthly 2026-11 (1 of 1)',
      '2026-01-01T00:00': 'keep: yearly 2026 (1 of 2)',
    });
  });

  it('begin and end where the time zone says', () => {
    const snapshots = ['2026-11-21T23:30Z', '2026-11-21T22:30Z', '2026-11-20T23:30Z'].map((at) => fact(at));
    expect(plan(snapshots, { keepDaily: 2, timeZone: 'Europe/Berlin' })).toEqual({
      '2026-11-21T23:30': 'keep: daily 2026-11-22 (1 of 2), the newest good one, the newest verified one',
      '2026-11-21T22:30': 'remove: no rule keeps it',
      '2026-11-20T23:30': 'keep: daily 2026-11-21 (2 of 2)',
    });
  });

  it('keep both hours of an hour that happens twice', () => {
    const snapshots = ['2026-10-25T01:40Z', '2026-10-25T01:10Z', '2026-10-25T00:40Z', '2026-10-25T00:10Z'].map((at) =>
      fact(at),
    );
    expect(plan(snapshots, { keepHourly: 9, timeZone: 'Europe/Berlin' })).toEqual({
      '2026-10-25T01:40': 'keep: the newest good one, the newest verified one',
      '2026-10-25T01:10': 'keep: hourly 2026-10-25T02:00+01:00 (1 of 9)',
      '2026-10-25T00:40': 'remove: no rule keeps it',
      '2026-10-25T00:10': 'keep: hourly 2026-10-25T02:00+02:00 (2 of 9)',
    });
  });

  it('are not moved on by an hourly schedule: the keeper of the day is the one it was, locked or not', () => {
    const schedule = Array.from({ length: 48 }, (_, n) => new Date(Date.UTC(2026, 10, 20) + n * HOUR));
    let left: SnapshotFacts[] = [];
    const removed: string[] = [];
    for (const at of schedule) {
      left.push(fact(at));
      const decisions = decide(left, { ...NOTHING, keepDaily: 7 }, at, { lastRunFailed: false });
      const gone = new Set(decisions.filter(({ action }) => action === 'remove').map(({ snapshot }) => snapshot));
      removed.push(
        ...left.filter(({ snapshot }) => gone.has(snapshot)).map(({ createdAt }) => createdAt.toISOString()),
      );
      left = left.filter(({ snapshot }) => !gone.has(snapshot));
    }
    expect(removed).toHaveLength(45);
    expect(removed.filter((at) => at.endsWith('T00:00:00.000Z'))).toEqual([]);
    expect(left.map(({ createdAt }) => createdAt.toISOString().slice(0, 13))).toEqual([
      '2026-11-20T00',
      '2026-11-21T00',
      '2026-11-21T23',
    ]);
  });
});

describe('keepWithin', () => {
  it('counts from the newest good one, so that nothing ages away where backups have stopped', () => {
    const snapshots = ['2026-11-20T12:00Z', '2026-11-18T12:00Z', '2026-11-18T11:59Z'].map((at) => fact(at));
    const expected = {
      '2026-11-20T12:00': 'keep: within 2d of the newest good one, the newest good one, the newest verified one',
      '2026-11-18T12:00': 'keep: within 2d of the newest good one',
      '2026-11-18T11:59': 'remove: no rule keeps it',
    };
    expect(plan(snapshots, { keepWithinMs: 2 * DAY })).toEqual(expected);
    expect(plan(snapshots, { keepWithinMs: 2 * DAY }, { now: new Date('2029-01-01T00:00Z') })).toEqual(expected);
  });
});

describe('never removed', () => {
  const old = '2026-11-01T00:00Z';
  const newest = fact('2026-11-22T12:00Z');
  const in2027 = new Date('2027-01-01T00:00Z');
  it.each<[string, Partial<SnapshotFacts>, string]>([
    ['nothing special', {}, 'remove: no rule keeps it'],
    ['held for good', { hold: { who: 'ana', why: 'audit', until: null } }, 'keep: held by ana: audit'],
    [
      'held for a time',
      { hold: { who: 'ana', why: 'audit', until: in2027 } },
      'keep: held by ana until 2027-01-01T00:00:00Z: audit',
    ],
    ['held once', { hold: { who: 'ana', why: 'audit', until: NOW } }, 'remove: no rule keeps it'],
    ['drilled', { drilledAt: NOW }, 'keep: the newest drilled one'],
    ['locked', { lockedUntil: in2027 }, 'defer: no rule keeps it, locked until 2027-01-01T00:00:00Z: removed then'],
    ['locked until this moment', { lockedUntil: NOW }, 'remove: no rule keeps it'],
    [
      'held and locked',
      { lockedUntil: in2027, hold: { who: 'ana', why: 'audit', until: null } },
      'keep: held by ana: audit',
    ],
    ['a safety snapshot of 21 days', { purpose: 'safety' }, 'keep: safety snapshot, kept until 2026-12-01T00:00:00Z'],
    ['refused', { isGood: false }, 'remove: manifest refused, and no rule would keep it'],
    ['refused, held', { isGood: false, hold: { who: 'ana', why: 'audit', until: null } }, 'keep: held by ana: audit'],
    [
      'refused, drilled before',
      { isGood: false, drilledAt: NOW },
      'remove: manifest refused, and no rule would keep it',
    ],
    ['ignored', { isIgnored: true }, 'remove: marked to be ignored for restore'],
    [
      'ignored, locked',
      { isIgnored: true, isGood: false, lockedUntil: in2027 },
      'defer: marked to be ignored for restore, locked until 2027-01-01T00:00:00Z: removed then',
    ],
  ])('one that is %s: %s', (_what, change, expected) => {
    expect(plan([newest, fact(old, change)], { keepLast: 1 })['2026-11-01T00:00']).toBe(expected);
  });

  it('a safety snapshot past its time is removed, and one before it never counts as a backup', () => {
    const snapshots = [
      fact('2026-11-22T12:10Z', { purpose: 'safety' }),
      newest,
      fact('2026-10-01T00:00Z', { purpose: 'safety' }),
    ];
    expect(plan(snapshots, { keepLast: 1, keepYearly: 1 })).toEqual({
      '2026-11-22T12:10': 'keep: safety snapshot, kept until 2026-12-22T12:10:00Z',
      '2026-11-22T12:00': 'keep: last (1 of 1), yearly 2026 (1 of 1), the newest good one, the newest verified one',
      '2026-10-01T00:00': 'remove: safety snapshot past its time',
    });
  });

  it('so many verified ones as the minimum says', () => {
    const times = [
      '2026-11-22T12:00Z',
      '2026-11-22T11:00Z',
      '2026-11-22T10:00Z',
      '2026-11-22T09:00Z',
      '2026-11-22T08:00Z',
    ];
    const snapshots = times.map((at, index) => fact(at, index === 1 ? { verifiedAt: null } : {}));
    expect(plan(snapshots, { keepLast: 1, minVerified: 3 })).toEqual({
      '2026-11-22T12:00': 'keep: last (1 of 1), the newest good one, the newest verified one',
      '2026-11-22T11:00': 'remove: no rule keeps it',
      '2026-11-22T10:00': 'keep: verified (2 of at least 3)',
      '2026-11-22T09:00': 'keep: verified (3 of at least 3)',
      '2026-11-22T08:00': 'remove: no rule keeps it',
    });
  });

  it('the newest drilled one is the newest that was drilled, not the one drilled last', () => {
    const snapshots = [
      newest,
      fact('2026-11-03T00:00Z', { drilledAt: new Date('2026-11-04T00:00Z') }),
      fact('2026-11-02T00:00Z', { drilledAt: new Date('2026-11-20T00:00Z') }),
    ];
    expect(plan(snapshots, { keepLast: 1 })).toMatchObject({
      '2026-11-03T00:00': 'keep: the newest drilled one',
      '2026-11-02T00:00': 'remove: no rule keeps it',
    });
  });
});

describe('without a newer verified copy', () => {
  it('nothing goes: neither what is newer than the verified one, nor anything where there is none', () => {
    const times = ['2026-11-22T12:00Z', '2026-11-22T11:00Z', '2026-11-22T10:00Z', '2026-11-22T09:00Z'];
    const verified = (index: number | null): SnapshotFacts[] =>
      times.map((at, n) => fact(at, n === index ? {} : { verifiedAt: null }));
    expect(plan(verified(2), { keepLast: 1 })).toEqual({
      '2026-11-22T12:00': 'keep: last (1 of 1), the newest good one',
      '2026-11-22T11:00': 'keep: without a newer verified copy',
      '2026-11-22T10:00': 'keep: the newest verified one',
      '2026-11-22T09:00': 'remove: no rule keeps it',
    });
    expect(Object.values(plan(verified(null), { keepLast: 1 })).slice(1)).toEqual(
      Array(3).fill('keep: without a newer verified copy'),
    );
  });

  it.each<[string, Partial<SnapshotFacts>]>([
    ['is refused', { isGood: false }],
    ['is ignored', { isIgnored: true }],
    ['is a safety snapshot', { purpose: 'safety' }],
    ['is from the future', { createdAt: new Date('2026-11-22T12:40:01Z') }],
    ['is of the same moment', { createdAt: new Date('2026-11-22T09:00Z') }],
  ])('a verified one that %s does not count', (_what, change) => {
    const snapshots = [
      fact('2026-11-22T10:00Z', { verifiedAt: null }),
      fact('2026-11-22T09:00Z', { isIgnored: true }),
      fact('2026-11-22T11:00Z', change),
    ];
    expect(plan(snapshots, { keepLast: 1 })['2026-11-22T09:00']).toMatch(/^keep: /);
  });
});

it('after a failed run nothing goes', () => {
  const snapshots = [
    fact('2026-11-22T12:00Z'),
    fact('2026-11-22T11:00Z'),
    fact('2026-11-22T10:00Z', { isGood: false }),
  ];
  expect(plan(snapshots, { keepLast: 1 }, { lastRunFailed: true })).toEqual({
    '2026-11-22T12:00': 'keep: last (1 of 1), the newest good one, the newest verified one',
    '2026-11-22T11:00': 'keep: after a failed run',
    '2026-11-22T10:00': 'keep: after a failed run',
  });
});

describe('a refused manifest', () => {
  const refused = { isGood: false };

  it('holds no place, and is not removed sooner than a good one in its place', () => {
    const snapshots = [
      fact('2026-11-22T12:00Z'),
      fact('2026-11-22T11:00Z', refused),
      fact('2026-11-21T02:00Z'),
      fact('2026-11-21T01:00Z', refused),
      fact('2026-11-20T01:00Z', refused),
      fact('2026-11-19T01:00Z'),
      fact('2026-11-18T01:00Z', refused),
    ];
    expect(plan(snapshots, { keepDaily: 3 })).toEqual({
      '2026-11-22T12:00': 'keep: daily 2026-11-22 (1 of 3), the newest good one, the newest verified one',
      '2026-11-22T11:00': 'keep: manifest refused; if it were good: daily 2026-11-22 (1 of 3)',
      '2026-11-21T02:00': 'keep: daily 2026-11-21 (2 of 3)',
      '2026-11-21T01:00': 'keep: manifest refused; if it were good: daily 2026-11-21 (2 of 3)',
      '2026-11-20T01:00': 'keep: manifest refused; if it were good: daily 2026-11-20 (3 of 3)',
      '2026-11-19T01:00': 'keep: daily 2026-11-19 (3 of 3)',
      '2026-11-18T01:00': 'remove: manifest refused, and no rule would keep it',
    });
    const decision = decide(snapshots, { ...NOTHING, keepDaily: 3 }, NOW, { lastRunFailed: false })[1];
    expect(decision?.generations).toEqual([]);
  });

  it('everywhere but in the newest snapshot, as after a change of the signing key, empties nothing', () => {
    const schedule = Array.from({ length: 7 }, (_, n) => new Date(Date.UTC(2026, 10, 21 - n)));
    const snapshots = [fact('2026-11-22T12:00Z'), ...schedule.map((at) => fact(at, refused))];
    const answers = Object.values(plan(snapshots, { keepDaily: 7 }));
    expect(answers.filter((answer) => answer.startsWith('remove'))).toHaveLength(1);
    expect(answers.at(-1)).toMatch(/^remove/);
  });

  it('is kept where it is a safety snapshot within its time', () => {
    const snapshots = [fact('2026-11-22T12:00Z'), fact('2026-11-22T11:00Z', { ...refused, purpose: 'safety' })];
    expect(plan(snapshots, { keepLast: 1 })['2026-11-22T11:00']).toBe(
      'keep: manifest refused; if it were good: safety snapshot, kept until 2026-12-22T11:00:00Z',
    );
  });
});

describe('a snapshot from the future', () => {
  it('is kept, said, and takes no place', () => {
    const snapshots = [fact('2027-11-22T00:00Z'), fact('2026-11-22T12:39Z'), fact('2026-11-22T12:00Z')];
    expect(plan(snapshots, { keepLast: 1 })).toEqual({
      '2027-11-22T00:00': 'keep: from the future (2027-11-22T00:00:00Z): a clock is wrong',
      '2026-11-22T12:39': 'keep: last (1 of 1), the newest good one, the newest verified one',
      '2026-11-22T12:00': 'remove: no rule keeps it',
    });
  });
});

describe('what makes no sense', () => {
  it.each<[string, Partial<RetentionPolicy>, string]>([
    ['keeps nothing', {}, 'the retention policy keeps nothing'],
    ['keeps nothing but the minimum', { minVerified: 9, keepWithinMs: 0 }, 'the retention policy keeps nothing'],
    ['counts below zero', { keepDaily: 7, keepWeekly: -1 }, 'keepWeekly of the retention policy is not a count'],
    ['counts in halves', { keepDaily: 0.5 }, 'keepDaily of the retention policy is not a count'],
    ['counts without a number', { keepDaily: Number.NaN }, 'keepDaily of the retention policy is not a count'],
    ['has no end', { keepDaily: Number.POSITIVE_INFINITY }, 'keepDaily of the retention policy is not a count'],
    [
      'keeps for a negative time',
      { keepDaily: 7, keepWithinMs: -1 },
      'keepWithinMs of the retention policy is not a duration',
    ],
    [
      'keeps for no time',
      { keepDaily: 7, keepSafetyMs: Number.NaN },
      'keepSafetyMs of the retention policy is not a duration',
    ],
  ])('a policy that %s is refused', (_what, policy, message) => {
    expect(() => plan([fact('2026-11-22T12:00Z')], policy)).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_INVALID', message }),
    );
  });

  it('a zone that is none is refused', () => {
    expect(() => plan([fact('2026-11-22T12:00Z')], { keepDaily: 7, timeZone: 'Mars/Olympus' })).toThrow(
      expect.objectContaining({ code: 'E_CONFIG_INVALID' }),
    );
  });

  const one = fact('2026-11-22T12:00Z');
  it.each<[string, SnapshotFacts[], Date]>([
    ['a snapshot twice', [one, one], NOW],
    ['a time that is none', [{ ...one, createdAt: new Date('x') }], NOW],
    ['a lock that is none', [{ ...one, lockedUntil: new Date('x') }], NOW],
    ['a hold that ends never and nowhere', [{ ...one, hold: { who: 'a', why: 'b', until: new Date('x') } }], NOW],
    ['no present', [one], new Date('x')],
  ])('%s is a bug of the caller', (_what, snapshots, now) => {
    const policy = { ...NOTHING, keepLast: 1 };
    expect(() => decide(snapshots, policy, now, { lastRunFailed: false })).toThrow(
      expect.objectContaining({ code: 'E_BUG' }),
    );
  });
});

it('10,000 snapshots are decided in less than a second of one core', () => {
  const snapshots = Array.from({ length: 10_000 }, (_, n) => fact(new Date(Date.UTC(2025, 0, 1) + n * HOUR)));
  const policy = { keepHourly: 48, keepDaily: 30, keepWeekly: 8, keepMonthly: 12, keepYearly: 5 };
  const now = new Date(Date.UTC(2026, 10, 22));
  const before = process.threadCpuUsage();
  const answers = Object.values(plan(snapshots, { ...policy, timeZone: 'Europe/Berlin' }, { now }));
  expect(answers).toHaveLength(10_000);
  expect(cpuMsSince(before)).toBeLessThan(1_000);
});
