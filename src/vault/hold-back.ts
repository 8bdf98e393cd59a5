/** The point of no return of an upload: before it a failure is harmless, after it nobody knows. */
import { StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';

/** Measured: an archive cut 12 bytes before its end is applied, one cut 20 bytes before is not. Wide, for other compressors. */
export const HOLD_BACK_BYTES = 65_536;

/**
 * Passes `source` on, but keeps at least the last 64 KiB until it has ended cleanly and, when the length was announced,
 * with that length. For one upload.
 */
export class HoldBack {
  /** bytes handed over so far */
  sent = 0;
  /** the last bytes may be on their way: from here on a lost connection says nothing */
  released = false;
  /** every byte was handed over */
  complete = false;
  /** what the source threw */
  failure: { error: unknown } | undefined;
  readonly #source: Bytes;
  readonly #expected: number | undefined;
  #startedAt: number | undefined;

  constructor(source: Bytes, expected: number | undefined) {
    this.#source = source;
    this.#expected = expected;
  }

  /** Since the first byte was asked for, in ms; 0 before. */
  elapsedMs(): number {
    return this.#startedAt === undefined ? 0 : performance.now() - this.#startedAt;
  }

  async *bytes(): Bytes {
    this.#startedAt = performance.now();
    const held: Uint8Array[] = [];
    let heldBytes = 0;
    for await (const chunk of this.#watched()) {
      held.push(chunk);
      heldBytes += chunk.byteLength;
      for (
        let first = held[0];
        first !== undefined && heldBytes - first.byteLength >= HOLD_BACK_BYTES;
        first = held[0]
      ) {
        held.shift();
        heldBytes -= first.byteLength;
        this.sent += first.byteLength;
        yield first;
      }
    }
    this.#checkLength(this.sent + heldBytes);
    this.released = true;
    for (const chunk of held) {
      this.sent += chunk.byteLength;
      yield chunk;
    }
    this.complete = true;
  }

  /**
   * The source, its failures noted. What its reader throws into a generator (the reason for which a request is given up)
   * ends this one with a return, and is not taken for the source's own.
   */
  async *#watched(): Bytes {
    const source = this.#source;
    try {
      yield* source;
    } catch (e) {
      this.failure = { error: e };
      throw e;
    }
  }

  /** A server that is promised more bytes than come may still unpack, and apply, what came. */
  #checkLength(total: number): void {
    if (this.#expected === undefined || this.#expected === total) return;
    const error = new StrongroomError(
      'E_BUG',
      `an archive of ${this.#expected} bytes was announced, and ${total} came`,
    );
    this.failure = { error };
    throw error;
  }
}
