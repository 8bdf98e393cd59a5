/** Trying again, only where the error says that it may help. */
import { setTimeout as delay } from 'node:timers/promises';
import { isError } from './errors.ts';

export type RetryPolicy = {
  /** tries in all, the first one included */
  attempts: number;
  /** wait before the second try, in milliseconds; doubles each time */
  baseMs: number;
  /** the longest wait, in milliseconds */
  maxMs: number;
};

export type RetryOptions = {
  /** called before each wait */
  onRetry?: (e: unknown, attempt: number, waitMs: number) => void;
  /** default: only {@link StrongroomError}s that say so */
  retryable?: (e: unknown) => boolean;
};

/**
 * Runs `fn` up to `policy.attempts` times. Waits base, 2x, 4x … up to max, each shortened by a random part of up to half:
 * many clients that failed together must not come back together. Rejects with the last error, or with the abort reason.
 */
export async function retry<T>(
  policy: RetryPolicy,
  fn: (attempt: number) => Promise<T>,
  signal: AbortSignal,
  options: RetryOptions = {},
): Promise<T> {
  const retryable = options.retryable ?? ((e) => isError(e) && e.retryable);
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await fn(attempt);
    } catch (e) {
      if (signal.aborted) throw signal.reason;
      if (attempt >= policy.attempts || !retryable(e)) throw e;
      const full = Math.min(policy.maxMs, policy.baseMs * 2 ** (attempt - 1));
      const waitMs = Math.round(full * (0.5 + Math.random() / 2));
      options.onRetry?.(e, attempt, waitMs);
      try {
        await delay(waitMs, undefined, { signal });
      } catch {
        throw signal.reason;
      }
    }
  }
}
