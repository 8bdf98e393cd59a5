/** The AWS clients of a config. The only file that makes them; whoever asked for one destroys it. */
import type { KMSClient } from '@aws-sdk/client-kms';
import type { S3Client } from '@aws-sdk/client-s3';
import { readCredentials } from './app-secrets.ts';
import type { DestinationConfig, KmsKeyConfig } from './config/schema.ts';
import { kmsClientOptions } from './crypt/kms-call.ts';
import { s3ClientDefaults } from './store/s3-options.ts';

/** A client for one destination. Rejects as the references to its secrets do. */
export async function openS3Client(
  options: Extract<DestinationConfig, { type: 's3' }>,
  signal: AbortSignal,
): Promise<S3Client> {
  const { S3Client } = await import('@aws-sdk/client-s3');
  const defaults = s3ClientDefaults();
  const ca = await options.ca?.resolve(signal);
  return new S3Client({
    ...defaults,
    region: options.region,
    forcePathStyle: options.forcePathStyle,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(await readCredentials(options.credentials, signal)),
    ...(ca === undefined ? {} : { requestHandler: { ...defaults.requestHandler, httpsAgent: { ca } } }),
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
