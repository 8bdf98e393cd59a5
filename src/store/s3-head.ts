/** Looking at one object: what S3 keeps of it, and why a HEAD was refused. */
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { ObjectKey } from './layout.ts';
import { at, request, type S3Context, sendOnce, whereOf } from './s3-context.ts';
import { answerOf } from './s3-errors.ts';
import { type FoundObject, fromHead } from './s3-object.ts';

/** How long an answer of the bucket proves that it is there, in milliseconds. */
const PROOF_MS = 60_000;

/** null = not there, which includes a delete marker. A missing bucket is no missing object: E_STORE_BUCKET. */
export async function lookFor(
  ctx: S3Context,
  key: ObjectKey,
  signal: AbortSignal,
  versionId?: string,
): Promise<FoundObject | null> {
  const where = whereOf(ctx, 'head', key, versionId);
  const input = { ...at(ctx, key), ...(versionId === undefined ? {} : { VersionId: versionId }) };
  try {
    const head = await request(ctx, where, signal, (abortSignal) =>
      ctx.client.send(
        new HeadObjectCommand({ ...input, ...(ctx.options.checksum === 'none' ? {} : { ChecksumMode: 'ENABLED' }) }),
        { abortSignal },
      ),
    );
    return fromHead(key, head, where);
  } catch (e) {
    if (isError(e, 'E_NOT_FOUND')) {
      await proveBucket(ctx, key, signal);
      return null;
    }
    if (isError(e) && isMute(e)) throw await explained(ctx, input, e, signal);
    throw e;
  }
}

/**
 * The 404 of a HEAD has no words: it may mean the object, the bucket, or on VersityGW a user that was removed. A listing
 * has a body. Asked once a minute at most, and only while nothing else succeeds. Of the key alone: a login may be allowed
 * to list no more than its own cluster.
 */
async function proveBucket(ctx: S3Context, key: ObjectKey, signal: AbortSignal): Promise<void> {
  if (performance.now() - ctx.seenBucketAt < PROOF_MS) return;
  const input = { Bucket: ctx.bucket, Prefix: at(ctx, key).Key, MaxKeys: 1 };
  try {
    await request(ctx, whereOf(ctx, 'list', ''), signal, (abortSignal) =>
      ctx.client.send(new ListObjectsV2Command(input), { abortSignal }),
    );
  } catch (e) {
    // Who may not list the bucket gets no 404 for a missing key on Amazon; where one came all the same, it is believed.
    if (answerOf(e) !== 'AccessDenied') throw e;
  }
}

/** Was the refusal one without a body, so that a code is missing? */
function isMute(e: StrongroomError): boolean {
  const status = e.details['status'];
  return status === 400 || status === 403;
}

/** Asks for one byte with GET, whose refusal has a body: ExpiredToken and AccessDenied are told apart. */
async function explained(
  ctx: S3Context,
  input: { Bucket: string; Key: string; VersionId?: string },
  mute: StrongroomError,
  signal: AbortSignal,
): Promise<unknown> {
  const where = whereOf(ctx, 'head', String(mute.details['key']), input.VersionId);
  try {
    const answer = await sendOnce(where, ctx.requestTimeoutMs, signal, (abortSignal) =>
      ctx.client.send(new GetObjectCommand({ ...input, Range: 'bytes=0-0' }), { abortSignal }),
    );
    await answer.Body?.transformToByteArray();
    return mute;
  } catch (e) {
    signal.throwIfAborted();
    return isError(e) && (e.code === 'E_NOT_FOUND' || e.code === 'E_PRECONDITION') ? mute : e;
  }
}
