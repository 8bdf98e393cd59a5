/** What is a schedule, and how dense it is. */
import { describe, expect, it } from 'vitest';
import { cronProblem, shortestGap } from '../../../src/config/cron.ts';

const january = new Date('2026-01-01T00:00:00Z');

describe('cronProblem', () => {
  it.each(['0 */6 * * *', '30 0 3 * * 1-5', '@daily', ' 5 4 1 * * ', '0 0 L * *'])('takes %j', (cron) => {
    expect(cronProblem(cron)).toBeNull();
  });
  it.each(['', '* *', '61 * * * *', '0 0 30 2 *', 'H * * * *', '@reboot', 'six hours', '* * * * * * *'])(
    'refuses %j, and says what to write',
    (cron) => {
      expect(cronProblem(cron)).toMatch(/^not a cron expression.*; write five fields/);
    },
  );
});

describe('shortestGap', () => {
  it('is the least time between two due times', () => {
    expect(shortestGap('0 */6 * * *', 'UTC', january)).toBe(6 * 3_600_000);
    expect(shortestGap('0 1,2 * * *', 'UTC', january)).toBe(3_600_000);
  });
});
