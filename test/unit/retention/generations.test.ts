import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PERIOD_KINDS, periodStart, periodsOf } from '../../../src/retention/generations.ts';

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'Europe/London',
  'America/New_York',
  'America/St_Johns',
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'Asia/Beirut',
  'Africa/Cairo',
  'America/Havana',
  'America/Sao_Paulo',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Pacific/Chatham',
];
const HOUR = 3_600_000;

describe('a time is in', () => {
  it.each([
    ['2026-11-21T23:30:00Z', 'UTC', '2026-11-21T23:00Z', '2026-11-21', '2026-W47', '2026-11', '2026'],
    ['2026-12-31T23:30:00Z', 'Europe/Berlin', '2027-01-01T00:00+01:00', '2027-01-01', '2026-W53', '2027-01', '2027'],
    ['2026-12-31T23:30:00Z', 'America/New_York', '2026-12-31T18:00-05:00', '2026-12-31', '2026-W53', '2026-12', '2026'],
    // 2027 begins on a Friday: its first days are in the last week of 2026, and Monday the 4th begins week 1.
    ['2027-01-03T12:00:00Z', 'UTC', '2027-01-03T12:00Z', '2027-01-03', '2026-W53', '2027-01', '2027'],
    ['2027-01-04T00:00:00Z', 'UTC', '2027-01-04T00:00Z', '2027-01-04', '2027-W01', '2027-01', '2027'],
    // 2024 ends on a Tuesday, in week 1 of 2025.
    ['2024-12-31T12:00:00Z', 'UTC', '2024-12-31T12:00Z', '2024-12-31', '2025-W01', '2024-12', '2024'],
    ['2024-02-29T12:00:00Z', 'UTC', '2024-02-29T12:00Z', '2024-02-29', '2024-W09', '2024-02', '2024'],
    ['2026-11-21T18:20:00Z', 'Asia/Kathmandu', '2026-11-22T00:00+05:45', '2026-11-22', '2026-W47', '2026-11', '2026'],
    ['1969-12-31T23:59:59.999Z', 'UTC', '1969-12-31T23:00Z', '1969-12-31', '1970-W01', '1969-12', '1969'],
  ])('%s in %s: %s, %s, %s, %s, %s', (at, zone, hourly, daily, weekly, monthly, yearly) => {
    expect(periodsOf(new Date(at), zone)).toEqual({ hourly, daily, weekly, monthly, yearly });
  });

  it('two hours where the clock goes back, and none where it goes on', () => {
    const hours = (day: string, zone: string): string[] =>
      Array.from({ length: 6 }, (_, n) => periodsOf(new Date(Date.parse(day) + n * HOUR), zone).hourly.slice(11));
    expect(hours('2026-10-24T22:30:00Z', 'Europe/Berlin')).toEqual([
      '00:00+02:00',
      '01:00+02:00',
      '02:00+02:00',
      '02:00+01:00',
      '03:00+01:00',
      '04:00+01:00',
    ]);
    expect(hours('2026-03-28T23:30:00Z', 'Europe/Berlin')).toEqual([
      '00:00+01:00',
      '01:00+01:00',
      '03:00+02:00',
      '04:00+02:00',
      '05:00+02:00',
      '06:00+02:00',
    ]);
  });

  it('no zone that this machine does not know', () => {
    expect(() => periodsOf(new Date(0), 'Mars/Olympus')).toThrow(
      expect.objectContaining({
        code: 'E_CONFIG_INVALID',
        message: '"Mars/Olympus" is not a time zone that this machine knows',
      }),
    );
  });
});

describe('a period begins', () => {
  it.each([
    ['daily', '2026-11-21T12:00:00Z', 1, 'Europe/Berlin', '2026-11-21T23:00:00.000Z'],
    ['daily', '2026-10-25T00:30:00Z', 1, 'Europe/Berlin', '2026-10-25T23:00:00.000Z'],
    ['daily', '2026-10-25T00:30:00Z', 0, 'Europe/Berlin', '2026-10-24T22:00:00.000Z'],
    ['weekly', '2026-11-22T12:00:00Z', 1, 'UTC', '2026-11-23T00:00:00.000Z'],
    ['weekly', '2026-11-23T00:00:00Z', 0, 'UTC', '2026-11-23T00:00:00.000Z'],
    ['monthly', '2026-12-31T23:30:00Z', 1, 'Europe/Berlin', '2027-01-31T23:00:00.000Z'],
    ['monthly', '2026-01-31T12:00:00Z', 1, 'UTC', '2026-02-01T00:00:00.000Z'],
    ['yearly', '2026-06-01T00:00:00Z', 5, 'UTC', '2031-01-01T00:00:00.000Z'],
    ['hourly', '2026-06-01T00:59:59.999Z', 1, 'UTC', '2026-06-01T01:00:00.000Z'],
    ['hourly', '2026-06-01T00:10:00Z', 1, 'Asia/Kolkata', '2026-06-01T00:30:00.000Z'],
    // Beirut skips from 00:00 to 01:00: the day begins at one.
    ['daily', '2026-03-28T12:00:00Z', 1, 'Asia/Beirut', '2026-03-28T22:00:00.000Z'],
    // Beirut goes back from 00:00 to 23:00: the day before has 25 hours.
    ['daily', '2026-10-24T12:00:00Z', 1, 'Asia/Beirut', '2026-10-24T22:00:00.000Z'],
    // Havana goes back from 01:00 to 00:00: midnight comes twice, and the first one counts.
    ['daily', '2026-10-31T12:00:00Z', 1, 'America/Havana', '2026-11-01T04:00:00.000Z'],
    // Apia left out 30 December 2011.
    ['daily', '2011-12-29T20:00:00Z', 1, 'Pacific/Apia', '2011-12-30T10:00:00.000Z'],
    ['daily', '2011-12-29T20:00:00Z', 2, 'Pacific/Apia', '2011-12-30T10:00:00.000Z'],
  ] as const)('%s from %s and %i on, in %s: %s', (kind, at, count, zone, start) => {
    expect(periodStart(kind, new Date(at), count, zone).toISOString()).toBe(start);
  });

  it('with its first moment, and not one earlier; all of it is in the period', () => {
    const times = fc.date({ min: new Date('2012-01-01T00:00:00Z'), max: new Date('2037-01-01'), noInvalidDate: true });
    fc.assert(
      fc.property(times, fc.constantFrom(...PERIOD_KINDS), fc.constantFrom(...ZONES), (at, kind, zone) => {
        const start = periodStart(kind, at, 0, zone);
        const own = periodsOf(at, zone)[kind];
        expect(start.getTime()).toBeLessThanOrEqual(at.getTime());
        // Where an hour is cut by a change of half an hour, its name says so and its beginning does not.
        if (kind !== 'hourly') {
          expect(periodsOf(start, zone)[kind]).toBe(own);
          expect(periodsOf(new Date(start.getTime() - 1), zone)[kind]).not.toBe(own);
        }
        const next = periodStart(kind, at, 1, zone);
        expect(next > at).toBe(true);
        if (kind !== 'hourly') expect(periodsOf(next, zone)[kind]).not.toBe(own);
        if (kind !== 'hourly') expect(periodsOf(new Date(next.getTime() - 1), zone)[kind]).toBe(own);
      }),
      { numRuns: 500 },
    );
  });
});
