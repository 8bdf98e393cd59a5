import { expect, test } from 'vitest';
import { failureToleranceOf, quorumOf, remainingTolerance } from '../../../src/vault/quorum.ts';

test.each([
  [1, 1, 0],
  [2, 2, 0],
  [3, 2, 1],
  [4, 3, 1],
  [5, 3, 2],
  [7, 4, 3],
])('%i voters need %i and tolerate the loss of %i', (voters, quorum, tolerance) => {
  expect(quorumOf(voters)).toBe(quorum);
  expect(failureToleranceOf(voters)).toBe(tolerance);
});

test('what is left to lose counts the dead already', () => {
  expect(remainingTolerance(3, 3)).toBe(1);
  expect(remainingTolerance(3, 2)).toBe(0);
  expect(remainingTolerance(3, 1)).toBe(-1);
});

test.each([0, -1, 1.5, Number.NaN])('%d is no number of voters', (voters) => {
  expect(() => quorumOf(voters)).toThrow(RangeError);
});
