import { describe, expect, it } from 'vitest';
import type { Config } from '../../../src/config/load.ts';
import { identityPolicy } from '../../../src/policy/iam.ts';
import { ROLES, type Role } from '../../../src/policy/roles.ts';
import { judge } from '../../support/policy-judge.ts';
import { ACCOUNT, changed, clusterOf, configOf, KEYS, PLAIN, RICH } from './configs.ts';

const PRIMARY = 'arn:aws:s3:::backups-a';
const SECOND = 'arn:aws:s3:::backups-b';
const OURS = { 'kms:EncryptionContext:cluster': 'prod', 'kms:EncryptionContext:snapshot': 'X' };
const VIA_S3 = { 'kms:ViaService': 's3.eu-west-1.amazonaws.com' };

function says(config: Config, role: Role, action: string, resource: string, context: Record<string, string> = {}) {
  const { document } = identityPolicy(config, clusterOf(config).name, role);
  return judge(document.Statement, { action, resource, context }) === 'allow';
}

/** The roles that may. */
function whoMay(config: Config, action: string, resource: string, context: Record<string, string> = {}): Role[] {
  return ROLES.filter((role) => says(config, role, action, resource, context));
}

function actionsOf(config: Config, role: Role): Set<string> {
  const { document } = identityPolicy(config, clusterOf(config).name, role);
  return new Set(document.Statement.flatMap(({ Action }) => Action));
}

describe('the objects of a cluster', () => {
  const config = configOf(RICH);
  const key = `${PRIMARY}/teams/vault/v1/prod`;

  it('are read by all, and written and deleted by those who must', () => {
    expect(whoMay(config, 's3:GetObject', `${key}/data/x`)).toEqual(ROLES);
    expect(whoMay(config, 's3:PutObject', `${key}/data/x`)).toEqual(['backup', 'restore']);
    expect(whoMay(config, 's3:PutObject', `${key}/keys/x`)).toEqual(['backup', 'restore', 'rewrap']);
    expect(whoMay(config, 's3:PutObject', `${key}/lease.json`)).toEqual(['backup', 'restore', 'prune']);
    for (const action of ['s3:DeleteObject', 's3:DeleteObjectVersion']) {
      expect(whoMay(config, action, `${key}/data/x`)).toEqual(['prune']);
    }
  });

  it('are its own alone: not those of another cluster, another prefix or the bucket', () => {
    for (const other of ['teams/vault/v1/test/data/x', 'v1/prod/data/x', 'teams/vault/v1/prod-2/data/x']) {
      expect(whoMay(config, 's3:GetObject', `${PRIMARY}/${other}`)).toEqual([]);
      expect(whoMay(config, 's3:PutObject', `${PRIMARY}/${other}`)).toEqual([]);
    }
    const prefix = (value: string) => ({ 's3:prefix': value });
    expect(whoMay(config, 's3:ListBucket', PRIMARY, prefix('teams/vault/v1/prod/manifests/'))).toEqual(ROLES);
    expect(whoMay(config, 's3:ListBucket', PRIMARY, prefix('teams/vault/v1/test/manifests/'))).toEqual([]);
    expect(whoMay(config, 's3:ListBucket', PRIMARY, prefix(''))).toEqual([]);
    expect(whoMay(config, 's3:ListBucket', PRIMARY)).toEqual([]);
    expect(whoMay(config, 's3:ListBucket', SECOND, prefix('v1/prod/manifests/'))).toEqual(ROLES);
  });

  it('never let anybody around a lock, or at the rules of the bucket', () => {
    for (const role of ROLES) {
      for (const action of actionsOf(config, role)) {
        expect(action).not.toMatch(/\*|Bypass|Put(?:Bucket|Lifecycle)|Delete(?:Bucket)|Acl|ScheduleKeyDeletion/);
      }
    }
  });
});

it('asks for the lock, its look and the tags only where the config has them', () => {
  const special = [
    's3:PutObjectRetention',
    's3:GetObjectRetention',
    's3:GetBucketObjectLockConfiguration',
    's3:PutObjectTagging',
  ];
  const plain = actionsOf(configOf(PLAIN), 'backup');
  const rich = actionsOf(configOf(RICH), 'backup');
  expect(special.filter((action) => plain.has(action))).toEqual([]);
  expect(special.filter((action) => rich.has(action))).toEqual(special);
});

describe('the keys', () => {
  const config = configOf(RICH);

  it('wrap for the backup, open for those who restore and verify, and only in the context of the cluster', () => {
    for (const key of [KEYS.frankfurt, KEYS.dublin]) {
      expect(whoMay(config, 'kms:Encrypt', key, OURS)).toEqual(['backup', 'restore', 'rewrap']);
      expect(whoMay(config, 'kms:Decrypt', key, OURS)).toEqual(['restore', 'verify', 'rewrap']);
      expect(whoMay(config, 'kms:ReEncryptTo', key, OURS)).toEqual(['rewrap']);
      for (const action of ['kms:Encrypt', 'kms:Decrypt', 'kms:ReEncryptFrom']) {
        expect(whoMay(config, action, key, { 'kms:EncryptionContext:cluster': 'test' })).toEqual([]);
        expect(whoMay(config, action, key)).toEqual([]);
      }
    }
  });

  it('sign for those who make snapshots, and nothing but a digest', () => {
    const digest = { 'kms:SigningAlgorithm': 'ECDSA_SHA_256', 'kms:MessageType': 'DIGEST' };
    expect(whoMay(config, 'kms:Sign', KEYS.signing, digest)).toEqual(['backup', 'restore']);
    expect(whoMay(config, 'kms:Sign', KEYS.signing, { ...digest, 'kms:MessageType': 'RAW' })).toEqual([]);
    expect(whoMay(config, 'kms:GetPublicKey', KEYS.signing)).toEqual(ROLES);
    const pem = '"-----BEGIN PUBLIC KEY-----\\nx"';
    const trusting = changed(
      RICH,
      `kms: { keyId: "${KEYS.signing}" }`,
      `kms: { keyId: "${KEYS.signing}" }, trusted: [${pem}]`,
    );
    expect(whoMay(trusting, 'kms:GetPublicKey', KEYS.signing)).toEqual(['backup', 'restore']);
  });

  it('of the seal are tried, and by nobody opened', () => {
    const probe = { 'kms:EncryptionContext:cluster': 'prod', 'kms:EncryptionContext:snapshot': 'seal-probe' };
    expect(whoMay(config, 'kms:Encrypt', KEYS.seal, probe)).toEqual(['backup', 'restore']);
    expect(whoMay(config, 'kms:Encrypt', KEYS.seal, OURS)).toEqual([]);
    expect(whoMay(config, 'kms:Decrypt', KEYS.seal, probe)).toEqual([]);
  });

  it('of a bucket are used through S3 alone', () => {
    expect(whoMay(config, 'kms:Decrypt', KEYS.bucket, VIA_S3)).toEqual(ROLES);
    expect(whoMay(config, 'kms:Decrypt', KEYS.bucket, OURS)).toEqual([]);
    const writers = ['backup', 'restore', 'rewrap', 'prune'];
    expect(whoMay(config, 'kms:GenerateDataKey', KEYS.bucket, VIA_S3)).toEqual(writers);
  });

  it('of a bucket may be an alias, a bare id, or the account’s own', () => {
    const alias = changed(RICH, KEYS.bucket, 'alias/backups');
    const has = { ...VIA_S3, 'kms:ResourceAliases': 'alias/backups' };
    expect(says(alias, 'verify', 'kms:Decrypt', KEYS.bucket, has)).toBe(true);
    expect(says(alias, 'verify', 'kms:Decrypt', KEYS.bucket, VIA_S3)).toBe(false);
    const bare = changed(RICH, KEYS.bucket, KEYS.bucket.slice(KEYS.bucket.lastIndexOf('/') + 1));
    expect(says(bare, 'verify', 'kms:Decrypt', KEYS.bucket, VIA_S3)).toBe(true);
    expect(says(bare, 'verify', 'kms:Decrypt', KEYS.dublin, VIA_S3)).toBe(false);
    const none = changed(RICH, `, keyId: "${KEYS.bucket}"`, '');
    expect(whoMay(none, 'kms:Decrypt', KEYS.bucket, VIA_S3)).toEqual([]);
    expect(identityPolicy(none, clusterOf(none).name, 'backup').cautions.join()).toContain('aws/s3');
  });

  it('of a cluster replace those of the config', () => {
    const own = `encryption: { kms: [{ keyId: "${KEYS.dublin}" }] }, sealKms`;
    const replaced = changed(RICH, 'sealKms', own);
    expect(says(replaced, 'restore', 'kms:Decrypt', KEYS.dublin, OURS)).toBe(true);
    expect(says(replaced, 'restore', 'kms:Decrypt', KEYS.frankfurt, OURS)).toBe(false);
  });
});

describe.each([
  ['cn-north-1', 'aws-cn'],
  ['us-gov-west-1', 'aws-us-gov'],
  ['us-iso-east-1', 'aws-iso'],
  ['us-isob-east-1', 'aws-iso-b'],
  ['eusc-de-east-1', 'aws-eusc'],
  ['eu-central-1', 'aws'],
])('in %s', (region, partition) => {
  it('speaks of its partition', () => {
    const key = `arn:${partition}:kms:${region}:${ACCOUNT}:key/${'1'.repeat(8)}-12ab-34cd-56ef-1234567890ab`;
    const config = configOf(PLAIN.replace('region: eu-central-1', `region: ${region}`).replace(KEYS.frankfurt, key));
    for (const role of ROLES) {
      const { document, cautions } = identityPolicy(config, clusterOf(config).name, role);
      const all = document.Statement.flatMap(({ Resource }) => Resource.map((arn) => arn.split(':')[1]));
      expect(new Set(all)).toEqual(new Set([partition]));
      expect(cautions.filter((caution) => caution.includes('no login lives in two'))).toEqual([]);
    }
  });
});

it('says when one login cannot have it all', () => {
  const mixed = changed(RICH, 'region: eu-west-1, sse', 'region: cn-north-1, sse');
  const all = identityPolicy(mixed, clusterOf(mixed).name, 'backup').cautions;
  expect(all.join()).toContain('resources in aws and aws-cn');
  const one = identityPolicy(mixed, clusterOf(mixed).name, 'backup', { destination: 'primary' });
  expect(one.cautions).toEqual([]);
  expect(JSON.stringify(one.document)).not.toMatch(/backups-b|kms:/);
});

it('names destinations with an endpoint or a login of their own', () => {
  const apart = changed(PLAIN, 'region: eu-central-1', 'region: here, endpoint: https://minio.internal:9000');
  const { document, cautions } = identityPolicy(apart, clusterOf(apart).name, 'backup');
  expect(cautions).toEqual([expect.stringContaining('--destination primary')]);
  expect(JSON.stringify(document)).toContain('arn:aws:s3:::backups-a/v1/prod/*');
});

it('says when it is too long for a managed policy', () => {
  const names = Array.from({ length: 12 }, (_, i) => `d${i}`);
  const places = names.map((name) => `  ${name}: { type: s3, bucket: bucket-${name}, region: eu-west-1 }`).join('\n');
  const text = PLAIN.replace(/ {2}primary: .*/, places).replace('[primary]', `[${names.join(', ')}]`);
  const config = configOf(text);
  expect(identityPolicy(config, clusterOf(config).name, 'backup').cautions.join()).toMatch(
    /\d+ characters, and a managed/,
  );
  expect(identityPolicy(configOf(PLAIN), clusterOf(configOf(PLAIN)).name, 'backup').cautions).toEqual([]);
});

it('gives every statement a name of letters and digits, and each only once', () => {
  for (const role of ROLES) {
    const config = configOf(RICH);
    const sids = identityPolicy(config, clusterOf(config).name, role).document.Statement.map(({ Sid }) => Sid);
    expect(new Set(sids).size).toBe(sids.length);
    for (const sid of sids) expect(sid).toMatch(/^[A-Za-z0-9]+$/);
  }
});
