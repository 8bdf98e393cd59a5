import { expect, test } from 'vitest';
import { goDurationMs } from '../../../src/vault/go-duration.ts';

test.each([
  ['30m', 1_800_000],
  ['1m30s', 90_000],
  ['1h0m0.5s', 3_600_500],
  ['500ms', 500],
  ['30', 30_000],
  [45, 45_000],
  ['2d', 172_800_000],
])('%s is %i ms', (text, ms) => {
  expect(goDurationMs(text)).toBe(ms);
});

test.each([undefined, '', 'soon', '5 minutes', '-3s', '1m30'])('%s is no duration', (text) => {
  expect(goDurationMs(text)).toBeNull();
});
