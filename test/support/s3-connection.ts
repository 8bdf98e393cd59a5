/** How to reach a started S3 server, and the one thing every test does first: a bucket of its own. */

import { BucketVersioningStatus, CreateBucketCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3';

/** Plain data: it travels from the process that started the server to the workers. */
export type S3Connection = {
  /** http://127.0.0.1:<port>, path style */
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** of the server, for SIGSTOP and the like; leader of its process group */
  pid: number;
};

export type BucketOptions = {
  versioning?: boolean;
  /** implies versioning */
  objectLock?: boolean;
};

export type S3Server = S3Connection & {
  /** @throws the SDK's error, also when the bucket exists */
  createBucket: (name: string, options?: BucketOptions) => Promise<void>;
};

/** @returns a client with the settings all our servers need; the caller destroys it */
export function s3Client(to: S3Connection): S3Client {
  return new S3Client({
    endpoint: to.endpoint,
    region: to.region,
    credentials: { accessKeyId: to.accessKeyId, secretAccessKey: to.secretAccessKey },
    forcePathStyle: true,
  });
}

/** Adds what a test does with a connection to the data. */
export function s3Server(connection: S3Connection): S3Server {
  return {
    ...connection,
    createBucket: async (name, options = {}) => {
      const client = s3Client(connection);
      try {
        const ObjectLockEnabledForBucket = options.objectLock ?? false;
        await client.send(new CreateBucketCommand({ Bucket: name, ObjectLockEnabledForBucket }));
        if (!options.versioning && !options.objectLock) return;
        const VersioningConfiguration = { Status: BucketVersioningStatus.Enabled };
        await client.send(new PutBucketVersioningCommand({ Bucket: name, VersioningConfiguration }));
      } finally {
        client.destroy();
      }
    },
  };
}
