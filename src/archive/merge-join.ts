/** Joins two streams of records, both in key order, that arrive in pieces and at different speeds. */

export type Side = 'before' | 'after';
export type Change = 'changed' | 'added' | 'removed';
export type Difference = { kind: Change; key: string };

type Waiting = { key: string; keyBytes: Buffer; content: Buffer };

class Queue {
  readonly #records: Waiting[] = [];
  #taken = 0;
  isFinished = false;

  get isEmpty(): boolean {
    return this.#taken === this.#records.length;
  }

  get head(): Waiting | undefined {
    return this.#records[this.#taken];
  }

  push(record: Waiting): void {
    this.#records.push(record);
  }

  shift(): void {
    this.#taken += 1;
    if (!this.isEmpty) return;
    this.#records.length = 0;
    this.#taken = 0;
  }
}

export class MergeJoin {
  readonly #queues = { before: new Queue(), after: new Queue() };
  readonly #onKey: (key: string, outcome: Change | 'identical') => void;
  readonly #wakes = new Set<() => void>();

  /** `onKey` gets every key of either side once, in key order. */
  constructor(onKey: (key: string, outcome: Change | 'identical') => void) {
    this.#onKey = onKey;
  }

  /** Takes the next record of a side; the value is copied. */
  push(side: Side, key: string, value: Uint8Array, sealWrap: boolean): void {
    // The mark is part of what is compared: one more byte in front of the value.
    const content = Buffer.allocUnsafe(value.length + 1);
    content[0] = sealWrap ? 1 : 0;
    content.set(value, 1);
    this.#queues[side].push({ key, keyBytes: Buffer.from(key), content });
    this.#join();
  }

  /** Says that a side has no more records. */
  finish(side: Side): void {
    this.#queues[side].isFinished = true;
    this.#join();
  }

  /**
   * Resolves when the side may push more, that is when all of its records have met their partners; undefined when it may
   * at once. Never both sides wait: joining goes on until one queue is empty. Rejects on abort.
   */
  turn(side: Side, signal: AbortSignal): Promise<void> | undefined {
    if (this.#queues[side].isEmpty) return undefined;
    return this.#wait(() => this.#queues[side].isEmpty, signal);
  }

  async #wait(isTrue: () => boolean, signal: AbortSignal): Promise<void> {
    while (!isTrue()) {
      signal.throwIfAborted();
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wakes.add(resolve);
      const wake = () => resolve();
      signal.addEventListener('abort', wake);
      await promise;
      signal.removeEventListener('abort', wake);
      this.#wakes.delete(resolve);
    }
  }

  #join(): void {
    const { before, after } = this.#queues;
    while (this.#step(before.head, after.head)) {
      // each step takes one record, or a pair
    }
    if (before.isEmpty || after.isEmpty) for (const wake of this.#wakes) wake();
  }

  #step(old: Waiting | undefined, now: Waiting | undefined): boolean {
    const { before, after } = this.#queues;
    if (old !== undefined && now !== undefined) {
      const order = old.keyBytes.compare(now.keyBytes);
      if (order < 0) return this.#settle(old.key, 'removed', [before]);
      if (order > 0) return this.#settle(now.key, 'added', [after]);
      return this.#settle(old.key, old.content.equals(now.content) ? 'identical' : 'changed', [before, after]);
    }
    if (old !== undefined && after.isFinished) return this.#settle(old.key, 'removed', [before]);
    if (now !== undefined && before.isFinished) return this.#settle(now.key, 'added', [after]);
    return false;
  }

  #settle(key: string, outcome: Change | 'identical', from: Queue[]): boolean {
    for (const queue of from) queue.shift();
    this.#onKey(key, outcome);
    return true;
  }
}
