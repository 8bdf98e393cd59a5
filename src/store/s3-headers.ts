/** What goes along with an object: checksums, lock, encryption, class, tags. */

import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { CreateMultipartUploadCommandInput, ObjectLockMode } from '@aws-sdk/client-s3';
import type { S3Context } from './s3-context.ts';
import type { LockMode, PutOptions } from './store.ts';

/** The checksum fields of a part or an object; which one is set follows from the mode. */
export type Checksums = {
  ChecksumSHA256?: string;
  ChecksumCRC32?: string;
  ContentMD5?: string;
  /** Object Lock wants `x-amz-sdk-checksum-algorithm` or an MD5, besides the checksum itself. */
  ChecksumAlgorithm?: 'SHA256' | 'CRC32';
};

type ObjectHeaders = Pick<
  CreateMultipartUploadCommandInput,
  | 'ContentType'
  | 'Metadata'
  | 'ServerSideEncryption'
  | 'SSEKMSKeyId'
  | 'BucketKeyEnabled'
  | 'StorageClass'
  | 'Tagging'
  | 'ObjectLockMode'
  | 'ObjectLockRetainUntilDate'
>;

/** The fields that PutObject and CreateMultipartUpload have in common. */
export function objectHeaders(ctx: S3Context, options: Omit<PutOptions, 'signal' | 'condition'>): ObjectHeaders {
  const { sse, storageClass, tags } = ctx.options;
  return {
    ContentType: options.contentType,
    ...(options.metadata === undefined ? {} : { Metadata: { ...options.metadata } }),
    ...(sse === undefined ? {} : { ServerSideEncryption: sse.type }),
    ...(sse?.type === 'aws:kms' ? { SSEKMSKeyId: sse.keyId } : {}),
    ...(sse?.type === 'aws:kms' && sse.bucketKey !== undefined ? { BucketKeyEnabled: sse.bucketKey } : {}),
    ...(storageClass === undefined ? {} : { StorageClass: storageClass }),
    ...(hasTags(ctx) ? { Tagging: tagging(tags ?? {}) } : {}),
    ...(options.lock === undefined
      ? {}
      : { ObjectLockMode: lockMode(options.lock.mode), ObjectLockRetainUntilDate: options.lock.until }),
  };
}

/** The permissions that those fields need besides s3:PutObject. */
export function extraPermissions(ctx: S3Context, options: Pick<PutOptions, 'lock'>): string[] {
  return [
    ...(options.lock === undefined ? [] : ['s3:PutObjectRetention']),
    ...(hasTags(ctx) ? ['s3:PutObjectTagging'] : []),
    ...(ctx.options.sse?.type === 'aws:kms' ? ['kms:GenerateDataKey', 'kms:Decrypt'] : []),
  ];
}

/**
 * The checksums of bytes that can be read (again) by `read`, whose SHA-256 is known. Under a lock Amazon insists on a
 * checksum or an MD5, so mode `none` sends the MD5 then.
 */
export async function checksumsOf(
  ctx: S3Context,
  isLocked: boolean,
  sha256: Uint8Array,
  read: () => AsyncIterable<Uint8Array>,
): Promise<Checksums> {
  if (ctx.options.checksum === 'sha256') {
    return { ChecksumAlgorithm: 'SHA256', ChecksumSHA256: Buffer.from(sha256).toString('base64') };
  }
  if (ctx.options.checksum === 'crc32') {
    let crc = 0;
    for await (const chunk of read()) crc = crc32(chunk, crc);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(crc);
    return { ChecksumAlgorithm: 'CRC32', ChecksumCRC32: bytes.toString('base64') };
  }
  if (!isLocked) return {};
  const md5 = createHash('md5');
  for await (const chunk of read()) md5.update(chunk);
  return { ContentMD5: md5.digest('base64') };
}

/** S3's COMPOSITE over CRC-32s: base64 of the CRC-32 over the 4-byte sums of the parts, `-`, their number. */
export function compositeCrc32(parts: readonly string[]): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32(Buffer.concat(parts.map((part) => Buffer.from(part, 'base64')))));
  return `${bytes.toString('base64')}-${parts.length}`;
}

/** If-None-Match or If-Match, when the destination knows them. */
export function conditionHeaders(
  ctx: S3Context,
  condition: PutOptions['condition'],
): { IfNoneMatch?: string; IfMatch?: string } {
  if (!ctx.options.conditionalWrites) return {};
  return condition === 'absent' ? { IfNoneMatch: '*' } : { IfMatch: condition.etag };
}

/** An empty header would ask for the right to tag, too. */
function hasTags(ctx: S3Context): boolean {
  return Object.keys(ctx.options.tags ?? {}).length > 0;
}

/** As a query with %20 for a space: not every store takes a plus sign for one. */
function tagging(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map((pair) => pair.map(encodeURIComponent).join('='))
    .join('&');
}

/** The mode in the words of S3. */
export function lockMode(mode: LockMode): ObjectLockMode {
  return mode === 'governance' ? 'GOVERNANCE' : 'COMPLIANCE';
}
