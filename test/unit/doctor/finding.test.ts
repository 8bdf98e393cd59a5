import { describe, expect, it } from 'vitest';
import { type Finding, ok, problem, sorted, unknown, verdictOf, warning } from '../../../src/doctor/finding.ts';

const at = (area: Finding['area'], outcome: Omit<Finding, 'area'>): Finding => ({ area, ...outcome });
const found = [
  at('queue', problem('redis', 'evicts', 'noeviction')),
  at('config', ok('config', 'good')),
  at('config', warning('spool', 'small', 'more')),
  at('vault', unknown('autopilot', 'not asked')),
];

describe('findings', () => {
  it('stand by area, and in each the worst first', () => {
    expect(sorted(found).map(({ area, what }) => `${area} ${what}`)).toEqual([
      'config spool',
      'config config',
      'vault autopilot',
      'queue redis',
    ]);
  });

  it('end in one line with the worst of all', () => {
    expect(verdictOf(sorted(found))).toEqual({
      status: 'problem',
      counts: { problem: 1, warning: 1, unknown: 1, ok: 1 },
      line: '1 problem, 1 warning, 1 unknown, 1 ok; first queue, redis: evicts',
    });
  });

  it('are no proof when there are none', () => {
    expect(verdictOf([])).toMatchObject({ status: 'unknown', line: 'nothing was looked at' });
    expect(verdictOf([at('config', ok('config', 'good'))]).line).toBe('1 ok');
  });
});
