import { describe, expect, it } from 'vitest';
import type { Config } from '../../../src/config/load.ts';
import { bucketPolicy } from '../../../src/policy/bucket-policy.ts';
import { bucketsOf } from '../../../src/policy/buckets.ts';
import { lifecycle } from '../../../src/policy/lifecycle.ts';
import { type Principals, ROLES } from '../../../src/policy/roles.ts';
import { judge } from '../../support/policy-judge.ts';
import { changed, configOf, PLAIN, RICH } from './configs.ts';

const TLS = { 'aws:SecureTransport': 'true' };
const CREATES = { ...TLS, 's3:ObjectCreationOperation': 'true' };
const ABSENT = { 's3:if-none-match': '*' };
const MATCH = { 's3:if-match': '"abc"' };
const NAMED: Principals = {
  backup: ['arn:aws:iam::1:role/b'],
  prune: ['arn:aws:iam::1:role/p'],
  serve: ['arn:aws:iam::1:role/s'],
};

function made(config: Config, principals: Principals = {}, writeOnce = true, index = 0) {
  const bucket = bucketsOf(config)[index];
  if (bucket === undefined) throw new Error('no such bucket');
  return bucketPolicy(bucket, principals, { writeOnce });
}

describe('for everybody', () => {
  const { Statement } = made(configOf(RICH)).document;
  const root = 'arn:aws:s3:::backups-a/teams/vault/v1';

  it('demands TLS, for all actions on bucket and objects', () => {
    for (const resource of ['arn:aws:s3:::backups-a', `${root}/prod/data/x`]) {
      const plain = { action: 's3:GetObject', resource, context: { 'aws:SecureTransport': 'false' } };
      expect(judge(Statement, plain)).toBe('denied explicitly');
      expect(judge(Statement, { ...plain, context: TLS })).toBe('deny');
    }
  });

  it.each(['prod/data/x', 'prod/sigs/x', 'prod/manifests/x', 'other/data/x', 'README.md'])(
    '%s is written once',
    (key) => {
      const put = (context: object) =>
        judge(Statement, { action: 's3:PutObject', resource: `${root}/${key}`, context: { ...CREATES, ...context } });
      expect(put({})).toBe('denied explicitly');
      expect(put(MATCH)).toBe('denied explicitly');
      expect(put(ABSENT)).toBe('deny');
    },
  );

  it.each(['prod/keys/x', 'prod/latest.json', 'prod/lease.json'])('%s is replaced only by name', (key) => {
    const put = (context: object) =>
      judge(Statement, { action: 's3:PutObject', resource: `${root}/${key}`, context: { ...CREATES, ...context } });
    expect(put({})).toBe('denied explicitly');
    expect(put(MATCH)).toBe('deny');
    expect(put(ABSENT)).toBe('deny');
  });

  it('lets the parts of an upload pass: they cannot carry a condition', () => {
    const part = { ...TLS, 's3:ObjectCreationOperation': 'false' };
    expect(judge(Statement, { action: 's3:PutObject', resource: `${root}/prod/data/x`, context: part })).toBe('deny');
  });

  it('grants nobody anything', () => {
    expect(Statement.filter(({ Effect }) => Effect === 'Allow')).toEqual([]);
    expect(made(configOf(RICH)).cautions.join()).toContain('--grant backup=');
  });
});

describe('for those who are named', () => {
  const { Statement } = made(configOf(RICH), NAMED).document;
  const of = (name: string) =>
    Statement.filter(
      ({ Principal }) => typeof Principal === 'object' && Principal.AWS.some((arn) => arn.endsWith(name)),
    );
  const object = 'arn:aws:s3:::backups-a/teams/vault/v1/prod/data/x';

  it('says what they may, for every cluster of the bucket', () => {
    for (const cluster of ['prod', 'test']) {
      const resource = `arn:aws:s3:::backups-a/teams/vault/v1/${cluster}/data/x`;
      expect(judge(of('/b'), { action: 's3:PutObject', resource })).toBe('allow');
      expect(judge(of('/s'), { action: 's3:PutObject', resource })).toBe('deny');
      expect(judge(of('/p'), { action: 's3:DeleteObjectVersion', resource })).toBe('allow');
    }
  });

  it('forbids deleting to all but prune, and the rules and locks to all', () => {
    for (const action of ['s3:DeleteObject', 's3:DeleteObjectVersion']) {
      expect(judge(of('/b'), { action, resource: object })).toBe('denied explicitly');
      expect(judge(of('/s'), { action, resource: object })).toBe('denied explicitly');
    }
    for (const name of ['/b', '/p', '/s']) {
      expect(judge(of(name), { action: 's3:BypassGovernanceRetention', resource: object })).toBe('denied explicitly');
      for (const action of ['s3:PutBucketPolicy', 's3:PutLifecycleConfiguration', 's3:PutBucketVersioning']) {
        expect(judge(of(name), { action, resource: 'arn:aws:s3:::backups-a' })).toBe('denied explicitly');
      }
    }
  });

  it('says when the login that prunes does more', () => {
    const both = { backup: ['arn:x'], prune: ['arn:x'] };
    expect(made(configOf(RICH), both).cautions.join()).toContain('give prune its own');
    expect(made(configOf(RICH), NAMED).cautions.join()).not.toContain('give prune its own');
  });
});

it('leaves out what would shut strongroom out, or what a store does not know, and says so', () => {
  const config = changed(PLAIN, 'region: eu-central-1', 'region: x, endpoint: "http://10.0.0.1:9000"');
  const { document, cautions } = made(config);
  expect(document.Statement.map(({ Sid }) => Sid)).toEqual(['DenyOverwritePrimary', 'DenyBlindReplacePrimary']);
  expect(cautions.join()).toContain('without TLS');
  expect(made(config, {}, false).document.Statement).toEqual([]);
  const without = changed(PLAIN, 'region: eu-central-1', 'region: eu-central-1, conditionalWrites: false');
  expect(made(without).document.Statement.map(({ Sid }) => Sid)).toEqual(['DenyWithoutTls']);
  expect(made(without).cautions.join()).toContain('conditionalWrites: false');
});

it('is one for all destinations of a bucket', () => {
  const shared = changed(
    RICH,
    'bucket: backups-b, region: eu-west-1, sse',
    'bucket: backups-a, region: eu-central-1, sse',
  );
  expect(bucketsOf(shared).map(({ uses }) => uses.map(({ name }) => name))).toEqual([['primary', 'second']]);
  const text = JSON.stringify(made(shared).document);
  expect(text).toContain('backups-a/teams/vault/v1/*/data/*');
  expect(text).toContain('backups-a/v1/*/data/*');
});

it('speaks of the partition of the bucket', () => {
  const config = changed(PLAIN, 'region: eu-central-1', 'region: cn-north-1');
  const principals = Object.fromEntries(ROLES.map((role) => [role, ['arn:aws-cn:iam::1:role/x']]));
  for (const { Resource } of made(config, principals).document.Statement) {
    for (const arn of Resource) expect(arn).toMatch(/^arn:aws-cn:s3:::backups-a/);
  }
});

describe('the lifecycle', () => {
  const rulesOf = (config: Config, expireDays: number | null = null) => {
    const [bucket] = bucketsOf(config);
    if (bucket === undefined) throw new Error('no bucket');
    return lifecycle(bucket, { expireDays });
  };

  it('clears away under each prefix, and never a snapshot', () => {
    const { document } = rulesOf(configOf(RICH));
    expect(document.Rules).toEqual([
      {
        ID: 'strongroom-clear-teams/vault/v1',
        Status: 'Enabled',
        Filter: { Prefix: 'teams/vault/v1/' },
        AbortIncompleteMultipartUpload: { DaysAfterInitiation: 2 },
        NoncurrentVersionExpiration: { NoncurrentDays: 30 },
        Expiration: { ExpiredObjectDeleteMarker: true },
      },
    ]);
  });

  it('takes the manifest before the rest, and neither README nor pointer nor lease', () => {
    const { document, cautions } = rulesOf(configOf(RICH), 90);
    const aged = document.Rules.flatMap(({ Filter: { Prefix }, Expiration }) =>
      Expiration !== undefined && 'Days' in Expiration ? [[Prefix, Expiration.Days]] : [],
    );
    const root = 'teams/vault/v1';
    expect(aged).toEqual(
      ['prod', 'test'].flatMap((name) => [
        [`${root}/${name}/manifests/`, 90],
        [`${root}/${name}/sigs/`, 91],
        [`${root}/${name}/data/`, 91],
        [`${root}/${name}/keys/`, 91],
      ]),
    );
    expect(cautions.join()).toContain('the last verified copy goes, too');
    expect(cautions.join()).not.toContain('locks for');
    expect(rulesOf(configOf(RICH), 7).cautions.join()).toContain('locks for 30 days');
  });

  it('has names that are short enough, and different', () => {
    const long = 'p'.repeat(300);
    const { document } = rulesOf(changed(RICH, 'teams/vault', long), 90);
    const ids = document.Rules.map(({ ID }) => ID);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Math.max(...ids.map((id) => id.length))).toBeLessThanOrEqual(255);
  });
});
