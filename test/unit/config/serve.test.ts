import { describe, expect, it } from 'vitest';
import { complaints, parse, SAMPLE, sample } from './sample.ts';

const serving = (block: string): string => `${SAMPLE}serve: ${block}\n`;
const limited = (block: string): string =>
  sample('    destinations: [primary', `    limits: ${block}\n    destinations: [primary`);

describe('the serve block', () => {
  it('may be left out', () => {
    expect(parse(SAMPLE).serve).toEqual({ listen: '127.0.0.1:9464', refreshEvery: 60_000, allowActions: false });
  });

  it.each(['{ listen: "0.0.0.0:9464", token: env:TOKEN }', '{ listen: "[::1]:1" }', '{ refreshEvery: 5m }'])(
    'takes %s',
    (block) => {
      expect(complaints(serving(block))).toEqual([]);
    },
  );

  it.each([
    ['{ listen: "9464" }', /^\d+:\d+ serve\.listen: not an address to listen on; write host:port/],
    [
      '{ listen: "0.0.0.0:9464" }',
      /serve\.listen: open to other machines without a token; write token too, or listen on/,
    ],
    ['{ listen: "backups.example.org:9464" }', /serve\.listen: open to other machines without a token/],
    ['{ token: s3cret }', /serve\.token: a secret in plain text; write env:NAME/],
    ['{ refreshEvery: 60 }', /serve\.refreshEvery: not a duration; write a number and a unit/],
    ['{ port: 1 }', /serve\.port: unknown option/],
  ])('refuses %s', (block, complaint) => {
    expect(complaints(serving(block))).toEqual([expect.stringMatching(complaint)]);
  });
});

describe('the limits of a cluster', () => {
  it('are durations', () => {
    expect(parse(limited('{ maxAge: 8h, maxProofAge: 7d }')).clusters['prod-eu-1']?.limits).toEqual({
      maxAge: 8 * 3_600_000,
      maxProofAge: 7 * 86_400_000,
    });
    expect(complaints(limited('{ maxAge: 8 }'))).toEqual([
      expect.stringMatching(/clusters\.prod-eu-1\.limits\.maxAge: not a duration; write a number and a unit/),
    ]);
  });
});
