/** A multipart upload: create, parts, complete; or abort, which is awaited. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommand,
} from '@aws-sdk/client-s3';
import { isError, StrongroomError } from '../core/errors.ts';
import { retry } from '../core/retry.ts';
import type { ObjectKey } from './layout.ts';
import { compositeSha256, type Part, partsOf } from './parts.ts';
import { type Commit, type Committed, commit, confirm, findOurs, isDoubtful, unresolved } from './s3-commit.ts';
import { refuseEarly } from './s3-condition.ts';
import { at, request, type S3Context, whereOf } from './s3-context.ts';
import { answerOf } from './s3-errors.ts';
import { compositeCrc32, conditionHeaders, extraPermissions, objectHeaders } from './s3-headers.ts';
import { type SentPart, sendPart } from './s3-part.ts';
import { type ExpectedSums, fits, isSame } from './s3-same.ts';
import { phrase, type Where } from './s3-where.ts';
import type { PartedBody, PutOptions, StoredObject } from './store.ts';

type Upload = { key: ObjectKey; uploadId: string; startedAt: Date };

/**
 * Stores `body` in parts. A new upload is begun, a bounded number of times, when the destination says that a
 * conditional write was under way at the same moment (409) or that it no longer knows the upload.
 * When this rejects, the upload has been aborted, or `onLeftover` has been told.
 */
export async function putMultipart(
  ctx: S3Context,
  key: ObjectKey,
  body: PartedBody,
  options: PutOptions,
): Promise<StoredObject> {
  const parts = partsOf(body);
  const policy = { ...ctx.retry, attempts: Math.min(3, ctx.retry.attempts) };
  return retry(policy, () => uploadOnce(ctx, key, body, parts, options), options.signal, {
    retryable: needsNewUpload,
  });
}

/** Amazon on a 409 to Complete: begin again with CreateMultipartUpload. */
function needsNewUpload(e: unknown): boolean {
  return isError(e) && e.retryable && (e.code === 'E_STORE_CONFLICT' || answerOf(e) === 'NoSuchUpload');
}

async function uploadOnce(
  ctx: S3Context,
  key: ObjectKey,
  body: PartedBody,
  parts: readonly Part[],
  options: PutOptions,
): Promise<StoredObject> {
  const alsoNeeds = extraPermissions(ctx, options);
  // The condition is kept by Complete. Looking first only saves sending gigabytes that would be refused.
  await refuseEarly(ctx, key, options);
  const upload = await beginUpload(ctx, key, options);
  let completing: Commit | undefined;
  try {
    const sent = await sendParts(ctx, upload, body, parts, options);
    const expected = compositeOf(sent);
    completing = {
      where: { ...whereOf(ctx, 'complete', key), alsoNeeds },
      key,
      // Amazon may take minutes to join many parts, and sends spaces meanwhile.
      timeoutMs: Math.max(ctx.requestTimeoutMs, ctx.partTimeoutMs),
      send: (abortSignal) => complete(ctx, upload, sent, body, options, abortSignal),
      repeats: (e) => !needsNewUpload(e),
      fits: (found) => fits(found, body.bytes, expected),
      isOurs: (found) => isSame(ctx, key, found, body, expected),
    };
    const done = await commit(ctx, completing, options.signal);
    return await confirm(ctx, completing, done, options);
  } catch (e) {
    const aborted = await abandon(ctx, upload, e);
    // After the abort nothing can complete any more: what is there now is there to stay.
    if (completing !== undefined && isDoubtful(e, options.signal)) {
      const finding = await findOurs(ctx, completing);
      if (typeof finding === 'object') return confirm(ctx, completing, { versionId: finding.versionId }, options);
      if (finding === 'unknown') throw unresolved(aborted);
    }
    throw aborted;
  }
}

/** CreateMultipartUpload with everything that the object is to have. The caller completes or aborts it. */
export async function beginUpload(
  ctx: S3Context,
  key: ObjectKey,
  options: Omit<PutOptions, 'condition'>,
): Promise<Upload> {
  const where: Where = { ...whereOf(ctx, 'create', key), alsoNeeds: extraPermissions(ctx, options) };
  const { checksum } = ctx.options;
  const command = {
    ...at(ctx, key),
    ...objectHeaders(ctx, options),
    ...(checksum === 'none'
      ? {}
      : {
          ChecksumAlgorithm: checksum === 'sha256' ? ('SHA256' as const) : ('CRC32' as const),
          ChecksumType: 'COMPOSITE' as const,
        }),
  };
  const created = await request(ctx, where, options.signal, (abortSignal) =>
    ctx.client.send(new CreateMultipartUploadCommand(command), { abortSignal }),
  );
  if (created.UploadId === undefined || created.UploadId === '') {
    throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: no upload id in the answer`);
  }
  return { key, uploadId: created.UploadId, startedAt: new Date() };
}

/** Sends the parts, a few at a time. On a failure the others are stopped, and all have ended before this rejects. */
async function sendParts(
  ctx: S3Context,
  upload: Upload,
  body: PartedBody,
  parts: readonly Part[],
  options: PutOptions,
): Promise<SentPart[]> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const where = { ...whereOf(ctx, 'part', upload.key), alsoNeeds: extraPermissions(ctx, options) };
  const to = { where, key: upload.key, uploadId: upload.uploadId, isLocked: options.lock !== undefined };
  const sent: SentPart[] = [];
  const queue = parts.values();
  let bytes = 0;
  let failure: { reason: unknown } | undefined;
  const worker = async () => {
    try {
      for (const part of queue) {
        sent[part.number - 1] = await sendPart(ctx, to, body, part, signal);
        bytes += part.end - part.start;
        options.onProgress?.(bytes);
      }
    } catch (e) {
      failure ??= { reason: e };
      stop.abort(e);
    }
  };
  // A part still on the wire when the upload is aborted may be kept, and billed, by Amazon: wait for all of them.
  await Promise.all(Array.from({ length: Math.min(ctx.partConcurrency, parts.length) }, worker));
  options.signal.throwIfAborted();
  if (failure !== undefined) throw failure.reason;
  return sent;
}

async function complete(
  ctx: S3Context,
  upload: Upload,
  parts: SentPart[],
  body: PartedBody,
  options: PutOptions,
  abortSignal: AbortSignal,
): Promise<Committed> {
  const input: CompleteMultipartUploadCommandInput = {
    ...at(ctx, upload.key),
    UploadId: upload.uploadId,
    MultipartUpload: { Parts: parts },
    ...(ctx.options.checksum === 'none' ? {} : { ChecksumType: 'COMPOSITE' }),
    MpuObjectSize: body.bytes,
    ...conditionHeaders(ctx, options.condition),
  };
  const answer = await ctx.client.send(new CompleteMultipartUploadCommand(input), { abortSignal });
  return { versionId: answer.VersionId };
}

/** What the store should show as checksum of the whole. */
function compositeOf(parts: readonly SentPart[]): ExpectedSums {
  const sha256 = parts.flatMap((part) =>
    part.ChecksumSHA256 === undefined ? [] : [Buffer.from(part.ChecksumSHA256, 'base64')],
  );
  if (sha256.length === parts.length) return { sha256: compositeSha256(sha256) };
  const crc32 = parts.flatMap((part) => part.ChecksumCRC32 ?? []);
  return crc32.length === parts.length ? { crc32: compositeCrc32(crc32) } : {};
}

/** Aborts after failure `e`; gives `e`, with the upload named in it when the abort fails, too. */
async function abandon(ctx: S3Context, upload: Upload, e: unknown): Promise<unknown> {
  try {
    await abortUpload(ctx, upload, AbortSignal.timeout(ctx.cleanupTimeoutMs));
    return e;
  } catch (abortError) {
    ctx.options.onLeftover?.(upload, abortError);
    if (!isError(e)) return e;
    return new StrongroomError(e.code, `${e.message}; its unfinished upload is left behind`, {
      hint: `${e.hint === undefined ? '' : `${e.hint}; `}strongroom prune aborts unfinished uploads`,
      details: { ...e.details, uploadId: upload.uploadId },
      retryable: e.retryable,
      cause: new AggregateError([e, abortError], 'the upload and its abort failed'),
    });
  }
}

/** AbortMultipartUpload; an upload that is no longer known is aborted enough. */
export async function abortUpload(
  ctx: S3Context,
  upload: Pick<Upload, 'key' | 'uploadId'>,
  signal: AbortSignal,
): Promise<void> {
  try {
    await request(ctx, whereOf(ctx, 'abort', upload.key), signal, (abortSignal) =>
      ctx.client.send(new AbortMultipartUploadCommand({ ...at(ctx, upload.key), UploadId: upload.uploadId }), {
        abortSignal,
      }),
    );
  } catch (e) {
    if (answerOf(e) === 'NoSuchUpload') return;
    throw e;
  }
}
