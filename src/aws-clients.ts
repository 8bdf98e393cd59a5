/** The AWS clients of a config. The only file that makes them; whoever asked for one destroys it. */
import type { KMSClient } from '@aws-sdk/client-kms';
import type { S3Client, StorageClass } from '@aws-sdk/client-s3';
import { readCredentials } from './app-secrets.ts';
import type { DestinationConfig, KmsKeyConfig } from './config/schema.ts';
import { kmsClientOptions } from './crypt/kms-call.ts';
import { MAX_SOCKETS, type S3StoreOptions, s3ClientDefaults } from './store/s3-options.ts';

type S3DestinationConfig = Extract<DestinationConfig, { type: 's3' }>;

/** What the store of the destination `name` is made of, on a client of {@link openS3Client}. */
export function s3StoreOptions(name: string, options: S3DestinationConfig, client: S3Client): S3StoreOptions {
  return {
    name,
    client,
    bucket: options.bucket,
    prefix: options.prefix,
    checksum: options.checksum,
    conditionalWrites: options.conditionalWrites,
    sse: options.sse,
    // The config takes any class that S3-compatible stores may know; the SDK's list is Amazon's.
    storageClass: options.storageClass as StorageClass | undefined,
    tags: options.tags,
  };
}

/** A client for one destination. Rejects as the references to its secrets do. */
export async function openS3Client(options: S3DestinationConfig, signal: AbortSignal): Promise<S3Client> {
  const { S3Client } = await import('@aws-sdk/client-s3');
  const defaults = s3ClientDefaults();
  const ca = await options.ca?.resolve(signal);
  return new S3Client({
    ...defaults,
    region: options.region,
    forcePathStyle: options.forcePathStyle,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(await readCredentials(options.credentials, signal)),
    ...(ca === undefined
      ? {}
      : { requestHandler: { ...defaults.requestHandler, httpsAgent: { maxSockets: MAX_SOCKETS, ca } } }),
  });
}

/** A client for one key's region. Rejects as the references to its secrets do. */
export async function openKmsClient(key: KmsKeyConfig, signal: AbortSignal): Promise<KMSClient> {
  const { KMSClient } = await import('@aws-sdk/client-kms');
  const defaults = kmsClientOptions(key.region);
  const ca = await key.ca?.resolve(signal);
  return new KMSClient({
    ...defaults,
    ...(key.endpoint === undefined ? {} : { endpoint: key.endpoint }),
    ...(await readCredentials(key.credentials, signal)),
    ...(ca === undefined ? {} : { requestHandler: { ...defaults.requestHandler, httpsAgent: { ca } } }),
  });
}
