import {
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { describe, expect, inject, test } from 'vitest';
import { s3Client } from '../support/s3-connection.ts';
import { type RunningS3, startLocalStack, startMoto, startVersityGw } from '../support/s3-servers.ts';

const servers: [string, () => Promise<RunningS3>][] = [
  ['VersityGW', startVersityGw],
  ['moto', startMoto],
];
if (inject('localStackMissing') === '') servers.push(['LocalStack', startLocalStack]);

describe.each(servers)('%s', (_name, start) => {
  test('keeps objects, versions and locks, and is gone afterwards', async () => {
    const server = await start();
    const client = s3Client(server);
    try {
      await server.createBucket('plain');
      await client.send(new PutObjectCommand({ Bucket: 'plain', Key: 'a/b', Body: 'content' }));
      const got = await client.send(new GetObjectCommand({ Bucket: 'plain', Key: 'a/b' }));
      expect(await got.Body?.transformToString()).toBe('content');

      await server.createBucket('versioned', { versioning: true });
      expect((await client.send(new GetBucketVersioningCommand({ Bucket: 'versioned' }))).Status).toBe('Enabled');
      expect((await client.send(new GetBucketVersioningCommand({ Bucket: 'plain' }))).Status).toBeUndefined();

      await server.createBucket('locked', { objectLock: true });
      const lock = await client.send(new GetObjectLockConfigurationCommand({ Bucket: 'locked' }));
      expect(lock.ObjectLockConfiguration?.ObjectLockEnabled).toBe('Enabled');
    } finally {
      client.destroy();
      await server[Symbol.asyncDispose]();
    }
    await expect(fetch(server.endpoint)).rejects.toThrow('fetch failed');
  });
});
