/** How long objects are locked: a fixed time, or as the retention says. */
import { expect, it } from 'vitest';
import { complaints, parse, SAMPLE } from './sample.ts';

const DAY_MS = 86_400_000;
const RETENTION = '    retention: { keepDaily: 7 }\n';
const locked = (block: string, retention = RETENTION): string =>
  `${SAMPLE.replace('region: eu-central-1', `region: eu-central-1\n    objectLock: ${block}`)}${retention}`;

it('is a fixed time, or follows the retention up to a cap', () => {
  expect(parse(locked('{ mode: governance, keep: 30d }', '')).destinations['primary']).toMatchObject({
    objectLock: { mode: 'governance', keep: 30 * DAY_MS },
  });
  expect(parse(locked('{ mode: compliance, follow: retention }')).destinations['primary']).toMatchObject({
    objectLock: { mode: 'compliance', follow: 'retention', max: 400 * DAY_MS, slack: 2 * DAY_MS },
  });
});

const at = 'destinations.primary.objectLock';
it.each([
  [
    '{ mode: governance }',
    `7:5 ${at}: says nothing of how long, or twice; write either keep: 30d or follow: retention`,
  ],
  [
    '{ mode: governance, keep: 30d, follow: retention }',
    `7:5 ${at}: says nothing of how long, or twice; write either keep: 30d or follow: retention`,
  ],
  [
    '{ mode: governance, follow: retention, max: 1d }',
    expect.stringContaining(`${at}.slack: longer than max; write less`),
  ],
  ['{ mode: governance, follow: backups }', expect.stringContaining(`${at}.follow: `)],
])('%s is refused', (block, line) => {
  expect(complaints(locked(block))).toEqual([line]);
});

it('cannot follow a retention that is not there', () => {
  expect(complaints(locked('{ mode: governance, follow: retention }', ''))).toEqual([
    expect.stringContaining(
      'clusters.prod-eu-1.destinations[0]: locks follow a retention there, and this cluster has none; write retention here, or objectLock.keep in primary',
    ),
  ]);
});
