/** A few at a time: never more, all of them, and an end when one fails. */
import { describe, expect, it } from 'vitest';
import { eachBounded } from '../../../src/core/bounded.ts';

const never = new AbortController().signal;

describe('eachBounded', () => {
  it('does everything once, and never more than the limit at a time', async () => {
    let now = 0;
    let most = 0;
    const done: number[] = [];
    await eachBounded(
      Array.from({ length: 50 }, (_, i) => i),
      4,
      async (i) => {
        now += 1;
        most = Math.max(most, now);
        await new Promise(setImmediate);
        done.push(i);
        now -= 1;
      },
      never,
    );
    expect(done.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(most).toBe(4);
  });

  it('takes from a generator only what it can work on, and closes it after a failure', async () => {
    let taken = 0;
    let isClosed = false;
    async function* source(): AsyncGenerator<number> {
      try {
        for (;;) {
          taken += 1;
          yield taken;
        }
      } finally {
        isClosed = true;
      }
    }
    const over: number[] = [];
    const failure = new Error('the third');
    const running = eachBounded(
      source(),
      2,
      async (i) => {
        await new Promise(setImmediate);
        if (i === 3) throw failure;
        over.push(i);
      },
      never,
    );
    await expect(running).rejects.toBe(failure);
    expect(isClosed).toBe(true);
    // What had begun beside it has ended; nothing more was taken.
    expect(taken).toBeLessThanOrEqual(4);
    expect(over).toContain(2);
  });

  it('rejects with the reason of an abort, and with what the source rejects with', async () => {
    const stop = new AbortController();
    const reason = new Error('stopped by hand');
    const stopped = eachBounded([1, 2, 3], 1, async (i) => (i === 2 ? stop.abort(reason) : undefined), stop.signal);
    await expect(stopped).rejects.toBe(reason);
    const broken = new Error('the listing broke');
    async function* source(): AsyncGenerator<number> {
      yield 1;
      throw broken;
    }
    await expect(eachBounded(source(), 3, () => Promise.resolve(), never)).rejects.toBe(broken);
  });
});
