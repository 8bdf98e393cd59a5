import { describe, expect, it } from 'vitest';
import { limitsOf } from '../../../src/observe/limits.ts';
import { pluginLine, worstFirst } from '../../../src/observe/plugin-line.ts';
import type { Verdict } from '../../../src/observe/verdict.ts';
import { at, HOUR } from './scene.ts';

const schedule = { timeZone: 'UTC', backup: { cron: '0 */6 * * *' }, verify: { cron: '@weekly' } };

describe('limits', () => {
  it('are those of the config, before those of the schedule', () => {
    const limits = { maxAge: HOUR, maxProofAge: 2 * HOUR };
    expect(limitsOf('prod', { limits, schedule }, at(1))).toMatchObject({ maxAgeMs: HOUR, maxProofAgeMs: 2 * HOUR });
  });

  it('are two periods of the schedule, and for proofs a week at least', () => {
    expect(limitsOf('prod', { schedule }, at(1))).toMatchObject({ maxAgeMs: 12 * HOUR, maxProofAgeMs: 14 * 24 * HOUR });
    const daily = { ...schedule, verify: { cron: '@daily' } };
    expect(limitsOf('prod', { schedule: daily }, at(1))).toMatchObject({ maxProofAgeMs: 7 * 24 * HOUR });
  });

  it('are unknown where nobody said anything', () => {
    expect(limitsOf('prod', {}, at(1))).toMatchObject({ maxAgeMs: null, maxProofAgeMs: null });
  });
});

describe('the line of a monitoring plugin', () => {
  const limits = { maxAgeMs: 12 * HOUR, maxProofAgeMs: null, maxStatusAgeMs: null };
  const good: Verdict = { level: 'ok', ageMs: 2 * HOUR, reasons: [] };
  const reasons = ['one | two', 'three\nfour', 'five', 'six'].map((text) => ({ level: 'critical' as const, text }));
  const bad: Verdict = { level: 'critical', ageMs: null, reasons };
  const unlimited = { ...limits, maxAgeMs: null };
  const unsure: Verdict = { level: 'unknown', ageMs: HOUR, reasons: [{ level: 'unknown', text: 'no limit' }] };

  it('says ok with ages behind a bar', () => {
    expect(pluginLine([{ cluster: 'prod', limits, verdict: good }])).toBe(
      "OK - prod: ok, newest whole backup 2h old | 'age_prod'=7200s;;43200;0",
    );
  });

  it('says the worst first, stays one line with one bar, and says how much it leaves out', () => {
    const checked = worstFirst([
      { cluster: 'a', limits, verdict: good },
      { cluster: 'c', limits: unlimited, verdict: unsure },
      { cluster: 'b', limits, verdict: bad },
    ]);
    expect(pluginLine(checked)).toBe(
      "CRITICAL - b: one / two, three four, five, and 1 more; c: no limit; a: ok, newest whole backup 2h old | 'age_c'=3600s;;;0 'age_a'=7200s;;43200;0",
    );
  });

  it('is unknown for no cluster at all', () => {
    expect(pluginLine([])).toBe('UNKNOWN - no cluster');
  });
});
