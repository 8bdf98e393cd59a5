import { describe, expect, it } from 'vitest';
import type { DestinationConfig } from '../../../src/config/schema.ts';
import { parseClusterName } from '../../../src/core/ids.ts';
import { placesOf } from '../../../src/doctor/config-checks.ts';
import { distinct } from '../../../src/doctor/kms-checks.ts';

const s3 = (change: Partial<Extract<DestinationConfig, { type: 's3' }>> = {}): DestinationConfig => ({
  type: 's3',
  bucket: 'one',
  region: 'eu-west-1',
  prefix: '',
  forcePathStyle: false,
  checksum: 'sha256',
  conditionalWrites: true,
  tags: {},
  ...change,
});
const statuses = (...options: DestinationConfig[]): string[] =>
  placesOf({
    name: parseClusterName('prod'),
    destinations: options.map((one, index) => ({ name: `d${index}`, options: one })),
  }).map(({ status }) => status);

describe('places', () => {
  it('are told apart by bucket, endpoint and prefix', () => {
    expect(statuses(s3(), s3({ bucket: 'two' }))).toEqual(['ok']);
    expect(statuses(s3(), s3({ endpoint: 'https://other:9000' }))).toEqual(['ok']);
    expect(statuses(s3(), s3({ prefix: 'second' }))).toEqual(['warning']);
    expect(statuses(s3(), s3())).toEqual(['problem']);
    expect(statuses({ type: 'directory', path: '/a' }, { type: 'directory', path: '/a' }, s3())).toEqual(['problem']);
  });
});

describe('keys', () => {
  const key = (region: string, id: string) => ({ keyId: `arn:aws:kms:${region}:111122223333:key/${id}`, region });
  const MRK = `mrk-${'0'.repeat(32)}`;
  it('are told apart, replicas of one are not two', () => {
    expect(distinct('prod', [key('eu-west-1', 'a'), key('us-east-1', 'b')])).toMatchObject([{ status: 'ok' }]);
    expect(distinct('prod', [key('eu-west-1', MRK), key('us-east-1', MRK)])).toMatchObject([{ status: 'warning' }]);
    expect(distinct('prod', [key('eu-west-1', 'a'), key('eu-west-1', 'a')])).toMatchObject([{ status: 'problem' }]);
    expect(distinct('prod', [])).toMatchObject([{ status: 'unknown' }]);
  });
});
