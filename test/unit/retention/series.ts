/** Series of snapshots as schedules make them, with everything that goes wrong over the years. */
import fc from 'fast-check';
import type { SnapshotId } from '../../../src/core/ids.ts';
import type { RetentionPolicy, SnapshotFacts } from '../../../src/retention/facts.ts';

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

export const NOTHING: RetentionPolicy = {
  keepLast: 0,
  keepHourly: 0,
  keepDaily: 0,
  keepWeekly: 0,
  keepMonthly: 0,
  keepYearly: 0,
  keepWithinMs: null,
  minVerified: 1,
  keepSafetyMs: 30 * DAY,
  timeZone: 'UTC',
};

let made = 0;

/** A good, verified backup of that time; `change` puts something else over it. */
export function fact(createdAt: string | Date, change: Partial<SnapshotFacts> = {}): SnapshotFacts {
  made += 1;
  const at = new Date(createdAt);
  return {
    snapshot: id(made),
    createdAt: at,
    purpose: 'backup',
    isGood: true,
    verifiedAt: at,
    drilledAt: null,
    hold: null,
    lockedUntil: null,
    bytes: 2 ** 20,
    isIgnored: false,
    ...change,
  };
}

function id(n: number): SnapshotId {
  return `01J${String(n).padStart(23, '0')}` as SnapshotId;
}

/** What may be out of the ordinary with one snapshot; the number says which of the series it is about. */
const MARKS: Readonly<Record<string, (at: Date, before: Date) => Partial<SnapshotFacts>>> = {
  unverified: () => ({ verifiedAt: null }),
  refused: () => ({ isGood: false, verifiedAt: null }),
  spoilt: () => ({ isGood: false }),
  ignored: () => ({ isIgnored: true }),
  ignoredAndLocked: (at) => ({ isIgnored: true, lockedUntil: new Date(at.getTime() + 40 * DAY) }),
  drilled: (at) => ({ drilledAt: at }),
  held: () => ({ hold: { who: 'ana', why: 'audit', until: null } }),
  heldForAWeek: (at) => ({ hold: { who: 'bob', why: 'upgrade', until: new Date(at.getTime() + 7 * DAY) } }),
  lockedForAWeek: (at) => ({ lockedUntil: new Date(at.getTime() + 7 * DAY) }),
  lockedForAYear: (at) => ({ lockedUntil: new Date(at.getTime() + 365 * DAY) }),
  safety: () => ({ purpose: 'safety' }),
  twin: (_at, before) => ({ createdAt: before }),
  fromFuture: (at) => ({ createdAt: new Date(at.getTime() + 1000 * DAY) }),
};

export type Series = { snapshots: SnapshotFacts[]; now: Date };

/** A schedule with jitter, in which runs are missing, now one, now weeks of them; at most `most` snapshots, oldest first. */
export function seriesOf(most: number, stepMs?: number): fc.Arbitrary<Series> {
  return fc
    .record({
      start: fc.integer({ min: 0, max: 3 * 366 * 24 }).map((hours) => Date.UTC(2024, 0, 1) + hours * HOUR),
      step: stepMs === undefined ? fc.constantFrom(HOUR / 4, HOUR, 6 * HOUR, DAY, 9 * DAY) : fc.constant(stepMs),
      count: fc.integer({ min: 0, max: most }),
      jitter: fc.integer({ min: 0, max: HOUR / 5 }),
      gaps: fc.array(fc.tuple(fc.nat(most), fc.integer({ min: 1, max: Math.ceil(most / 4) })), { maxLength: 4 }),
      everyVerified: fc.constantFrom(1, 1, 3, 24),
      marks: fc.array(fc.tuple(fc.nat(most), fc.constantFrom(...Object.keys(MARKS))), { maxLength: 30 }),
      idle: fc.constantFrom(0, HOUR, DAY, 45 * DAY),
    })
    .map(({ start, step, count, jitter, gaps, everyVerified, marks, idle }) => {
      const snapshots: SnapshotFacts[] = [];
      for (let index = 0; index < count; index += 1) {
        if (gaps.some(([first, length]) => index >= first && index < first + length)) continue;
        const at = new Date(start + index * step + ((index * 7919) % (jitter + 1)));
        const isVerified = index % everyVerified === 0;
        const before = snapshots.at(-1)?.createdAt ?? at;
        let facts = fact(at, isVerified ? {} : { verifiedAt: null });
        for (const [about, mark] of marks) if (about === index) facts = { ...facts, ...MARKS[mark]?.(at, before) };
        snapshots.push(facts);
      }
      return { snapshots, now: new Date(start + count * step + idle) };
    });
}

const count = (max: number): fc.Arbitrary<number> => fc.oneof(fc.constant(0), fc.integer({ min: 1, max }));

export const policies: fc.Arbitrary<RetentionPolicy> = fc
  .record({
    keepLast: count(20),
    keepHourly: count(48),
    keepDaily: count(14),
    keepWeekly: count(8),
    keepMonthly: count(13),
    keepYearly: count(3),
    keepWithinMs: fc.option(fc.integer({ min: 1, max: 10 * DAY })),
    minVerified: fc.integer({ min: 0, max: 5 }),
    keepSafetyMs: fc.integer({ min: 0, max: 60 * DAY }),
    timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Beirut'),
  })
  .map((policy) => {
    const { keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly, keepWithinMs } = policy;
    const sum = keepLast + keepHourly + keepDaily + keepWeekly + keepMonthly + keepYearly + (keepWithinMs ?? 0);
    return sum === 0 ? { ...policy, keepDaily: 1 } : policy;
  });
