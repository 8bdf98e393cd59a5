/** Arithmetic and sums of a body that is sent in parts. */
import { createHash } from 'node:crypto';
import { StrongroomError } from '../core/errors.ts';
import type { PartedBody } from './store.ts';

/** S3 takes parts 1 to 10,000: with parts of 16 MiB an object of 156 GiB. */
export const MAX_PARTS = 10_000;

/** One part: `number` counts from 1, the bytes are `start` up to, not including, `end`. */
export type Part = { number: number; start: number; end: number; sha256: Uint8Array };

/**
 * The parts of `body`, in order. Throws E_BUG when its hashes do not fit its length, E_PRECONDITION past
 * {@link MAX_PARTS}.
 */
export function partsOf(body: PartedBody): Part[] {
  const count = Math.ceil(body.bytes / body.partBytes);
  if (count !== body.partSha256.length) {
    throw new StrongroomError('E_BUG', `a body of ${count} parts came with ${body.partSha256.length} hashes`);
  }
  if (count > MAX_PARTS) {
    throw new StrongroomError('E_PRECONDITION', `${body.bytes} bytes are more than ${MAX_PARTS} parts`, {
      hint: `raise the part size to at least ${Math.ceil(body.bytes / MAX_PARTS / 2 ** 20)}MiB`,
    });
  }
  return body.partSha256.map((sha256, i) => ({
    number: i + 1,
    start: i * body.partBytes,
    end: Math.min(body.bytes, (i + 1) * body.partBytes),
    sha256,
  }));
}

/**
 * The COMPOSITE checksum as S3 shows it: base64 of SHA-256 over the SHA-256 of every part, then `-` and their number.
 * By hand: `split -b <partBytes> --filter='openssl dgst -sha256 -binary' FILE | openssl dgst -sha256 -binary | base64`.
 */
export function compositeSha256(partSha256: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const part of partSha256) hash.update(part);
  return `${hash.digest('base64')}-${partSha256.length}`;
}

/** Bytes in memory as a body in parts of `partBytes`; for what is small, and for tests. Never empty parts. */
export function bufferBody(bytes: Uint8Array, partBytes = 16 * 2 ** 20): PartedBody {
  const partSha256: Uint8Array[] = [];
  for (let start = 0; start < bytes.byteLength; start += partBytes) {
    partSha256.push(
      createHash('sha256')
        .update(bytes.subarray(start, start + partBytes))
        .digest(),
    );
  }
  return {
    bytes: bytes.byteLength,
    partBytes,
    partSha256,
    async *read(start, end) {
      // In pieces, as a file would give them: a consumer that takes one chunk for a whole part is found out.
      for (let at = start; at < end; at += 65_536) yield bytes.subarray(at, Math.min(end, at + 65_536));
    },
  };
}
