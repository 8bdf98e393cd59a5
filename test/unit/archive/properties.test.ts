import { readFile } from 'node:fs/promises';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArchiveReader, readArchive } from '../../../src/archive/read.ts';
import type { ArchiveReport } from '../../../src/archive/report.ts';
import { isError } from '../../../src/core/errors.ts';
import type { Bytes } from '../../../src/core/flow.ts';
import * as build from '../../support/archive-builder.ts';

const REAL = await readFile(new URL('../../fixtures/archives/openbao-2.7.2-shamir.snap', import.meta.url));
const SMALL = {
  stored: build.encodeArchive(build.coreRecords(), { form: 'stored' }),
  'stored-fixed': build.encodeArchive(build.coreRecords(), { form: 'stored-fixed' }),
  deflate: build.encodeArchive(build.coreRecords('vault'), { form: 'deflate' }),
};

/** Without a wait as long as the reader needs none, that is for stored archives: thousands of cases a second. */
function readAtOnce(archive: Uint8Array): ArchiveReport | Error | 'needs zlib' {
  const reader = new ArchiveReader();
  try {
    const pending = reader.write(archive);
    if (pending === undefined) return reader.end();
    pending.catch(() => undefined);
    return 'needs zlib';
  } catch (e) {
    return e instanceof Error ? e : new Error(String(e));
  } finally {
    reader.close();
  }
}

async function readOrFail(archive: Bytes): Promise<ArchiveReport | Error> {
  try {
    return await readArchive(archive);
  } catch (e) {
    return e instanceof Error ? e : new Error(String(e));
  }
}

function flipped(archive: Buffer, bit: number): Buffer {
  const copy = Buffer.from(archive);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

/** A flip that turns a stored block into one of another type sends the reader to zlib. */
async function isRefused(archive: Buffer): Promise<boolean> {
  const outcome = readAtOnce(archive);
  return isError(outcome === 'needs zlib' ? await readOrFail(build.chunked(archive)) : outcome);
}

describe('one flipped bit', () => {
  it.each(['stored', 'stored-fixed'] as const)('is seen, wherever it is in the frame (%s)', async (form) => {
    const archive = SMALL[form];
    // The headers of gzip and of the block, the first tar header, and the end: final block and footer.
    const frame = [...Array(15 + 512).keys(), ...Array.from({ length: 16 }, (_, i) => archive.length - 1 - i)];
    for (const at of frame)
      for (let bit = 0; bit < 8; bit += 1) expect(await isRefused(flipped(archive, at * 8 + bit))).toBe(true);
  });

  it.each([
    ['a small archive', SMALL.stored, 2000],
    ['the archive of a real server', REAL, 150],
  ])('is seen, wherever it is in %s', async (_, archive, numRuns) => {
    await fc.assert(
      fc.asyncProperty(fc.nat(archive.length * 8 - 1), async (bit) => isRefused(flipped(archive, bit))),
      { numRuns },
    );
  });

  // Deflate can say the same in several ways, and pads its blocks with bits that mean nothing: such a flip changes no
  // byte of the content, and nothing in the format covers it. Every flip that changes the content is seen.
  it('in a compressed archive is seen, or changes nothing', async () => {
    const good = await readArchive(build.chunked(SMALL.deflate));
    let seen = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(SMALL.deflate.length * 8 - 1), async (bit) => {
        const outcome = await readOrFail(build.chunked(flipped(SMALL.deflate, bit)));
        if (outcome instanceof Error) seen += 1;
        else expect(outcome).toEqual(good);
        return !(outcome instanceof Error) || isError(outcome);
      }),
      { numRuns: 1000 },
    );
    expect(seen).toBeGreaterThan(950);
  });
});

describe('a shortened archive', () => {
  it.each(Object.entries(SMALL))('is never taken (%s)', async (_, archive) => {
    await fc.assert(
      fc.asyncProperty(fc.nat(archive.length - 1), async (length) => {
        const outcome = await readOrFail(build.chunked(archive.subarray(0, length)));
        return isError(outcome, 'E_SNAPSHOT_TRUNCATED');
      }),
      { numRuns: 500 },
    );
  });
});

describe('bytes changed at random', () => {
  it('never end in another error than ours', async () => {
    const patch = fc.record({
      at: fc.nat(SMALL.stored.length - 1),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(patch, { minLength: 1, maxLength: 4 }), async (patches) => {
        const copy = Buffer.from(SMALL.stored);
        for (const { at, bytes } of patches) copy.set(bytes.subarray(0, copy.length - at), at);
        const outcome = await readOrFail(build.chunked(copy));
        return isError(outcome) || copy.equals(SMALL.stored);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the chunks of an archive', () => {
  const chunkings = fc.array(fc.nat({ max: 3000 }), { minLength: 1, maxLength: 30 });

  it.each([...Object.entries(SMALL), ['real', REAL] as const])(
    'make no difference to the report (%s)',
    async (_, archive) => {
      const whole = await readArchive(build.chunked(archive, archive.length), { hashArchive: true });
      await fc.assert(
        fc.asyncProperty(chunkings, async (sizes) => {
          async function* source(): Bytes {
            let at = 0;
            for (let i = 0; at < archive.length; i += 1) {
              const size = sizes[i % sizes.length] ?? 1;
              yield archive.subarray(at, at + size);
              at += size === 0 && i >= sizes.length ? 1 : size;
              if (size === 0 && i >= sizes.length) yield archive.subarray(at - 1, at);
            }
          }
          expect(await readArchive(source(), { hashArchive: true })).toEqual(whole);
        }),
        { numRuns: 60 },
      );
    },
  );

  it('may be single bytes', async () => {
    for (const archive of Object.values(SMALL)) {
      expect(await readArchive(build.chunked(archive, 1))).toEqual(await readArchive(build.chunked(archive)));
    }
  });
});
