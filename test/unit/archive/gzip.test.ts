import { randomBytes } from 'node:crypto';
import { crc32, deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { DeflateReader } from '../../../src/archive/deflate.ts';
import { readArchive } from '../../../src/archive/read.ts';
import * as build from '../../support/archive-builder.ts';
import { refusal } from './refusal.ts';

const tar = build.encodeTar(build.goodMembers(build.encodeState(build.coreRecords())));

async function inflate(chunks: Buffer[]): Promise<{ data: Buffer; consumed: number; done: boolean; kind: string }> {
  const out: Buffer[] = [];
  const reader = new DeflateReader((piece) => out.push(Buffer.from(piece)));
  let consumed = 0;
  for (const chunk of chunks) {
    const n = await reader.write(chunk);
    consumed += n;
    if (reader.done) break;
  }
  const { done, kind } = reader;
  reader.close();
  return { data: Buffer.concat(out), consumed, done, kind };
}

describe('the gzip frame', () => {
  it.each(['stored', 'stored-fixed', 'deflate'] as const)('takes the form %s', async (form) => {
    const report = await readArchive(build.chunked(build.encodeGzip(tar, { form }), 100));
    expect(report.compression).toBe(form === 'deflate' ? 'deflate' : 'stored');
  });

  it('refuses every other value of every header byte', async () => {
    for (let at = 0; at < 10; at += 1) {
      const archive = build.encodeGzip(tar);
      archive[at] = (archive[at] ?? 0) ^ 0x10;
      expect(await refusal(archive)).toMatchObject({ code: 'E_SNAPSHOT_FORMAT', details: { offset: at } });
    }
  });

  it.each([
    ['{"errors":["permission denied"]}', /JSON/],
    ['<html><body>502 Bad Gateway', /HTML/],
    ['age-encryption.org/v1\n-> X25519', /decrypt/],
    ['PK\x03\x04', /not the body of/],
  ])('says what %j is', async (text, hint) => {
    const e = await refusal(Buffer.from(text));
    expect(e.code).toBe('E_SNAPSHOT_FORMAT');
    expect(e.hint).toMatch(hint);
    expect(JSON.stringify(e)).not.toContain('permission denied');
  });

  it.each(['stored', 'deflate'] as const)('refuses a wrong CRC, a wrong size and no footer (%s)', async (form) => {
    const wrongCrc = build.encodeGzip(tar, { form, footer: build.gzipFooter((crc32(tar) ^ 1) >>> 0, tar.length) });
    expect(await refusal(wrongCrc)).toMatchObject({
      code: 'E_SNAPSHOT_CHECKSUM',
      message: expect.stringContaining('CRC32') as unknown,
    });
    const wrongSize = build.encodeGzip(tar, { form, footer: build.gzipFooter(crc32(tar), tar.length + 1) });
    expect(await refusal(wrongSize)).toMatchObject({
      code: 'E_SNAPSHOT_CHECKSUM',
      details: { stated: tar.length + 1 },
    });
    for (let missing = 1; missing <= 8; missing += 1) {
      const e = await refusal(build.encodeGzip(tar, { form }).subarray(0, -missing));
      expect(e).toMatchObject({
        code: 'E_SNAPSHOT_TRUNCATED',
        message: expect.stringContaining('gzip footer') as unknown,
      });
    }
  });

  it.each(['stored', 'deflate'] as const)(
    'refuses anything behind the footer, a second member too (%s)',
    async (form) => {
      const good = build.encodeGzip(tar, { form });
      for (const behind of [Buffer.from([0]), good]) {
        const e = await refusal(build.encodeGzip(tar, { form, behind }));
        expect(e).toMatchObject({
          code: 'E_SNAPSHOT_FORMAT',
          details: { offset: good.length, bytesBehind: behind.length },
        });
      }
      // The footer and what is behind it may come in different chunks.
      const split = [good, Buffer.from('x')];
      await expect(
        readArchive(
          (async function* () {
            yield* split;
          })(),
        ),
      ).rejects.toMatchObject({ code: 'E_SNAPSHOT_FORMAT' });
    },
  );

  it('refuses an archive that inflates out of all proportion, without holding it', async () => {
    // Zeros where a tar is due are refused at once; only a bomb inside a plausible record gets as far as the limit.
    const size = 80 * 1024 * 1024;
    const meta = build.metaJson(size);
    const state = build.encodeRecord({ key: 'k', value: Buffer.alloc(size - 12) });
    expect(state).toHaveLength(size);
    const plausible = Buffer.concat([
      build.encodeTar([{ name: 'meta.json', content: meta }], Buffer.alloc(0)),
      build.tarHeader('state.bin', size),
      state,
    ]);
    const bomb = build.encodeGzip(plausible, { form: 'deflate' });
    expect(bomb.length).toBeLessThan(200_000);
    expect(await refusal(bomb)).toMatchObject({
      code: 'E_SNAPSHOT_FORMAT',
      message: expect.stringContaining('inflates more than 100-fold') as unknown,
    });
  });
});

describe('deflate', () => {
  const block = (content: Buffer, final = false) => {
    const stored = build.storedBlock(content);
    stored[0] = final ? 1 : 0;
    return stored;
  };

  it.each([1, 7, 1000, 65_535, 1 << 20])(
    'goes over to zlib in the middle, with its window (chunks of %i)',
    async (size) => {
      const first = randomBytes(70_000);
      // Compressed with the stored part as dictionary: it can only be inflated by one who remembers that part.
      const second = Buffer.concat([first.subarray(-30_000), Buffer.alloc(5000, 'x')]);
      const compressed = deflateRawSync(second, { dictionary: first.subarray(-32_768) });
      expect(compressed.length).toBeLessThan(1000);
      const stream = Buffer.concat([
        block(first.subarray(0, 40_000)),
        block(first.subarray(40_000, 69_990)),
        block(first.subarray(69_990)),
        compressed,
        Buffer.from('footer!!'),
      ]);
      const chunks: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
      const { data, consumed, done, kind } = await inflate(chunks);
      expect(data.equals(Buffer.concat([first, second]))).toBe(true);
      expect({ consumed, done, kind }).toEqual({ consumed: stream.length - 8, done: true, kind: 'deflate' });
    },
  );

  it('takes a final stored block with content, and an empty one', async () => {
    const content = randomBytes(10);
    expect(await inflate([block(content, true)])).toMatchObject({ data: content, consumed: 15, done: true });
    expect(await inflate([block(content), block(Buffer.alloc(0), true)])).toMatchObject({ data: content, done: true });
  });

  it('refuses padding bits, a contradictory length, and what zlib refuses', async () => {
    const padded = block(randomBytes(10));
    padded[0] = 0x08;
    await expect(inflate([padded])).rejects.toMatchObject({ code: 'E_SNAPSHOT_FORMAT' });
    const contradictory = block(randomBytes(10));
    contradictory[3] = 0;
    await expect(inflate([contradictory])).rejects.toMatchObject({ code: 'E_SNAPSHOT_CHECKSUM' });
    await expect(inflate([Buffer.from([0x06, 0, 0, 0])])).rejects.toMatchObject({ code: 'E_SNAPSHOT_CHECKSUM' });
  });

  it('passes an error of its consumer on, from inside zlib too', async () => {
    for (const stream of [block(randomBytes(10)), deflateRawSync(randomBytes(1000))]) {
      const reader = new DeflateReader(() => {
        throw new Error('consumer');
      });
      await expect(async () => reader.write(stream)).rejects.toThrow('consumer');
      reader.close();
    }
  });
});
