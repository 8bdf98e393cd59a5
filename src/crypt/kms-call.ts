/** One KMS request with a deadline: a region that hangs must cost seconds, and never the backup. */
import type { KMSClientConfig } from '@aws-sdk/client-kms';
import { isError } from '../core/errors.ts';
import { type KmsCall, kmsError, kmsTimeout } from './kms-errors.ts';

/** Longest wait for one call, the SDK's own retries included, in milliseconds. */
export const KMS_DEADLINE_MS = 10_000;

/**
 * Client options for the composition root: three tries, and short timeouts for each of them, so that all fit the deadline.
 * `throwOnRequestTimeout` because the SDK otherwise only warns.
 */
export function kmsClientOptions(
  region: string,
): Pick<KMSClientConfig, 'region' | 'maxAttempts' | 'retryMode' | 'requestHandler'> {
  return {
    region,
    maxAttempts: 3,
    retryMode: 'standard',
    requestHandler: { connectionTimeout: 2_000, requestTimeout: 4_000, throwOnRequestTimeout: true },
  };
}

/**
 * Runs `send` with a signal that fires on `signal` or after `deadlineMs`. Rejects with `signal.reason`, or with the
 * translated error. Does not rely on `send` to listen: the SDK's wait between tries and its credential look-ups do not.
 */
export async function kmsCall<T>(
  call: KmsCall,
  signal: AbortSignal,
  deadlineMs: number,
  send: (options: { abortSignal: AbortSignal }) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(kmsTimeout(call, deadlineMs)), deadlineMs);
  const abortSignal = AbortSignal.any([signal, deadline.signal]);
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(abortSignal.reason);
  abortSignal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([send({ abortSignal }), aborted.promise]);
  } catch (e) {
    signal.throwIfAborted();
    if (deadline.signal.aborted) throw deadline.signal.reason;
    throw isError(e) ? e : kmsError(e, call);
  } finally {
    clearTimeout(timer);
    abortSignal.removeEventListener('abort', onAbort);
  }
}
