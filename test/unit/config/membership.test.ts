import { describe, expect, it } from 'vitest';
import { complaints, parse, sample } from './sample.ts';

const windows = (block: string): string =>
  sample('    destinations: [primary', `    membershipWindows: ${block}\n    destinations: [primary`);
const probing = (every: string): string => sample('signing:', `worker: { probeEvery: ${every} }\nsigning:`);

describe('the windows in which members may change', () => {
  it('are moments, in any zone', () => {
    const text = windows('[{ from: 2027-03-10T08:00:00Z, to: 2027-03-10T13:00:00+01:00 }]');
    expect(parse(text).clusters['prod-eu-1']?.membershipWindows).toEqual([
      { from: new Date('2027-03-10T08:00:00Z'), to: new Date('2027-03-10T12:00:00Z') },
    ]);
  });

  it.each([
    ['[{ from: 2027-03-10T08:00:00Z }]', /membershipWindows\[0\]/],
    ['[{ from: 2027-03-10, to: 2027-03-11 }]', /membershipWindows\[0\]\.from: not a time; write date, time and zone/],
    ['[{ from: 2027-03-10T08:00:00, to: 2027-03-10T09:00:00Z }]', /from: not a time; write date, time and zone/],
    ['[{ from: 2027-13-10T08:00:00Z, to: 2027-03-10T09:00:00Z }]', /from: not a time; write/],
    ['[{ from: 8, to: 2027-03-10T09:00:00Z }]', /from: not a time; write/],
    ['[{ from: 2027-03-10T08:00:00Z, to: 2027-03-10T08:00:00Z }]', /\.to: not after from; write a later time/],
    [
      '[{ from: 2027-03-10T08:00:00Z, to: 2027-03-17T08:00:01Z }]',
      /\.to: more than 7 days after from; write a window for each change/,
    ],
    [
      '[{ from: 2027-03-10T08:00:00Z, to: 2027-03-10T09:00:00Z }, { from: 2027-03-10T09:00:00+01:00, to: 2027-03-10T09:00:00Z }]',
      /membershipWindows\[1\]: stands here twice/,
    ],
  ])('refuses %s', (block, complaint) => {
    const found = complaints(windows(block));
    expect(found.join('\n')).toMatch(complaint);
  });
});

describe('the time between two probes', () => {
  it('is a minute unless something else is written', () => {
    expect(parse(sample('signing:', 'signing:')).worker.probeEvery).toBe(60_000);
    expect(parse(probing('5m')).worker.probeEvery).toBe(300_000);
  });

  it.each([
    ['10ms', /worker\.probeEvery: shorter than a second; write at least 1s/],
    ['often', /worker\.probeEvery: not a duration; write/],
  ])('refuses %s', (every, complaint) => {
    expect(complaints(probing(every))).toEqual([expect.stringMatching(complaint)]);
  });
});
