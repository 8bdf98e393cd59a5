import { describe, expect, it } from 'vitest';
import { clockOutcome } from '../../../src/doctor/clocks.ts';
import { timeZoneData } from '../../../src/doctor/config-checks.ts';
import { certificateOutcome } from '../../../src/doctor/node-checks.ts';
import { configuredLife, secretIdOutcome } from '../../../src/doctor/token-checks.ts';

const NOW = new Date('2026-11-22T12:00:00Z');
const inDays = (days: number): Date => new Date(NOW.getTime() + days * 86_400_000);

describe('times', () => {
  it('of zones are known by this Node, and missed where the data is missing', () => {
    expect(timeZoneData()).toMatchObject({ status: 'ok' });
    const utcOnly = (_: string, at: Date): string => at.toISOString().slice(11, 16);
    expect(timeZoneData(utcOnly)).toMatchObject({ status: 'problem', fix: expect.stringContaining('ICU') as string });
  });

  it.each([
    [20_000, 'ok'],
    [-20_000, 'ok'],
    [31_000, 'warning'],
    [-31_000, 'warning'],
    [301_000, 'problem'],
    [-301_000, 'problem'],
  ])('of clocks: %i ms apart is %s', (ms, status) => {
    expect(clockOutcome('clock', ms).status).toBe(status);
  });

  it('of clocks say who is ahead', () => {
    expect(clockOutcome('clock', 60_000).detail).toContain('1m ahead of this');
    expect(clockOutcome('clock', -60_000).detail).toContain('1m behind this');
  });

  it.each([
    [31, 'ok'],
    [29, 'warning'],
    [6, 'problem'],
    [-1, 'problem'],
  ])('of certificates: %i days left is %s', (days, status) => {
    expect(certificateOutcome('c', inDays(days), NOW).status).toBe(status);
    expect(certificateOutcome('c', null, NOW).status).toBe('unknown');
  });

  it.each([
    ['0001-01-01T00:00:00Z', 'ok'],
    [inDays(60).toISOString(), 'ok'],
    [inDays(20).toISOString(), 'warning'],
    [inDays(2).toISOString(), 'problem'],
    [undefined, 'unknown'],
  ])('of secret ids: %s is %s', (end, status) => {
    expect(secretIdOutcome(end, NOW).status).toBe(status);
  });

  it.each([
    [0, false, 'warning'],
    [3_600, true, 'problem'],
    [40 * 86_400, true, 'warning'],
  ])('of a configured token: %i s, renewable %s, is %s', (ttl, renewable, status) => {
    expect(configuredLife({ ttl, renewable }).status).toBe(status);
  });
});
