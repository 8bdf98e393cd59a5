import fc from 'fast-check';
import { expect, test } from 'vitest';
import { collect } from '../../../src/core/flow.ts';
import { HOLD_BACK_BYTES, HoldBack } from '../../../src/vault/hold-back.ts';

async function* chunks(sizes: readonly number[], failAtEnd?: Error): AsyncGenerator<Uint8Array> {
  let value = 0;
  for (const size of sizes) {
    value = (value + 1) % 256;
    yield new Uint8Array(size).fill(value);
  }
  if (failAtEnd !== undefined) throw failAtEnd;
}

const sizes = fc.array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 12 });

test('every byte passes, in order', async () => {
  await fc.assert(
    fc.asyncProperty(sizes, async (list) => {
      const total = list.reduce((sum, n) => sum + n, 0);
      const upload = new HoldBack(chunks(list), total);
      const passed = await collect(upload.bytes(), 2_000_000);
      expect(Buffer.compare(passed, await collect(chunks(list), 2_000_000))).toBe(0);
      expect(upload).toMatchObject({ sent: total, released: true, complete: true });
    }),
    { numRuns: 50 },
  );
});

test('of a source that fails at its end the last 64 KiB never leave', async () => {
  await fc.assert(
    fc.asyncProperty(sizes, async (list) => {
      const total = list.reduce((sum, n) => sum + n, 0);
      const upload = new HoldBack(chunks(list, new Error('not proven')), undefined);
      await expect(collect(upload.bytes(), 2_000_000)).rejects.toThrow('not proven');
      expect(upload.sent).toBeLessThanOrEqual(Math.max(0, total - HOLD_BACK_BYTES));
      expect(upload).toMatchObject({ released: false, complete: false });
    }),
    { numRuns: 50 },
  );
});

test('a length that does not fit what was announced is found before the end leaves', async () => {
  for (const announced of [199_999, 200_001]) {
    const upload = new HoldBack(chunks([100_000, 100_000]), announced);
    await expect(collect(upload.bytes(), 1_000_000)).rejects.toMatchObject({ code: 'E_BUG' });
    expect(upload.released).toBe(false);
  }
});

test('what its reader throws into it is not the failure of the source', async () => {
  const upload = new HoldBack(chunks([100_000, 100_000, 100_000]), undefined);
  const reading = upload.bytes()[Symbol.asyncIterator]();
  await reading.next();
  await expect(reading.throw?.(new Error('no answer'))).rejects.toThrow('no answer');
  expect(upload).toMatchObject({ failure: undefined, released: false, complete: false });
});
