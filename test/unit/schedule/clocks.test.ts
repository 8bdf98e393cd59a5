/** Due times where clocks are moved, on leap days, and against two other ways to find them: a clock on the wall, and the parser. */
import { CronExpressionParser } from 'cron-parser';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dueAfter, dueAtOrBefore, nextStart, type Schedule } from '../../../src/schedule/schedule.ts';

const HOUR = 3_600_000;
const at = (text: string): Date => new Date(text);
const scheduleOf = (cron: string, timeZone: string): Schedule => ({ cron, timeZone, jitterMs: 0, key: 'prod backup' });

/** `2026-03-29 02:30`, as the wall shows it */
function wall(timeZone: string, time: Date): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' }).format(time);
}

/** Everything due in [from, to], once found forwards and once backwards. */
function both(schedule: Schedule, from: Date, to: Date): { forwards: Date[]; backwards: Date[] } {
  const forwards: Date[] = [];
  for (let due = dueAfter(schedule, new Date(from.getTime() - 1)); due <= to; due = dueAfter(schedule, due)) {
    forwards.push(due);
  }
  const backwards: Date[] = [];
  for (let due = dueAtOrBefore(schedule, to); due >= from; due = dueAtOrBefore(schedule, new Date(due.getTime() - 1))) {
    backwards.unshift(due);
  }
  return { forwards, backwards };
}

/** A change of the clocks: three days around it, in the zone's own time. */
const CHANGES = [
  { zone: 'Europe/Berlin', day: '2026-03-29' },
  { zone: 'Europe/Berlin', day: '2026-10-25' },
  { zone: 'America/Sao_Paulo', day: '2018-11-04' },
  { zone: 'America/Sao_Paulo', day: '2019-02-17' },
  { zone: 'America/Santiago', day: '2026-09-06' },
  { zone: 'America/Santiago', day: '2026-04-05' },
  { zone: 'Africa/Cairo', day: '2026-04-24' },
  { zone: 'Asia/Beirut', day: '2026-03-29' },
  { zone: 'America/Havana', day: '2026-03-08' },
  { zone: 'Australia/Lord_Howe', day: '2026-04-05' },
  { zone: 'Australia/Lord_Howe', day: '2026-10-04' },
  { zone: 'America/New_York', day: '2026-11-01' },
  { zone: 'Pacific/Kiritimati', day: '2026-01-01' },
] as const;

/** Every minute of the time around a change, by what the wall shows: the moments, earlier ones first. */
function wallMinutes(zone: string, day: string): Map<string, Date[]> {
  const minutes = new Map<string, Date[]>();
  const middle = at(`${day}T00:00:00Z`).getTime();
  for (let time = middle - 72 * HOUR; time < middle + 96 * HOUR; time += 60_000) {
    const shown = wall(zone, new Date(time));
    minutes.set(shown, [...(minutes.get(shown) ?? []), new Date(time)]);
  }
  return minutes;
}

describe.each(CHANGES)('around $day in $zone', ({ zone, day }) => {
  const minutes = wallMinutes(zone, day);
  const middle = at(`${day}T00:00:00Z`).getTime();
  const days = [-1, 0, 1].map((n) => new Date(middle + n * 24 * HOUR).toISOString().slice(0, 10));

  it('each time of the day is due once on each day, when the wall shows it, or when the clocks have moved on', () => {
    for (let minute = 0; minute < 24 * 60; minute += 15) {
      const [h, m] = [Math.floor(minute / 60), minute % 60];
      const schedule = scheduleOf(`${m} ${h} * * *`, zone);
      const { forwards, backwards } = both(schedule, new Date(middle - 72 * HOUR), new Date(middle + 96 * HOUR));
      expect(backwards).toEqual(forwards);
      const time = `${String(h).padStart(2, '0')}:${String(m).padStart(2, '0')}`;
      for (const date of days) {
        const dues = forwards.filter((due) => wall(zone, due).startsWith(date));
        expect(dues, `${date} ${time}`).toHaveLength(1);
        const shown = minutes.get(`${date} ${time}`);
        // The first of two; where the wall never shows it, later, and by no more than the clocks were moved.
        if (shown !== undefined) expect(dues).toEqual(shown.slice(0, 1));
        else {
          const late = wall(zone, dues[0] ?? new Date(0)).slice(11);
          const lateBy = Number(late.slice(0, 2)) * 60 + Number(late.slice(3)) - minute;
          expect([30, 60], `${date} ${time} came at ${late}`).toContain(lateBy);
        }
      }
    }
  });

  it.each(['0 * * * *', '*/15 * * * *', '30 * * * *'])('%s never pauses for longer than an hour', (cron) => {
    const { forwards, backwards } = both(
      scheduleOf(cron, zone),
      new Date(middle - 48 * HOUR),
      new Date(middle + 72 * HOUR),
    );
    expect(backwards).toEqual(forwards);
    const gaps = forwards.slice(1).map((due, i) => due.getTime() - (forwards[i]?.getTime() ?? 0));
    // Half an hour more where that is what the clocks go back by: no wall shows the full hour sooner.
    const longest = zone === 'Australia/Lord_Howe' ? 1.5 * HOUR : HOUR;
    expect(Math.max(...gaps)).toBeLessThanOrEqual(longest);
    expect(Math.min(...gaps)).toBeGreaterThan(0);
  });

  it('the next start is found from every quarter of an hour', () => {
    for (const cron of ['0 0 * * *', '0 2 * * *', '30 23 * * *']) {
      const schedule = { ...scheduleOf(cron, zone), jitterMs: 600_000 };
      for (let time = middle - 72 * HOUR; time < middle + 96 * HOUR; time += HOUR / 4) {
        const { due, start } = nextStart(schedule, new Date(time));
        expect(start.getTime()).toBeGreaterThan(time);
        expect(start.getTime() - time).toBeLessThan(26 * HOUR);
        expect(dueAtOrBefore(schedule, start)).toEqual(due);
      }
    }
  });
});

describe('the calendar', () => {
  it('has leap days, and none in 2100', () => {
    const leap = scheduleOf('0 12 29 2 *', 'Europe/Berlin');
    expect(dueAfter(leap, at('2026-01-01T00:00:00Z'))).toEqual(at('2028-02-29T11:00:00Z'));
    expect(dueAtOrBefore(leap, at('2026-01-01T00:00:00Z'))).toEqual(at('2024-02-29T11:00:00Z'));
    expect(dueAfter(leap, at('2097-01-01T00:00:00Z'))).toEqual(at('2104-02-29T11:00:00Z'));
    const { forwards } = both(
      scheduleOf('0 1 * * *', 'Europe/Berlin'),
      at('2028-02-27T12:00:00Z'),
      at('2028-03-02T12:00:00Z'),
    );
    expect(forwards.map((due) => due.getUTCDate())).toEqual([28, 29, 1, 2]);
  });

  it('refuses what never comes, and what is none', () => {
    for (const schedule of [
      scheduleOf('0 0 31 2 *', 'UTC'),
      scheduleOf('x', 'UTC'),
      scheduleOf('0 * * * *', 'No/Where'),
    ]) {
      expect(() => dueAfter(schedule, at('2026-01-01T00:00:00Z'))).toThrowError(
        expect.objectContaining({ code: 'E_CONFIG_INVALID' }),
      );
    }
  });

  it('is the one that the parser walks, where no clock is moved', () => {
    const crons = fc.constantFrom(
      '*/10 * * * * *',
      '5,35 */6 * * *',
      '0 0 L * *',
      '15 3 * * 1-5',
      '0 4 * * 5L',
      '0 4 * * 7',
      '0 6 * * 1#2',
      '0 0 13 * 5',
      '0 0 1 */3 *',
      '@weekly',
      '@yearly',
      '7 7 7 7 0',
      '0 0 29 2 *',
    );
    const zones = fc.constantFrom('UTC', 'Asia/Kolkata', 'Asia/Kathmandu', 'America/Phoenix', 'Pacific/Kiritimati');
    const times = fc.date({ min: at('2024-01-01T00:00:00Z'), max: at('2034-01-01T00:00:00Z'), noInvalidDate: true });
    fc.assert(
      fc.property(crons, zones, times, (cron, tz, time) => {
        const parsed = CronExpressionParser.parse(cron, { currentDate: time, tz });
        const schedule = scheduleOf(cron, tz);
        for (let due = dueAfter(schedule, time), i = 0; i < 5; i += 1, due = dueAfter(schedule, due)) {
          expect(due).toEqual(parsed.next().toDate());
          expect(dueAtOrBefore(schedule, due)).toEqual(due);
        }
      }),
      { numRuns: 300 },
    );
  });
});
