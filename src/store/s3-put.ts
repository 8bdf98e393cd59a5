/** A small object in one request. */
import { createHash } from 'node:crypto';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { isError } from '../core/errors.ts';
import type { ObjectKey } from './layout.ts';
import {
  type Commit,
  type Committed,
  commit,
  confirm,
  findOurs,
  isDoubtful,
  unresolved,
  withdraw,
} from './s3-commit.ts';
import { refuseEarly } from './s3-condition.ts';
import { at, type S3Context, whereOf } from './s3-context.ts';
import { checksumsOf, conditionHeaders, extraPermissions, objectHeaders } from './s3-headers.ts';
import { BEFORE_SIGNING, signedPayload } from './s3-payload-hash.ts';
import { type ExpectedSums, fits, isSame } from './s3-same.ts';
import type { PutOptions, StoredObject } from './store.ts';

/** Stores `bytes`, which stay in memory until this settles. */
export async function putBytes(
  ctx: S3Context,
  key: ObjectKey,
  bytes: Uint8Array,
  options: PutOptions,
): Promise<StoredObject> {
  const sha256 = createHash('sha256').update(bytes).digest();
  const sums = await checksumsOf(ctx, options.lock !== undefined, sha256, async function* whole() {
    yield bytes;
  });
  const { ChecksumSHA256, ChecksumCRC32 } = sums;
  const expected: ExpectedSums = {
    ...(ChecksumSHA256 === undefined ? {} : { sha256: ChecksumSHA256 }),
    ...(ChecksumCRC32 === undefined ? {} : { crc32: ChecksumCRC32 }),
  };
  const body = { bytes: bytes.byteLength, partBytes: Math.max(1, bytes.byteLength), partSha256: [sha256] };
  const putting: Commit = {
    where: { ...whereOf(ctx, 'put', key), alsoNeeds: extraPermissions(ctx, options) },
    key,
    timeoutMs: ctx.partTimeoutMs,
    send: async (abortSignal) => {
      const command = new PutObjectCommand({
        ...at(ctx, key),
        ...objectHeaders(ctx, options),
        ...conditionHeaders(ctx, options.condition),
        ...sums,
        Body: bytes,
      });
      command.middlewareStack.add(signedPayload(sha256), BEFORE_SIGNING);
      const { VersionId: versionId, ETag: etag } = await ctx.client.send(command, { abortSignal });
      return { versionId, etag };
    },
    repeats: () => true,
    fits: (found) => fits(found, bytes.byteLength, expected),
    isOurs: (found) => isSame(ctx, key, found, body, expected),
  };
  if (!ctx.options.conditionalWrites) await refuseEarly(ctx, key, options);
  return confirm(ctx, putting, await put(ctx, putting, options), options);
}

async function put(ctx: S3Context, putting: Commit, { signal, condition, lock }: PutOptions): Promise<Committed> {
  try {
    return await commit(ctx, putting, signal);
  } catch (e) {
    // VersityGW refuses a lock that the bucket cannot keep after it has stored the object.
    const isHalfDone = lock !== undefined && condition === 'absent' && isError(e, 'E_PRECONDITION');
    if (!isHalfDone && !isDoubtful(e, signal)) throw e;
    const finding = await findOurs(ctx, putting);
    if (isHalfDone) {
      if (typeof finding === 'object') await withdraw(ctx, putting, finding.versionId);
      throw e;
    }
    if (typeof finding === 'object') return { versionId: finding.versionId };
    throw finding === 'unknown' ? unresolved(e) : e;
  }
}
