import { expect, it } from 'vitest';
import { clusterConfig } from '../../../src/config/cluster-config.ts';
import { type RetentionSettings, retentionOf } from '../../../src/config/retention.ts';
import { checkPolicy, type RetentionPolicy } from '../../../src/retention/facts.ts';
import { complaints, parse, SAMPLE } from './sample.ts';

const withBlock = (block: string): string => `${SAMPLE}    retention: ${block}\n`;
const settings = (block: string, destination: string): RetentionSettings | null =>
  retentionOf(clusterConfig(parse(withBlock(block)), 'prod-eu-1').retention, destination);
const DAY = 86_400_000;

it('is nothing where it is not configured', () => {
  const { retention } = clusterConfig(parse(SAMPLE), 'prod-eu-1');
  expect(retention).toBeUndefined();
  expect(retentionOf(retention, 'primary')).toBeNull();
});

it('gets its defaults, with durations in milliseconds, and is a policy as retention takes it', () => {
  const policy: RetentionPolicy | null = settings('{ keepDaily: 7 }', 'primary');
  expect(policy).toEqual({
    keepLast: 0,
    keepHourly: 0,
    keepDaily: 7,
    keepWeekly: 0,
    keepMonthly: 0,
    keepYearly: 0,
    keepWithinMs: null,
    minVerified: 1,
    keepSafetyMs: 30 * DAY,
    timeZone: 'UTC',
  });
  expect(() => policy !== null && checkPolicy(policy)).not.toThrow();
});

it('differs in one destination by the options given there, and by no other', () => {
  const block =
    '{ keepDaily: 7, keepWithin: 2d, timeZone: Europe/Berlin, destinations: { vaulted: { keepDaily: 0, keepYearly: 5, keepWithin: none, keepSafety: 1w, minVerified: 3 } } }';
  expect(settings(block, 'primary')).toMatchObject({ keepDaily: 7, keepYearly: 0, keepWithinMs: 2 * DAY });
  expect(settings(block, 'vaulted')).toEqual({
    keepLast: 0,
    keepHourly: 0,
    keepDaily: 0,
    keepWeekly: 0,
    keepMonthly: 0,
    keepYearly: 5,
    keepWithinMs: null,
    minVerified: 3,
    keepSafetyMs: 7 * DAY,
    timeZone: 'Europe/Berlin',
  });
  expect(settings('{ keepLast: 3, destinations: { vaulted: { keepWithin: 12h } } }', 'vaulted')).toMatchObject({
    keepLast: 3,
    keepWithinMs: DAY / 2,
  });
});

it.each([['UTC'], ['Europe/Berlin'], ['America/Argentina/Buenos_Aires'], ['Asia/Calcutta'], ['Etc/GMT-2']])(
  'takes the zone %s',
  (zone) => {
    expect(complaints(withBlock(`{ keepDaily: 7, timeZone: ${zone} }`))).toEqual([]);
  },
);

it('may keep nothing of its own where every destination says what it keeps', () => {
  expect(complaints(withBlock('{ destinations: { primary: { keepLast: 9 }, vaulted: { keepWithin: 9d } } }'))).toEqual(
    [],
  );
});

const at = 'clusters.prod-eu-1.retention';
it.each([
  ['{ keepDialy: 7 }', [`18:18 ${at}.keepDialy: unknown option; did you mean keepDaily?`]],
  ['{ keepDaily: -1 }', [`18:29 ${at}.keepDaily: too small; write at least 0`]],
  ['{ keepDaily: 1.5 }', [`18:29 ${at}.keepDaily: not a whole number; write a whole number`]],
  ['{ keepDaily: 100001 }', [`18:29 ${at}.keepDaily: too big; write at most 100000`]],
  ['{ keepDaily: 7, minVerified: 0 }', [`18:45 ${at}.minVerified: too small; write at least 1`]],
  ['{ keepWithin: 30 }', [`18:30 ${at}.keepWithin: not a duration; write a number and a unit, such as 30s, 6h or 30d`]],
  [
    '{ keepWithin: none }',
    [`18:30 ${at}.keepWithin: not a duration; write a number and a unit, such as 30s, 6h or 30d`],
  ],
  ['{ keepDaily: 7, keepSafety: 0d }', [`18:44 ${at}.keepSafety: no time at all; write more than zero`]],
  [
    '{ keepDaily: 7, timeZone: Europe/Berln }',
    [`18:42 ${at}.timeZone: not a time zone that this machine knows; did you mean Europe/Berlin?`],
  ],
  [
    '{ keepDaily: 7, timeZone: berlin }',
    [`18:42 ${at}.timeZone: not a time zone that this machine knows; did you mean Europe/Berlin?`],
  ],
  [
    '{ keepDaily: 7, timeZone: "+01:00" }',
    [`18:42 ${at}.timeZone: not a time zone that this machine knows; write a name such as Europe/Berlin or UTC`],
  ],
  ['{}', [`18:5 ${at}: keeps nothing; write keepLast, keepDaily or another, or delete the block to keep everything`]],
  [
    '{ keepSafety: 9d, minVerified: 5 }',
    [`18:5 ${at}: keeps nothing; write keepLast, keepDaily or another, or delete the block to keep everything`],
  ],
  [
    '{ destinations: { primary: { keepLast: 3 } } }',
    [`18:5 ${at}: keeps nothing; write keepLast, keepDaily or another, or delete the block to keep everything`],
  ],
  [
    '{ keepDaily: 7, destinations: { primary: { keepDaily: 0 } } }',
    [`18:48 ${at}.destinations.primary: keeps nothing here; write keepLast, keepDaily or another`],
  ],
  [
    '{ keepWithin: 7d, destinations: { primary: { keepWithin: none } } }',
    [`18:50 ${at}.destinations.primary: keeps nothing here; write keepLast, keepDaily or another`],
  ],
  [
    '{ keepDaily: 7, destinations: { vault: { keepDaily: 3 } } }',
    [`18:48 ${at}.destinations.vault: no destination of this cluster; did you mean vaulted?`],
  ],
  [
    '{ keepDaily: 7, destinations: { zzz: { keepDaily: 3 } } }',
    [`18:48 ${at}.destinations.zzz: no destination of this cluster; known: primary, vaulted`],
  ],
  [
    '{ keepDaily: 7, destinations: { primary: { keepWithin: nine } } }',
    [
      `18:71 ${at}.destinations.primary.keepWithin: not a duration; write a number and a unit, such as 30s, 6h or 30d, or none`,
    ],
  ],
  [
    '{ keepDaily: x, destinations: { vault: { keepDaily: 3 } } }',
    [
      `18:29 ${at}.keepDaily: not a number; write a number`,
      `18:48 ${at}.destinations.vault: no destination of this cluster; did you mean vaulted?`,
    ],
  ],
])('%s is refused', (block, lines) => {
  expect(complaints(withBlock(block))).toEqual(lines);
});
