/** Part by part: what passes was meant, and with `withhold` nothing else ever comes out. */
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { matchParts } from '../../../src/store/match-parts.ts';
import { chunked } from '../../support/archive-builder.ts';

const PART = 1000;
const body = randomBytes(3 * PART + 250);
const parts = [0, 1, 2, 3].map((i) => body.subarray(i * PART, (i + 1) * PART));
const expected = {
  bytes: body.length,
  partBytes: PART,
  partSha256: parts.map((part) => createHash('sha256').update(part).digest()),
};
const differs = (what: string): StrongroomError => new StrongroomError('E_STORE_CHECKSUM', what);

/** What came out before the end or the failure. */
async function pass(bytes: Uint8Array, withhold: boolean, chunk: number): Promise<{ out: Buffer; error: unknown }> {
  const out: Uint8Array[] = [];
  try {
    for await (const piece of matchParts(expected, differs, { withhold })(chunked(bytes, chunk))) out.push(piece);
    return { out: Buffer.concat(out), error: null };
  } catch (error) {
    return { out: Buffer.concat(out), error };
  }
}

function flipped(at: number): Buffer {
  const copy = Buffer.from(body);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

describe.each([true, false])('matchParts, withhold %s', (withhold) => {
  it.each([1, 7, PART, PART + 1, 10 * PART])('passes what was meant, in chunks of %i', async (chunk) => {
    const { out, error } = await pass(body, withhold, chunk);
    expect(error).toBeNull();
    expect(out.equals(body)).toBe(true);
  });

  it.each([
    { name: 'a flipped byte', bytes: flipped(2 * PART + 500), words: 'part 3 of 4 differs' },
    { name: 'a flipped last byte', bytes: flipped(body.length - 1), words: 'part 4 of 4 differs' },
    { name: 'an end too early', bytes: body.subarray(0, -1), words: 'part 4 of 4 differs' },
    { name: 'an end after a part', bytes: body.subarray(0, 2 * PART), words: `2000 bytes instead of ${body.length}` },
    { name: 'a byte too many', bytes: Buffer.concat([body, Buffer.of(0)]), words: `more than ${body.length} bytes` },
    { name: 'nothing', bytes: Buffer.alloc(0), words: `0 bytes instead of ${body.length}` },
  ])('throws at $name', async ({ bytes, words }) => {
    expect((await pass(bytes, withhold, 300)).error).toMatchObject({ code: 'E_STORE_CHECKSUM', message: words });
  });
});

it('lets nothing out of a part that differs, where it withholds', async () => {
  const bytes = flipped(2 * PART + 500);
  expect((await pass(bytes, true, 300)).out.equals(body.subarray(0, 2 * PART))).toBe(true);
  expect((await pass(bytes, false, 300)).out.includes(bytes.subarray(2 * PART, 2 * PART + 600))).toBe(true);
});
