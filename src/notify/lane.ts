/**
 * What waits for one sink. Nobody waits for the sink: whoever puts something in goes on at once. A sink that is away is
 * tried again and again, ever more slowly; meanwhile only the newest of each key is kept, and no more keys than the limit.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isError, StrongroomError } from '../core/errors.ts';

/**
 * Why something is not told: `refused` = the sink, or its config, says no for good; `full` = too much waits;
 * `stale` = it would say something that is not true any more; `closed` = the process ends.
 */
export type LostWhy = 'refused' | 'full' | 'stale' | 'closed';

export type Backoff = { baseMs: number; maxMs: number };

export type LaneOptions<T> = {
  /** Resolves when the sink took all of `items`. */
  send(items: readonly T[], signal: AbortSignal): Promise<void>;
  /** most that may wait */
  limit: number;
  /** so long the first waits for others, in ms */
  gatherMs: number;
  /** so many are told one by one; more are one message */
  oneByOne: number;
  backoff: Backoff;
  /** where there is too much, the least worth goes first, and of the same worth the oldest */
  worth(item: T): number;
  /** told before it is sent */
  isStale?(item: T): boolean;
  onSent(items: readonly T[]): void;
  /** `waitMs` = until it is tried again; null = it is given up. `failures` = in a row, this one included */
  onFailed(error: StrongroomError, failures: number, waitMs: number | null): void;
  onLost(items: readonly T[], why: LostWhy, error: StrongroomError | null): void;
};

/** What one message may hold; the rest goes into the next. */
const MESSAGE_LIMIT = 500;

export class Lane<T> implements AsyncDisposable {
  readonly #options: LaneOptions<T>;
  readonly #waiting = new Map<string, T>();
  readonly #closing = new AbortController();
  #sending: ReadonlySet<T> = new Set();
  #running: Promise<void> | null = null;
  /** ends the pause that is under way */
  #hurry = new AbortController();
  #flushes = 0;

  constructor(options: LaneOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  has(key: string): boolean {
    return this.#waiting.has(key);
  }

  /** Never waits, never throws. What waits under `key` is replaced: only the newest is worth telling. */
  put(key: string, item: T): void {
    if (this.#closing.signal.aborted) {
      this.#options.onLost([item], 'closed', null);
      return;
    }
    this.#waiting.set(key, item);
    if (this.#waiting.size > this.#options.limit) this.#dropOne();
    this.#running ??= this.#run();
  }

  /** Resolves when nothing waits any more, however it ended; rejects with the reason of `signal`. Cuts waits short once. */
  async flush(signal: AbortSignal): Promise<void> {
    this.#flushes += 1;
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    // The caller's own reason is what it gets back, whatever kind of value that is.
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      signal.throwIfAborted();
      this.#hurry.abort();
      while (this.#running !== null) await Promise.race([this.#running, aborted]);
    } finally {
      this.#flushes -= 1;
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Breaks off what is under way; what waits is reported as lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
    const left = [...this.#waiting.values()];
    this.#waiting.clear();
    if (left.length > 0) this.#options.onLost(left, 'closed', null);
  }

  async #run(): Promise<void> {
    // The caller of put() goes on first, also where nothing is gathered.
    await Promise.resolve();
    let failures = 0;
    if (this.#flushes === 0) await this.#pause(this.#options.gatherMs);
    while (!this.#closing.signal.aborted) {
      this.#dropStale();
      const batch = this.#batch();
      if (batch.length === 0) break;
      this.#sending = new Set(batch.map(([, item]) => item));
      const error = await this.#attempt(batch.map(([, item]) => item));
      this.#sending = new Set();
      if (this.#closing.signal.aborted && error !== null) break;
      if (error?.retryable === true) {
        failures += 1;
        await this.#pause(this.#afterFailure(error, failures), waitWished(error) === null);
        continue;
      }
      for (const [key, item] of batch) if (this.#waiting.get(key) === item) this.#waiting.delete(key);
      const items = batch.map(([, item]) => item);
      if (error === null) {
        failures = 0;
        this.#options.onSent(items);
      } else {
        failures += 1;
        this.#options.onFailed(error, failures, null);
        this.#options.onLost(items, 'refused', error);
      }
    }
    this.#running = null;
  }

  #batch(): [string, T][] {
    const waiting = [...this.#waiting];
    return waiting.length > this.#options.oneByOne ? waiting.slice(0, MESSAGE_LIMIT) : waiting.slice(0, 1);
  }

  async #attempt(items: readonly T[]): Promise<StrongroomError | null> {
    try {
      await this.#options.send(items, this.#closing.signal);
      return null;
    } catch (e) {
      return isError(e) ? e : new StrongroomError('E_BUG', 'a notification could not be made', { cause: e });
    }
  }

  #afterFailure(error: StrongroomError, failures: number): number {
    const { baseMs, maxMs } = this.#options.backoff;
    const full = Math.min(maxMs, baseMs * 2 ** (failures - 1));
    // Shortened by up to a half: sinks of many workers that failed together must not be asked together.
    const waitMs = Math.max(waitWished(error) ?? 0, Math.round(full * (0.5 + Math.random() / 2)));
    this.#options.onFailed(error, failures, waitMs);
    return waitMs;
  }

  /** Ends early when the lane closes, and where `mayHurry` when it is flushed. */
  async #pause(ms: number, mayHurry = true): Promise<void> {
    if (ms <= 0) return;
    this.#hurry = new AbortController();
    const early = mayHurry ? [this.#closing.signal, this.#hurry.signal] : [this.#closing.signal];
    await delay(ms, undefined, { signal: AbortSignal.any(early) }).catch(() => undefined);
  }

  #dropStale(): void {
    const stale = [...this.#waiting].filter(([, item]) => this.#options.isStale?.(item) === true);
    for (const [key] of stale) this.#waiting.delete(key);
    if (stale.length > 0) {
      this.#options.onLost(
        stale.map(([, item]) => item),
        'stale',
        null,
      );
    }
  }

  #dropOne(): void {
    const worth = (item: T): number => this.#options.worth(item);
    let least: [string, T] | null = null;
    for (const entry of this.#waiting) {
      if (this.#sending.has(entry[1])) continue;
      if (least === null || worth(entry[1]) < worth(least[1])) least = entry;
    }
    if (least === null) return;
    this.#waiting.delete(least[0]);
    this.#options.onLost([least[1]], 'full', null);
  }
}

function waitWished({ details }: StrongroomError): number | null {
  const ms = details['retryAfterMs'];
  return typeof ms === 'number' ? ms : null;
}
