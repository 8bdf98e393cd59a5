import { HeadBucketCommand } from '@aws-sdk/client-s3';
import { describe, expect, inject, test } from 'vitest';
import { s3Client } from '../support/s3-connection.ts';
import { type SharedName, sharedServer } from '../support/shared-servers.ts';

const names: SharedName[] = inject('localStackMissing') === '' ? ['versitygw', 'localstack'] : ['versitygw'];

describe.each(names)('the shared %s', (name) => {
  test('is one server for all who ask', async () => {
    const [first, second] = await Promise.all([sharedServer(name), sharedServer(name)]);
    expect(second.pid).toBe(first.pid);
    await first.createBucket('shared-servers-test');
    const client = s3Client(second);
    const head = await client.send(new HeadBucketCommand({ Bucket: 'shared-servers-test' }));
    expect(head.$metadata.httpStatusCode).toBe(200);
    client.destroy();
  });
});
