/** The documents as a server takes them: accepted, kept, and given back as they are. */
import { randomUUID } from 'node:crypto';
import { CreateKeyCommand, GetKeyPolicyCommand, KMSClient, PutKeyPolicyCommand } from '@aws-sdk/client-kms';
import {
  GetBucketLifecycleConfigurationCommand,
  GetBucketPolicyCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { parseConfig } from '../../src/config/load.ts';
import { bucketPolicy } from '../../src/policy/bucket-policy.ts';
import { type Bucket, bucketsOf } from '../../src/policy/buckets.ts';
import { keyPolicy, policyKeys } from '../../src/policy/key-policy.ts';
import { lifecycle } from '../../src/policy/lifecycle.ts';
import { type S3Server, s3Client } from '../support/s3-connection.ts';
import { sharedServer } from '../support/shared-servers.ts';

let server: S3Server;
let s3: S3Client;
let kms: KMSClient;
const name = `documents-${randomUUID()}`;

/** Two destinations in one bucket, and a key. */
function configOf(keyId: string) {
  const place = `type: s3, bucket: ${name}, region: eu-west-1`;
  const text = `version: 1
destinations:
  a: { ${place}, prefix: teams/a }
  b: { ${place}, objectLock: { mode: governance, keep: 7d } }
encryption: { kms: [{ keyId: "${keyId}" }], minBreakGlass: 0, declineBreakGlass: there is none in this test }
signing: { key: file:signing.pem }
clusters:
  one: { nodes: [https://a:8200], auth: { method: token, token: env:T }, destinations: [a, b] }
  two: { nodes: [https://b:8200], auth: { method: token, token: env:T }, destinations: [b] }
`;
  return parseConfig(text, 'strongroom.yaml', { env: {} });
}

const ANY_KEY = 'arn:aws:kms:eu-west-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab';

function onlyBucket(): Bucket {
  const [bucket, ...others] = bucketsOf(configOf(ANY_KEY));
  expect(others).toEqual([]);
  return bucket as Bucket;
}

describe.skipIf(inject('localStackMissing') !== '')('on LocalStack', () => {
  beforeAll(async () => {
    server = await sharedServer('localstack');
    await server.createBucket(name, { objectLock: true });
    s3 = s3Client(server);
    kms = new KMSClient({
      endpoint: server.endpoint,
      region: 'eu-west-1',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    });
  });
  afterAll(() => {
    s3?.destroy();
    kms?.destroy();
  });

  test.each([null, 90])('lifecycle rules, with snapshots expiring after %s days', async (expireDays) => {
    const { document } = lifecycle(onlyBucket(), { expireDays });
    await s3.send(new PutBucketLifecycleConfigurationCommand({ Bucket: name, LifecycleConfiguration: document }));
    const { Rules } = await s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket: name }));
    expect({ Rules }).toEqual(document);
    expect(Rules?.map(({ Filter }) => Filter?.Prefix).slice(0, 2)).toEqual(['teams/a/v1/', 'v1/']);
  });

  test('a bucket policy', async () => {
    const role = (role: string) => [`arn:aws:iam::000000000000:role/${role}`];
    const principals = { backup: role('backup'), restore: role('restore'), prune: role('prune') };
    const { document } = bucketPolicy(onlyBucket(), principals, { writeOnce: true });
    await s3.send(new PutBucketPolicyCommand({ Bucket: name, Policy: JSON.stringify(document) }));
    const { Policy } = await s3.send(new GetBucketPolicyCommand({ Bucket: name }));
    expect(JSON.parse(Policy ?? '')).toEqual(document);
  });

  test('a key policy', async () => {
    const { KeyMetadata } = await kms.send(new CreateKeyCommand({}));
    const config = configOf(KeyMetadata?.Arn ?? '');
    const [key] = policyKeys(config);
    if (key === undefined) throw new Error('the config has a key');
    const { document } = keyPolicy(key, {}, config);
    const which = { KeyId: key.arn, PolicyName: 'default' };
    await kms.send(new PutKeyPolicyCommand({ ...which, Policy: JSON.stringify(document) }));
    const { Policy } = await kms.send(new GetKeyPolicyCommand(which));
    expect(JSON.parse(Policy ?? '')).toEqual(document);
  });
});
