/** One S3 destination as its operations see it: client, names, and the one way to send a request. */
import type { S3Client } from '@aws-sdk/client-s3';
import { type RetryPolicy, retry } from '../core/retry.ts';
import { translate } from './s3-errors.ts';
import type { S3StoreOptions } from './s3-options.ts';
import type { Operation, Where } from './s3-where.ts';

export type S3Context = {
  options: S3StoreOptions;
  client: S3Client;
  bucket: string;
  /** empty, or ending in a slash */
  prefix: string;
  retry: RetryPolicy;
  partConcurrency: number;
  partTimeoutMs: number;
  requestTimeoutMs: number;
  stallTimeoutMs: number;
  commitGraceMs: number;
  cleanupTimeoutMs: number;
  /** when the bucket last gave an answer that only an existing one gives, as performance.now() */
  seenBucketAt: number;
};

export function s3Context(options: S3StoreOptions): S3Context {
  const bare = (options.prefix ?? '').replaceAll(/^\/+|\/+$/g, '');
  return {
    options,
    client: options.client,
    bucket: options.bucket,
    prefix: bare === '' ? '' : `${bare}/`,
    retry: options.retry ?? { attempts: 5, baseMs: 500, maxMs: 15_000 },
    partConcurrency: options.partConcurrency ?? 3,
    partTimeoutMs: options.partTimeoutMs ?? 300_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 60_000,
    stallTimeoutMs: options.stallTimeoutMs ?? 60_000,
    commitGraceMs: options.commitGraceMs ?? 10_000,
    cleanupTimeoutMs: options.cleanupTimeoutMs ?? 30_000,
    seenBucketAt: Number.NEGATIVE_INFINITY,
  };
}

export function whereOf(ctx: S3Context, operation: Operation, key: string, versionId?: string): Where {
  return { operation, destination: ctx.options.name, bucket: ctx.bucket, key, versionId };
}

/** `Bucket` and `Key` of every request about one object. */
export function at(ctx: S3Context, key: string): { Bucket: string; Key: string } {
  return { Bucket: ctx.bucket, Key: `${ctx.prefix}${key}` };
}

/** Sends once, with a deadline. Rejects with a translated error, or with the abort reason. */
export async function sendOnce<T>(
  where: Where,
  timeoutMs: number,
  signal: AbortSignal,
  send: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    return await send(AbortSignal.any([signal, deadline]));
  } catch (e) {
    signal.throwIfAborted();
    throw translate(e, where, deadline.aborted ? timeoutMs : undefined);
  }
}

/** Sends again while the error says that it may help. For requests that change nothing when repeated. */
export async function request<T>(
  ctx: S3Context,
  where: Where,
  signal: AbortSignal,
  send: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T> {
  const answer = await retry(ctx.retry, () => sendOnce(where, ctx.requestTimeoutMs, signal, send), signal);
  ctx.seenBucketAt = performance.now();
  return answer;
}

/**
 * A signal that follows `signal` so many milliseconds later: a commit on the wire is better waited for than cut off,
 * since its object may be locked and could not be taken back. Dispose it when the commit is over.
 */
export function afterGrace(signal: AbortSignal, graceMs: number): { signal: AbortSignal } & Disposable {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const begin = () => {
    timer = setTimeout(() => late.abort(signal.reason), graceMs);
  };
  if (signal.aborted) begin();
  else signal.addEventListener('abort', begin, { once: true });
  return {
    signal: late.signal,
    [Symbol.dispose]() {
      signal.removeEventListener('abort', begin);
      clearTimeout(timer);
    },
  };
}
