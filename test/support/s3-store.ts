/** A store on a fresh bucket of a running S3 server. */
import { randomUUID } from 'node:crypto';
import { S3Client } from '@aws-sdk/client-s3';
import { S3Store } from '../../src/store/s3.ts';
import { type S3StoreOptions, s3ClientDefaults } from '../../src/store/s3-options.ts';
import { type BucketOptions, type S3Connection, s3Server } from './s3-connection.ts';

export type OpenedS3Store = AsyncDisposable & { store: S3Store; client: S3Client; bucket: string };

/** Creates the bucket; `via` = reach it through another endpoint, such as a proxy. Disposing ends the client. */
export async function openS3Store(
  server: S3Connection,
  bucketOptions: BucketOptions,
  options: Partial<S3StoreOptions> & { via?: string } = {},
): Promise<OpenedS3Store> {
  const bucket = options.bucket ?? `b-${randomUUID()}`;
  if (options.bucket === undefined) await s3Server(server).createBucket(bucket, bucketOptions);
  const { via, ...rest } = options;
  const client = new S3Client({
    ...s3ClientDefaults(),
    endpoint: via ?? server.endpoint,
    region: server.region,
    credentials: { accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey },
    forcePathStyle: true,
  });
  const store = new S3Store({
    name: 'primary',
    client,
    bucket,
    prefix: 'backups',
    checksum: 'sha256',
    conditionalWrites: true,
    retry: { attempts: 4, baseMs: 20, maxMs: 200 },
    ...rest,
  });
  return {
    store,
    client,
    bucket,
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      client.destroy();
    },
  };
}
