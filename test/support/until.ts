/** Waiting for a state: asked again and again until it is there, with a deadline, never a fixed sleep. */
import { setTimeout as delay } from 'node:timers/promises';

export type WaitOptions = {
  /** deadline in milliseconds; default 120,000: a busy machine is slow, and who waits for nothing may wait long */
  timeoutMs?: number;
  /** pause between two questions in milliseconds; default 50 */
  everyMs?: number;
  signal?: AbortSignal | undefined;
};

/**
 * Asks `probe` until it returns something other than `undefined`, and returns that. A throw counts as "not yet".
 * Throws at the deadline, naming `what` and carrying the last throw as `cause`; `signal.reason` on abort. A probe that
 * never settles is left behind at the deadline.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  options: WaitOptions = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 120_000;
  const everyMs = options.everyMs ?? 50;
  const deadline = AbortSignal.timeout(timeoutMs);
  const ended = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]);
  const { promise: over, resolve: end } = Promise.withResolvers<undefined>();
  const onEnd = () => end(undefined);
  ended.addEventListener('abort', onEnd, { once: true });
  let cause: unknown;
  try {
    while (!ended.aborted) {
      const asked = attempt(probe).catch((e: unknown) => {
        cause = e;
        return undefined;
      });
      const answer = await Promise.race([asked, over]);
      if (answer !== undefined) return answer;
      await Promise.race([delay(everyMs), over]);
    }
  } finally {
    ended.removeEventListener('abort', onEnd);
  }
  options.signal?.throwIfAborted();
  throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause });
}

/** A probe that throws before it returns its promise is a "not yet" as well. */
async function attempt<T>(probe: () => Promise<T | undefined>): Promise<T | undefined> {
  return probe();
}
