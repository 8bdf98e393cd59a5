/** Answers of S3 as a StoredObject. */
import type { HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import { StrongroomError } from '../core/errors.ts';
import type { ObjectKey } from './layout.ts';
import { phrase, type Where } from './s3-where.ts';
import type { LockMode, StoredObject } from './store.ts';

export type FoundObject = StoredObject & {
  /** the CRC-32 that the store keeps, in the form of `sha256` */
  crc32?: string;
};

/** Throws E_STORE_RESPONSE when the answer lacks what every S3 gives. */
export function fromHead(key: ObjectKey, head: HeadObjectCommandOutput, where: Where): FoundObject {
  const { ContentLength: bytes, ETag: etag, LastModified: modifiedAt, Metadata: metadata } = head;
  if (bytes === undefined || etag === undefined || modifiedAt === undefined) {
    throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: an answer without size, ETag or time`);
  }
  const lock = lockOf(head.ObjectLockMode, head.ObjectLockRetainUntilDate);
  return {
    key,
    bytes,
    etag,
    modifiedAt,
    ...(isVersion(head.VersionId) ? { versionId: head.VersionId } : {}),
    ...(head.ChecksumSHA256 === undefined ? {} : { sha256: head.ChecksumSHA256 }),
    ...(head.ChecksumCRC32 === undefined ? {} : { crc32: head.ChecksumCRC32 }),
    ...(metadata === undefined || Object.keys(metadata).length === 0 ? {} : { metadata }),
    ...(lock === undefined ? {} : { lock }),
    ...(head.ObjectLockLegalHoldStatus === 'ON' ? { isLegallyHeld: true } : {}),
  };
}

/** A version that can be asked for: `null` is what unversioned objects are called. */
function isVersion(versionId: string | undefined): versionId is string {
  return versionId !== undefined && versionId !== '' && versionId !== 'null';
}

function lockOf(mode: string | undefined, until: Date | undefined): { mode: LockMode; until: Date } | undefined {
  if (until === undefined) return undefined;
  if (mode === 'COMPLIANCE') return { mode: 'compliance', until };
  return mode === 'GOVERNANCE' ? { mode: 'governance', until } : undefined;
}
