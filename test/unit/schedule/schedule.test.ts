/** Due times: the same ones forwards and backwards, where clocks change too. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  dueAfter,
  dueAtOrBefore,
  lastExpected,
  nextStart,
  type Schedule,
  startOf,
} from '../../../src/schedule/schedule.ts';
import { cpuMsSince } from '../../support/cpu-time.ts';

const berlin = (cron: string, jitterMs = 0, key = 'prod backup'): Schedule => ({
  cron,
  timeZone: 'Europe/Berlin',
  jitterMs,
  key,
});
const at = (text: string): Date => new Date(text);

describe('due times', () => {
  it('are hours of the zone, in summer and in winter', () => {
    const nightly = berlin('30 1 * * *');
    expect(dueAfter(nightly, at('2026-07-01T12:00:00Z'))).toEqual(at('2026-07-01T23:30:00Z'));
    expect(dueAfter(nightly, at('2026-12-01T12:00:00Z'))).toEqual(at('2026-12-02T00:30:00Z'));
  });

  it('come when the clocks have moved on where the hour is skipped, and once where it comes twice', () => {
    const nightly = berlin('30 2 * * *');
    expect(dueAfter(nightly, at('2026-03-28T12:00:00Z'))).toEqual(at('2026-03-29T01:30:00Z'));
    expect(dueAfter(nightly, at('2026-10-24T12:00:00Z'))).toEqual(at('2026-10-25T00:30:00Z'));
    expect(dueAfter(nightly, at('2026-10-25T00:30:00Z'))).toEqual(at('2026-10-26T01:30:00Z'));
  });

  it('are the same looked at backwards on those days', () => {
    const nightly = berlin('30 2 * * *');
    expect(dueAtOrBefore(nightly, at('2026-03-29T12:00:00Z'))).toEqual(at('2026-03-29T01:30:00Z'));
    expect(dueAtOrBefore(nightly, at('2026-10-25T12:00:00Z'))).toEqual(at('2026-10-25T00:30:00Z'));
    expect(dueAtOrBefore(nightly, at('2026-10-25T00:30:00Z'))).toEqual(at('2026-10-25T00:30:00Z'));
    expect(dueAtOrBefore(nightly, at('2026-10-25T00:29:59.999Z'))).toEqual(at('2026-10-24T00:30:00Z'));
  });

  it('agree in both directions, whatever the expression, the zone and the time', () => {
    const schedules = fc.record({
      cron: fc.constantFrom('*/10 * * * * *', '0 * * * *', '30 2 * * *', '15 3 * * 1-5', '0 0 1 * *', '0 1,13 L * *'),
      timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Australia/Lord_Howe', 'Asia/Kathmandu'),
      jitterMs: fc.constantFrom(0, 1_000, 5_000),
      key: fc.constantFrom('a backup', 'b backup'),
    });
    const times = fc.date({ min: at('2024-01-01T00:00:00Z'), max: at('2030-01-01T00:00:00Z'), noInvalidDate: true });
    fc.assert(
      fc.property(schedules, times, (schedule, time) => {
        const last = dueAtOrBefore(schedule, time);
        expect(last <= time).toBe(true);
        expect(dueAfter(schedule, last) > time).toBe(true);
        expect(dueAtOrBefore(schedule, last)).toEqual(last);
        const { due, start } = nextStart(schedule, time);
        expect(start > time).toBe(true);
        expect(start).toEqual(startOf(schedule, due));
        expect(dueAtOrBefore(schedule, start)).toEqual(due);
      }),
      { numRuns: 100 },
    );
  });
});

describe('jitter', () => {
  it('is the same in every worker, below its limit, and spreads clusters', () => {
    const due = at('2026-11-22T06:00:00Z');
    const starts = Array.from({ length: 200 }, (_, i) => startOf(berlin('0 * * * *', 600_000, `c${i} backup`), due));
    for (const [i, start] of starts.entries()) {
      expect(start).toEqual(startOf(berlin('0 * * * *', 600_000, `c${i} backup`), due));
      expect(start.getTime() - due.getTime()).toBeLessThan(600_000);
      expect(start >= due).toBe(true);
    }
    const minutes = new Set(starts.map((start) => Math.floor((start.getTime() - due.getTime()) / 60_000)));
    expect(minutes.size).toBe(10);
    expect(startOf(berlin('0 * * * *'), due)).toEqual(due);
  });

  it('never makes a start be found twice, or one be left out', () => {
    const schedule = berlin('*/5 * * * *', 240_000);
    const seen: Date[] = [];
    for (let time = at('2026-11-22T00:00:00Z'); seen.length < 50; ) {
      const { due, start } = nextStart(schedule, time);
      seen.push(due);
      time = start;
    }
    const gaps = seen.slice(1).map((due, i) => due.getTime() - (seen[i]?.getTime() ?? 0));
    expect(new Set(gaps)).toEqual(new Set([300_000]));
  });
});

describe('lastExpected', () => {
  it('leaves a run the grace to show what it does', () => {
    const hourly = berlin('0 * * * *', 600_000);
    const due = at('2026-11-22T06:00:00Z');
    const start = startOf(hourly, due).getTime();
    const grace = 60_000;
    expect(lastExpected(hourly, new Date(start + grace), grace)).toEqual(due);
    expect(lastExpected(hourly, new Date(start + grace - 1), grace)).toEqual(at('2026-11-22T05:00:00Z'));
  });
});

describe('due times that are known already', () => {
  it('are those that the parser finds anew, in any order and where clocks change', () => {
    const from = at('2027-03-25T00:00:00Z').getTime();
    const minute = fc.integer({ min: 0, max: 9 * 24 * 60 });
    let times = 0;
    fc.assert(
      fc.property(
        fc.array(minute, { minLength: 2, maxLength: 8 }),
        fc.constantFrom('0 * * * *', '30 2 * * *'),
        (minutes, cron) => {
          for (const each of minutes) {
            const time = new Date(from + each * 60_000);
            // With another blank: nothing is known of a schedule that was never asked for.
            times += 1;
            const anew: Schedule = { ...berlin(cron.replace(' ', ' '.repeat(1 + times))) };
            expect(dueAtOrBefore(berlin(cron), time)).toEqual(dueAtOrBefore(anew, time));
            expect(dueAfter(berlin(cron), time)).toEqual(dueAfter({ ...anew, cron: `${anew.cron} ` }, time));
            expect(dueAtOrBefore(berlin(cron), new Date(dueAfter(anew, time).getTime() - 1))).toEqual(
              dueAtOrBefore(anew, time),
            );
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it('follow one another without a gap, also in the hour that the clocks skip', () => {
    const daily = berlin('30 2 * * *');
    // 02:30 does not exist on the 28th; it is due at 03:30, which is 01:30 UTC.
    for (const time of ['2027-03-28T00:59:59Z', '2027-03-28T01:00:00Z', '2027-03-28T01:29:59Z']) {
      expect(dueAfter(daily, at(time))).toEqual(at('2027-03-28T01:30:00Z'));
    }
  });

  it('cost next to nothing: a thousand clusters ask at each scrape', () => {
    const yearly = berlin('0 3 1 1 *');
    nextStart(yearly, at('2027-06-01T00:00:00Z'));
    const before = process.threadCpuUsage();
    for (let i = 0; i < 1_000; i += 1) nextStart({ ...yearly, key: `c${i} backup` }, at('2027-06-01T00:00:00Z'));
    // Without: half a minute.
    expect(cpuMsSince(before)).toBeLessThan(1_000);
  });
});
