import { describe, expect, it } from 'vitest';
import { type Bytes, collect, discard, flow, measure } from '../../../src/core/flow.ts';

const never = new AbortController().signal;
async function* numbers(n: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < n; i += 1) yield Uint8Array.of(i);
}

describe('flow', () => {
  it('passes every byte through every stage in order', async () => {
    const seen: number[] = [];
    const double = async function* (source: Bytes) {
      for await (const chunk of source) yield Uint8Array.of((chunk[0] ?? 0) * 2);
    };
    const out = await flow(numbers(4), [double, measure((n) => seen.push(n))], (s) => collect(s, 99), never);
    expect([...out]).toEqual([0, 2, 4, 6]);
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  it('rejects with the error of a stage that refuses the end, and the sink never sees a clean one', async () => {
    const refused = new Error('the check failed');
    let cleanEnd = false;
    const check = async function* (source: Bytes) {
      yield* source;
      throw refused;
    };
    const sink = async (source: Bytes): Promise<void> => {
      for await (const _ of source);
      cleanEnd = true;
    };
    await expect(flow(numbers(3), [check], sink, never)).rejects.toBe(refused);
    expect(cleanEnd).toBe(false);
  });

  it('runs the finally of its source and rejects with the reason when aborted', async () => {
    const abort = new AbortController();
    const reason = new Error('stop');
    let closed = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          yield new Uint8Array(10);
          await new Promise((resolve) => setImmediate(resolve));
        }
      } finally {
        closed = true;
      }
    }
    const stop = measure((n) => n > 50 && abort.abort(reason));
    await expect(flow(endless(), [stop], discard, abort.signal)).rejects.toBe(reason);
    expect(closed).toBe(true);
  });

  it('hands on the error of the sink', async () => {
    const full = new Error('disk full');
    await expect(flow(numbers(3), [], () => Promise.reject(full), never)).rejects.toBe(full);
  });

  it('never buffers more than it was told', async () => {
    await expect(collect(numbers(11), 10)).rejects.toBeInstanceOf(RangeError);
  });
});
