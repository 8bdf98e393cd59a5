/** A download that goes on where it broke off, and never ends early without saying so. */
import { createHash, type Hash } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { GetObjectCommand, type GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import type { ObjectKey } from './layout.ts';
import { at, type S3Context, sendOnce, whereOf } from './s3-context.ts';
import { translate } from './s3-errors.ts';
import { lookFor } from './s3-head.ts';
import { phrase, type Where } from './s3-where.ts';

export type GetOptions = {
  signal: AbortSignal;
  range?: { start: number; end: number };
  versionId?: string;
};

/** Where a download stands: the next byte, the end, and the object it belongs to. */
type Progress = {
  next: number;
  /** exclusive; known from the first answer when no range was asked for */
  end: number | undefined;
  etag: string | undefined;
  /** of the whole object, when it is read whole and the store keeps a plain SHA-256 of it */
  sum: { hash: Hash; expected: string } | undefined;
};

/**
 * The bytes of an object or of `range`, cut at the end of the object as S3 does. A connection that breaks is resumed by
 * a ranged request for the same ETag, as often as the retry policy says without a byte of progress between. Ends only
 * after every byte that was announced; an object whose SHA-256 the store keeps whole is held against it.
 */
export async function* download(ctx: S3Context, key: ObjectKey, options: GetOptions): Bytes {
  const { signal, range, versionId } = options;
  const where = whereOf(ctx, 'get', key, versionId);
  const progress: Progress = { next: range?.start ?? 0, end: undefined, etag: undefined, sum: undefined };
  if (range !== undefined && range.end <= range.start) {
    if ((await lookFor(ctx, key, signal, versionId)) === null) throw missing(where);
    return;
  }
  let failures = 0;
  do {
    const before = progress.next;
    try {
      yield* readOn(ctx, where, progress, options);
    } catch (e) {
      signal.throwIfAborted();
      const known = translate(e, where);
      failures = progress.next > before ? 1 : failures + 1;
      if (!known.retryable || failures >= ctx.retry.attempts) throw known;
      await pause(Math.min(ctx.retry.maxMs, ctx.retry.baseMs * 2 ** (failures - 1)), signal);
    }
  } while (progress.end === undefined || progress.next < progress.end);
  if (progress.sum !== undefined && progress.sum.hash.digest('base64') !== progress.sum.expected) {
    throw new StrongroomError('E_STORE_CHECKSUM', `${phrase(where)}: what came does not fit the SHA-256 kept there`, {
      hint: 'read it from another destination; compare with the signed manifest',
      retryable: false,
    });
  }
}

async function* readOn(ctx: S3Context, where: Where, progress: Progress, options: GetOptions): Bytes {
  const answer = await open(ctx, where, progress, options);
  const body: unknown = answer.Body;
  if (!(body instanceof Readable)) {
    throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: an answer without a body`);
  }
  // From here on the connection is ours: whatever happens, it is not left open.
  try {
    accept(where, progress, answer, options.range);
    for await (const chunk of unstalled(body, ctx.stallTimeoutMs, options.signal)) {
      progress.sum?.hash.update(chunk);
      progress.next += chunk.byteLength;
      if (progress.end !== undefined && progress.next > progress.end) {
        throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: more bytes than announced`, {
          retryable: false,
        });
      }
      yield chunk;
    }
  } finally {
    body.destroy();
  }
  if (progress.end === undefined || progress.next < progress.end) {
    throw new StrongroomError(
      'E_STORE_RESPONSE',
      `${phrase(where)}: ended at byte ${progress.next} of ${progress.end}`,
    );
  }
}

async function open(
  ctx: S3Context,
  where: Where,
  progress: Progress,
  { signal, range, versionId }: GetOptions,
): Promise<GetObjectCommandOutput> {
  const last = progress.end ?? range?.end;
  const isRanged = range !== undefined || progress.next > 0;
  const input = {
    ...at(ctx, where.key),
    ...(versionId === undefined ? {} : { VersionId: versionId }),
    ...(isRanged ? { Range: `bytes=${progress.next}-${last === undefined ? '' : last - 1}` } : {}),
    ...(progress.etag === undefined ? {} : { IfMatch: progress.etag }),
    ...(isRanged || ctx.options.checksum === 'none' ? {} : { ChecksumMode: 'ENABLED' as const }),
  };
  // Once: whoever reads on tries again, and tries of tries would be twenty-five.
  const answer = await sendOnce(where, ctx.requestTimeoutMs, signal, (abortSignal) =>
    ctx.client.send(new GetObjectCommand(input), { abortSignal }),
  );
  ctx.seenBucketAt = performance.now();
  return answer;
}

/** Takes over what the first answer says of the object, and refuses an answer about other bytes. */
function accept(where: Where, progress: Progress, answer: GetObjectCommandOutput, range: GetOptions['range']): void {
  const { ContentLength: length, ContentRange: contentRange, ETag: etag, ChecksumSHA256: sha256 } = answer;
  if (length === undefined)
    throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: an answer without a length`);
  const isRanged = range !== undefined || progress.next > 0;
  const first = contentRange === undefined ? 0 : Number(/^bytes (\d+)-/.exec(contentRange)?.[1]);
  if (first !== progress.next) {
    throw new StrongroomError(
      'E_STORE_RESPONSE',
      `${phrase(where)}: asked from byte ${progress.next}, answered from ${first}`,
      {
        retryable: false,
      },
    );
  }
  if (range !== undefined && contentRange === undefined && length > range.end) {
    throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: the destination ignores ranges`, {
      retryable: false,
    });
  }
  if (progress.end === undefined) {
    progress.end = progress.next + length;
    progress.etag = etag;
    const isWhole = sha256 !== undefined && !sha256.includes('-') && !isRanged;
    progress.sum = isWhole ? { hash: createHash('sha256'), expected: sha256 } : undefined;
  } else if (progress.next + length !== progress.end) {
    throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: its length changed while it was read`, {
      retryable: false,
    });
  }
}

/**
 * The chunks of `body`; throws when none comes for `stallMs` while one is waited for. A consumer that takes its time
 * is no stall.
 */
async function* unstalled(body: Readable, stallMs: number, signal: AbortSignal): Bytes {
  const onAbort = () => body.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    const chunks: AsyncIterator<unknown> = body[Symbol.asyncIterator]();
    for (;;) {
      const timer = setTimeout(() => body.destroy(stalled(stallMs)), stallMs);
      let step: IteratorResult<unknown>;
      try {
        step = await chunks.next();
      } finally {
        clearTimeout(timer);
      }
      if (step.done === true) return;
      if (step.value instanceof Uint8Array) yield step.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function stalled(stallMs: number): Error {
  return Object.assign(new Error(`no byte for ${stallMs / 1000} s`), { name: 'TimeoutError' });
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}

function missing(where: Where): StrongroomError {
  return new StrongroomError('E_NOT_FOUND', `${phrase(where)}: it is not there`);
}
