import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collect } from '../../../src/core/flow.ts';
import { checkRoom, PART_BYTES, SpoolFile, type SpoolOptions } from '../../../src/spool/spool.ts';

const never = new AbortController().signal;
let directory: string;
let options: SpoolOptions;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'strongroom-spool-'));
  options = { directory, maxBytes: 64 * 2 ** 20, reserveBytes: 0 };
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

describe('spool file', () => {
  it.each([0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12345])(
    'gives back the %i bytes it took, each part with its own hash',
    async (length) => {
      const bytes = randomBytes(length);
      await using spool = await SpoolFile.create(options, 'c/round-trip.spool');
      expect(await spool.write(inPieces(bytes, 65_536 + 7))).toEqual({ bytes: length });
      expect(Buffer.compare(await collect(spool.read(0, length), length), bytes)).toBe(0);
      const parts = Array.from({ length: Math.ceil(length / PART_BYTES) }, (_, i) =>
        createHash('sha256')
          .update(bytes.subarray(i * PART_BYTES, (i + 1) * PART_BYTES))
          .digest('hex'),
      );
      const body = await spool.hashParts(never);
      expect(body.partSha256.map((hash) => Buffer.from(hash).toString('hex'))).toEqual(parts);
      expect(body).toMatchObject({ bytes: length, partBytes: PART_BYTES });
      const from = Math.floor(length / 3);
      expect(Buffer.compare(await collect(spool.read(from, length), length), bytes.subarray(from))).toBe(0);
    },
  );

  it('starts anew when it is written again', async () => {
    await using spool = await SpoolFile.create(options, 'c/again.spool');
    await spool.write(inPieces(randomBytes(100_000), 9000));
    const second = randomBytes(5000);
    await spool.write(inPieces(second, 100));
    expect(spool.bytes).toBe(5000);
    expect(Buffer.compare(await collect(spool.read(0, 5000), 5000), second)).toBe(0);
  });

  it('is readable by its owner alone, and gone when disposed', async () => {
    {
      await using spool = await SpoolFile.create(options, 'c/mode.spool');
      await spool.write(inPieces(randomBytes(10), 10));
      expect((await stat(spool.path)).mode & 0o777).toBe(0o600);
    }
    expect(await readdir(join(directory, 'c'))).not.toContain('mode.spool');
  });

  it('refuses to grow past its limit', async () => {
    await using spool = await SpoolFile.create({ ...options, maxBytes: 1000 }, 'c/limit.spool');
    await expect(spool.write(inPieces(randomBytes(1001), 100))).rejects.toMatchObject({ code: 'E_SPACE' });
  });

  it('never takes over a file that is there', async () => {
    await using _first = await SpoolFile.create(options, 'c/taken.spool');
    await expect(SpoolFile.create(options, 'c/taken.spool')).rejects.toMatchObject({ code: 'E_PRECONDITION' });
  });

  it('fails with its source, and hands on the same error', async () => {
    await using spool = await SpoolFile.create(options, 'c/broken.spool');
    const broken = new Error('cut');
    async function* source(): AsyncGenerator<Uint8Array> {
      yield randomBytes(PART_BYTES + 5);
      throw broken;
    }
    await expect(spool.write(source())).rejects.toBe(broken);
  });
});

describe('room', () => {
  it('is refused when the spool may not hold so much', async () => {
    await expect(checkRoom({ ...options, maxBytes: 10 }, 11)).rejects.toMatchObject({ code: 'E_SPACE' });
  });

  it('is refused when the disk has less than is needed and reserved', async () => {
    const huge = { ...options, maxBytes: Number.MAX_SAFE_INTEGER, reserveBytes: 2 ** 52 };
    await expect(checkRoom(huge, 1)).rejects.toMatchObject({ code: 'E_SPACE' });
    expect((await checkRoom(options, 1)).freeBytes).toBeGreaterThan(0);
  });
});
