/** What an S3 destination is made of, and the client settings that go with it. */
import type { S3Client, S3ClientConfig, StorageClass } from '@aws-sdk/client-s3';
import type { RetryPolicy } from '../core/retry.ts';
import type { UnfinishedUpload } from './store.ts';

/**
 * `sha256`: a checksum for every part, which the store keeps and shows again. `crc32`: the same with CRC-32, for stores
 * that know no SHA-256. `none`: no checksum headers. In all three the SHA-256 of the bytes is part of the signature,
 * so that a store which checks signatures refuses changed bytes.
 */
export type ChecksumMode = 'sha256' | 'crc32' | 'none';

export type SseOption =
  | { type: 'AES256' }
  | { type: 'aws:kms'; keyId?: string | undefined; bucketKey?: boolean | undefined };

export type S3StoreOptions = {
  /** the destination's name in the config */
  name: string;
  /** made with {@link s3ClientDefaults}; whoever made it destroys it, after the store is no longer used */
  client: S3Client;
  bucket: string;
  /** put before every key; `backups` and `backups/` mean the same */
  prefix?: string | undefined;
  checksum: ChecksumMode;
  /**
   * Does the store keep If-None-Match and If-Match? Without them "write once" is a look before the write: two writers
   * at the same moment may both succeed.
   */
  conditionalWrites: boolean;
  sse?: SseOption | undefined;
  storageClass?: StorageClass | undefined;
  tags?: Readonly<Record<string, string>> | undefined;
  /** parts of one object in flight; default 3 */
  partConcurrency?: number | undefined;
  /** tries of one request or part; default 5 tries, 0.5 s to 15 s apart */
  retry?: RetryPolicy | undefined;
  /** the longest one try of a part may take, in milliseconds; default 5 minutes (16 MiB at 56 kB/s) */
  partTimeoutMs?: number | undefined;
  /** the longest one try of any other request may take, in milliseconds; default 60 s */
  requestTimeoutMs?: number | undefined;
  /** the longest silence inside a download before it is resumed, in milliseconds; default 60 s */
  stallTimeoutMs?: number | undefined;
  /** after an abort: how long a commit on the wire may still bring its answer, in milliseconds; default 10 s */
  commitGraceMs?: number | undefined;
  /** how long aborting an upload, or looking what became of it, may take, in milliseconds; default 30 s */
  cleanupTimeoutMs?: number | undefined;
  /** told of an upload that failed and could not be aborted either: its parts cost money until someone removes them */
  onLeftover?: ((upload: UnfinishedUpload, e: unknown) => void) | undefined;
};

/** A worker's runs share one client: 64 of them with three parts in flight each must not wait for one another. */
export const MAX_SOCKETS = 256;

// The SDK warns on the console when a streamed request fails, although that part is sent again by us.
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * The settings an {@link S3Client} for a store should have; add region, endpoint, credentials and `forcePathStyle`.
 *
 * - one attempt: the store repeats requests itself, because it must know when an answer may have been lost.
 * - checksums only where required: the store sends its own, and CRC64NVME in JavaScript runs at 91 MB/s.
 * - no correction of the clock: a clock that is wrong also makes wrong ids and wrong lock dates, so it must be seen.
 */
export function s3ClientDefaults(): S3ClientConfig {
  return {
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    disableClockSkewCorrection: true,
    requestHandler: {
      connectionTimeout: 5_000,
      socketTimeout: 60_000,
      httpAgent: { maxSockets: MAX_SOCKETS },
      httpsAgent: { maxSockets: MAX_SOCKETS },
    },
    logger: silent,
  };
}
