import { describe, expect, it } from 'vitest';
import { complaints, sample } from './sample.ts';

const scheduled = (block: string): string =>
  sample('    destinations: [primary', `    schedule: ${block}\n    destinations: [primary`);

describe('the schedule of a cluster', () => {
  it('is taken with its zone, its jitter and its budget', () => {
    const block =
      '{ timeZone: Europe/Berlin, backup: { cron: "0 */6 * * *", jitter: 10m }, verify: { cron: "@daily", budget: 20GiB } }';
    expect(complaints(scheduled(block))).toEqual([]);
  });

  it.each([
    ['{ backup: { cron: "61 * * * *" } }', /schedule\.backup\.cron: not a cron expression .*; write five fields/],
    ['{ backup: { cron: "" } }', /schedule\.backup\.cron: not a cron expression/],
    [
      '{ timeZone: Europe/Berlinn }',
      /schedule\.timeZone: not a time zone that this machine knows; did you mean Europe\/Berlin\?/,
    ],
    ['{ timeZone: "+02:00" }', /schedule\.timeZone: not a time zone .*; write a name/],
    [
      '{ backup: { cron: "*/10 * * * *", jitter: 10m } }',
      /schedule\.backup\.jitter: not shorter than the time between two runs/,
    ],
    ['{ drill: { cron: "@daily" } }', /drill/],
  ])('refuses %s', (block, complaint) => {
    expect(complaints(scheduled(block))).toEqual([expect.stringMatching(complaint)]);
  });
});
