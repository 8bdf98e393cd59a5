import { describe, expect, it } from 'vitest';
import { type BucketRule, judgeRules } from '../../../src/doctor/lifecycle-rules.ts';
import { lifecycle } from '../../../src/policy/lifecycle.ts';

const root = 'bk/v1/';
const judge = (rules: readonly BucketRule[], isVersioned: boolean | null = true) =>
  judgeRules('rules', rules, { root, isVersioned, fix: 'policy' });
const bad = (rules: readonly BucketRule[], isVersioned: boolean | null = true) =>
  judge(rules, isVersioned).flatMap(({ status, detail }) => (status === 'ok' ? [] : [detail]));

const printed = lifecycle({
  bucket: 'b',
  region: 'r',
  endpoint: null,
  uses: [
    {
      name: 'primary',
      clusters: [],
      options: {
        type: 's3',
        bucket: 'b',
        region: 'r',
        prefix: 'bk',
        forcePathStyle: false,
        checksum: 'sha256',
        conditionalWrites: true,
        tags: {},
      },
    },
  ],
}).document.Rules as readonly BucketRule[];
const expiring = (change: BucketRule): BucketRule => ({
  ID: 'x',
  Status: 'Enabled',
  Expiration: { Days: 30 },
  ...change,
});

describe('lifecycle rules', () => {
  it('are good as strongroom prints them', () => {
    expect(bad(printed)).toEqual([]);
  });

  it('lack what is never cleared away', () => {
    expect(bad([])).toEqual([expect.stringContaining('unfinished uploads'), expect.stringContaining('old versions')]);
    expect(bad([], false)).toHaveLength(1);
    expect(bad(printed.map((rule) => ({ ...rule, Status: 'Disabled' })))).toHaveLength(2);
    expect(bad(printed.map((rule) => ({ ...rule, Filter: { And: { Prefix: root } } })))).toHaveLength(2);
  });

  it.each([
    ['the whole bucket', {}],
    ['what is above', { Filter: { Prefix: 'bk/' } }],
    ['one cluster', { Filter: { Prefix: 'bk/v1/prod/' } }],
    ['an old spelling', { Prefix: 'bk' }],
    ['a tag', { Filter: { And: { Prefix: 'bk/v1/' } } }],
  ])('that delete %s are found', (_, change) => {
    expect(bad([...printed, expiring(change)])).toEqual([
      expect.stringMatching(/^rule x deletes backups when they are 30/),
    ]);
  });

  it('of others, and those that are off, are left alone', () => {
    expect(bad([...printed, expiring({ Filter: { Prefix: 'logs/' } }), expiring({ Status: 'Disabled' })])).toEqual([]);
  });

  it('that freeze backups are found', () => {
    const freeze = { ID: 'cold', Status: 'Enabled', Transitions: [{ StorageClass: 'DEEP_ARCHIVE' }] };
    expect(bad([...printed, freeze])).toEqual([expect.stringContaining('cannot be read for hours')]);
    expect(bad([...printed, { ...freeze, Transitions: [{ StorageClass: 'STANDARD_IA' }] }])).toEqual([]);
  });
});
