/** Keeps one token alive while a long run uses it. */

import { describeError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';

export type Lifetime = { ttlMs: number; renewable: boolean };

/** Node's timers overflow past 2^31-1 ms and then fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** A token near its maximum life is granted less and less: no renewal storm. */
const SHORTEST_WAIT_MS = 1_000;

/**
 * Renews at half of the time to live, and again at half of what each renewal grants. A renewal that fails is tried again
 * at half of the time that is left. Ends by itself when the token cannot be renewed or has expired. The timer does not
 * keep the process alive. The owner disposes it.
 */
export class TokenRenewal implements Disposable {
  readonly #renew: (signal: AbortSignal) => Promise<Lifetime>;
  readonly #log: Log;
  readonly #stop = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #expiresAt = 0;

  constructor(first: Lifetime, renew: (signal: AbortSignal) => Promise<Lifetime>, log: Log) {
    this.#renew = renew;
    this.#log = log;
    this.#schedule(first);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  #schedule({ ttlMs, renewable }: Lifetime): void {
    if (!renewable || ttlMs <= 0) return;
    this.#expiresAt = performance.now() + ttlMs;
    this.#wait(ttlMs / 2);
  }

  #wait(ms: number): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => void this.#tick(), Math.min(LONGEST_TIMER_MS, Math.max(SHORTEST_WAIT_MS, ms)));
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    try {
      this.#schedule(await this.#renew(this.#stop.signal));
    } catch (e) {
      if (this.#stop.signal.aborted) return;
      const leftMs = this.#expiresAt - performance.now();
      this.#log.warn({ leftMs: Math.round(leftMs) }, `the token was not renewed: ${describeError(e)}`);
      if (leftMs > SHORTEST_WAIT_MS) this.#wait(leftMs / 2);
    }
  }
}
