import { describe, expect, it } from 'vitest';
import { ageLimit } from '../../../src/schedule/age-limit.ts';
import { type Schedule, startOf } from '../../../src/schedule/schedule.ts';
import { cpuMsSince } from '../../support/cpu-time.ts';

const HOUR = 3_600_000;
const schedule = (cron: string, jitterMs = 0): Schedule => ({ cron, timeZone: 'UTC', jitterMs, key: 'prod backup' });
const limit = (cron: string, now: string): number => ageLimit(schedule(cron), new Date(`${now}Z`)) / HOUR;

describe('the age limit of a schedule', () => {
  it('is two periods, where they are even', () => {
    expect(limit('0 */6 * * *', '2027-03-10T12:05')).toBe(12);
    expect(limit('0 */6 * * *', '2027-03-10T17:59')).toBe(12);
    expect(limit('@daily', '2027-03-10T12:00')).toBe(48);
  });

  it('grows by minutes only while a run has just become due', () => {
    expect(limit('0 */6 * * *', '2027-03-10T18:04')).toBeCloseTo(12 + 4 / 60);
    expect(limit('0 */6 * * *', '2027-03-10T18:05')).toBe(12);
  });

  it('waits for a run that starts later because of its jitter', () => {
    const jittered = schedule('0 */6 * * *', 2 * HOUR);
    const start = startOf(jittered, new Date('2027-03-10T18:00Z')).getTime();
    expect(start).toBeGreaterThan(Date.parse('2027-03-10T18:10Z'));
    const sinceSix = (time: number): number => time - Date.parse('2027-03-10T06:00Z');
    const justBefore = start + 4 * 60_000;
    expect(ageLimit(jittered, new Date(justBefore))).toBe(sinceSix(justBefore));
    expect(ageLimit(jittered, new Date(start + 5 * 60_000))).toBe(12 * HOUR);
  });

  it('lets a weekend pass, and not Monday: the backup of Friday evening is good until the second run is due', () => {
    const office = '0 9-17 * * 1-5';
    // Friday is the 12th, Monday the 15th of March 2027.
    const ageOfFriday = (now: string): number => (Date.parse(`${now}Z`) - Date.parse('2027-03-12T17:00Z')) / HOUR;
    for (const now of ['2027-03-13T12:00', '2027-03-15T08:59', '2027-03-15T09:59']) {
      expect(ageOfFriday(now)).toBeLessThanOrEqual(limit(office, now));
    }
    expect(ageOfFriday('2027-03-15T10:06')).toBeGreaterThan(limit(office, '2027-03-15T10:06'));
    expect(limit(office, '2027-03-12T15:30')).toBe(2);
  });

  it('is found for a thousand clusters while somebody waits for a page', () => {
    const now = new Date('2027-03-10T12:05Z');
    ageLimit(schedule('17 */6 * * *'), now);
    const before = process.threadCpuUsage();
    for (let i = 0; i < 1_000; i += 1) ageLimit({ ...schedule('17 */6 * * *', HOUR), key: `cluster-${i} backup` }, now);
    expect(cpuMsSince(before)).toBeLessThan(1_000);
  });
});
