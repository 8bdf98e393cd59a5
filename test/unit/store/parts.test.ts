import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { collect } from '../../../src/core/flow.ts';
import { checkMetadata } from '../../../src/store/metadata.ts';
import { bufferBody, compositeSha256, MAX_PARTS, partsOf } from '../../../src/store/parts.ts';
import { compositeCrc32 } from '../../../src/store/s3-headers.ts';

describe('parts', () => {
  test('cover a body exactly, whatever its length', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 5000 }),
        fc.integer({ min: 1, max: 700 }),
        async (bytes, partBytes) => {
          const content = randomBytes(bytes);
          const body = bufferBody(content, partBytes);
          const parts = partsOf(body);
          const read = await Promise.all(parts.map((part) => collect(body.read(part.start, part.end), partBytes)));
          expect(Buffer.concat(read).equals(content)).toBe(true);
          expect(parts.map((part) => part.number)).toEqual(parts.map((_, i) => i + 1));
          expect(parts.slice(0, -1).every((part) => part.end - part.start === partBytes)).toBe(true);
          expect(parts.every((part) => part.end > part.start)).toBe(true);
          for (const [i, part] of parts.entries()) {
            expect(
              createHash('sha256')
                .update(read[i] ?? '')
                .digest()
                .equals(part.sha256),
            ).toBe(true);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test('refuse hashes that do not fit the length, and more than 10,000', () => {
    const body = bufferBody(randomBytes(30), 10);
    expect(() => partsOf({ ...body, bytes: 31 })).toThrow(expect.objectContaining({ code: 'E_BUG' }));
    const hash = new Uint8Array(32);
    const many = { ...body, bytes: MAX_PARTS + 1, partBytes: 1, partSha256: Array(MAX_PARTS + 1).fill(hash) };
    expect(() => partsOf(many)).toThrow(expect.objectContaining({ code: 'E_PRECONDITION' }));
  });
});

test('the composite is what openssl makes of the file by hand', () => {
  const content = randomBytes(2500);
  const command =
    "split -b 1000 --filter='openssl dgst -sha256 -binary' - | openssl dgst -sha256 -binary | base64 | tr -d '\\n'";
  const byHand = execFileSync('bash', ['-c', command], { input: content }).toString();
  expect(compositeSha256(bufferBody(content, 1000).partSha256)).toBe(`${byHand}-3`);
});

test('the composite CRC-32 is one over the sums, big-endian', () => {
  // 0xcbf43926 is the check value of CRC-32 for "123456789".
  expect(crc32('123456789')).toBe(0xcbf43926);
  const sum = Buffer.from([0xcb, 0xf4, 0x39, 0x26]);
  const twice = Buffer.alloc(4);
  twice.writeUInt32BE(crc32(Buffer.concat([sum, sum])));
  expect(compositeCrc32([sum.toString('base64'), sum.toString('base64')])).toBe(`${twice.toString('base64')}-2`);
});

describe('metadata', () => {
  test.each([{}, { 'snapshot-id': '01JD', a: '' }, { kms: 'x'.repeat(2000) }])('%j passes', (metadata) => {
    expect(() => checkMetadata(metadata as Record<string, string>)).not.toThrow();
  });
  test.each([{ Upper: 'x' }, { '-a': 'x' }, { a: 'ü' }, { a: ' x' }, { a: 'x\r\ny: z' }, { a: 'x'.repeat(2048) }])(
    '%j is refused',
    (metadata) => {
      expect(() => checkMetadata(metadata as Record<string, string>)).toThrow(
        expect.objectContaining({ code: 'E_PRECONDITION' }),
      );
    },
  );
});
