import { describe, expect, it } from 'vitest';
import type { Config } from '../../../src/config/load.ts';
import { keyPolicy, policyKeys } from '../../../src/policy/key-policy.ts';
import type { Principals } from '../../../src/policy/roles.ts';
import { judge } from '../../support/policy-judge.ts';
import { ACCOUNT, changed, configOf, KEYS, PLAIN, RICH } from './configs.ts';

const ROOT = `arn:aws:iam::${ACCOUNT}:root`;
const NAMED: Principals = { backup: ['arn:b'], restore: ['arn:r'] };

function made(config: Config, arn: string, principals: Principals = {}) {
  const key = policyKeys(config).find((one) => one.arn === arn);
  if (key === undefined) throw new Error(`the config has no ${arn}`);
  const { document, cautions } = keyPolicy(key, principals, config);
  const may = (who: string, action: string, context: Record<string, string> = {}) => {
    const own = document.Statement.filter(
      ({ Principal }) => typeof Principal === 'object' && Principal.AWS.includes(who),
    );
    return judge(own, { action, resource: arn, context }) === 'allow';
  };
  return { document, cautions, may };
}

it('names every key with a full ARN, once', () => {
  expect(policyKeys(configOf(RICH)).map(({ arn }) => arn)).toEqual([
    KEYS.frankfurt,
    KEYS.dublin,
    KEYS.signing,
    KEYS.seal,
    KEYS.bucket,
  ]);
  expect(policyKeys(changed(RICH, KEYS.bucket, 'alias/x')).map(({ arn }) => arn)).not.toContain('alias/x');
});

describe('a wrapping key', () => {
  const context = (cluster: string) => ({ 'kms:EncryptionContext:cluster': cluster });

  it('wraps for the backup and opens for the restore, of the clusters that use it', () => {
    const { may, cautions } = made(configOf(RICH), KEYS.frankfurt, NAMED);
    for (const cluster of ['prod', 'test']) {
      expect(may('arn:b', 'kms:Encrypt', context(cluster))).toBe(true);
      expect(may('arn:b', 'kms:Decrypt', context(cluster))).toBe(false);
      expect(may('arn:r', 'kms:Decrypt', context(cluster))).toBe(true);
    }
    expect(may('arn:b', 'kms:Encrypt', context('other'))).toBe(false);
    expect(may('arn:r', 'kms:Decrypt')).toBe(false);
    expect(cautions).toEqual([]);
  });

  it('is administered from its account, and used by nobody there', () => {
    const { may } = made(configOf(RICH), KEYS.frankfurt, NAMED);
    expect(may(ROOT, 'kms:ScheduleKeyDeletion')).toBe(true);
    expect(may(ROOT, 'kms:PutKeyPolicy')).toBe(true);
    for (const action of ['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey', 'kms:ReEncryptFrom', 'kms:Sign']) {
      expect(may(ROOT, action, context('prod'))).toBe(false);
    }
  });

  it('is left to the IAM of its account where nobody is named', () => {
    const { may, cautions } = made(configOf(PLAIN), KEYS.frankfurt);
    expect(may(ROOT, 'kms:Decrypt', context('prod'))).toBe(true);
    expect(may(ROOT, 'kms:Decrypt', context('other'))).toBe(false);
    expect(cautions.join()).toContain('the IAM of the account decides');
  });

  it('says when nobody could restore', () => {
    expect(made(configOf(PLAIN), KEYS.frankfurt, { backup: ['arn:b'] }).cautions.join()).toContain('--grant restore=');
  });

  it('is in the partition of its ARN', () => {
    const key = KEYS.frankfurt.replace('arn:aws:', 'arn:aws-us-gov:').replace('eu-central-1', 'us-gov-west-1');
    const { document } = made(changed(PLAIN, KEYS.frankfurt, key), key);
    for (const { Principal } of document.Statement) {
      expect(Principal).toEqual({ AWS: [`arn:aws-us-gov:iam::${ACCOUNT}:root`] });
    }
  });
});

it('a signing key signs digests', () => {
  const { may } = made(configOf(RICH), KEYS.signing, NAMED);
  const digest = { 'kms:SigningAlgorithm': 'ECDSA_SHA_256', 'kms:MessageType': 'DIGEST' };
  expect(may('arn:b', 'kms:Sign', digest)).toBe(true);
  expect(may('arn:b', 'kms:Sign')).toBe(false);
  expect(may('arn:r', 'kms:GetPublicKey')).toBe(true);
});

describe.each([
  ['a seal', KEYS.seal, 'never replace it, or no node opens again'],
  ['a bucket', KEYS.bucket, 'do not replace it'],
])('the key of %s', (_what, arn, caution) => {
  it('gets additions only: a document that AWS refuses as a whole policy', () => {
    const { document, cautions, may } = made(configOf(RICH), arn, NAMED);
    expect(cautions.join()).toContain(caution);
    expect(may(ROOT, 'kms:PutKeyPolicy')).toBe(false);
    expect(document.Statement.flatMap(({ Action }) => Action).join()).not.toMatch(/Put|Delet|\*/);
    expect(document.Statement.length).toBeGreaterThan(0);
  });
});

it('stays a seal key that also is something else', () => {
  // The config refuses it as a wrapping key of the same cluster; of another one it may be.
  const config = changed(
    PLAIN,
    'destinations: [primary] }',
    `destinations: [primary] }
  other: { nodes: [https://o:8200], auth: { method: token, token: env:T }, destinations: [primary], encryption: { kms: [{ keyId: "${KEYS.dublin}" }] }, sealKms: { keyId: "${KEYS.frankfurt}" } }`,
  );
  const { document, cautions } = made(config, KEYS.frankfurt);
  expect(cautions.join()).toContain('never replace it');
  expect(document.Statement.map(({ Sid }) => Sid)).not.toContain('Administer');
});
