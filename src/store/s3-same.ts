/** Is an object in the store the body that was sent? */
import { createHash } from 'node:crypto';
import type { ObjectKey } from './layout.ts';
import type { S3Context } from './s3-context.ts';
import { download } from './s3-get.ts';
import type { FoundObject } from './s3-object.ts';
import type { PartedBody } from './store.ts';

/** What the store should show as checksum of the whole, in its own form. */
export type ExpectedSums = { sha256?: string; crc32?: string };

/** How long an object may be read back, in milliseconds. */
const READ_BACK_TIMEOUT_MS = 3_600_000;

/** False when length or checksum contradict what was sent; a store that shows no checksum contradicts nothing. */
export function fits(found: FoundObject, bytes: number, expected: ExpectedSums): boolean {
  if (found.bytes !== bytes) return false;
  if (found.sha256 !== undefined && expected.sha256 !== undefined) return found.sha256 === expected.sha256;
  if (found.crc32 !== undefined && expected.crc32 !== undefined) return found.crc32 === expected.crc32;
  return true;
}

/**
 * Like {@link fits}, but proven: where no checksum is common to both sides the object is read back and hashed. Slow,
 * and needed only after an answer was lost by a destination that keeps no checksums.
 */
export async function isSame(
  ctx: S3Context,
  key: ObjectKey,
  found: FoundObject,
  body: Pick<PartedBody, 'bytes' | 'partBytes' | 'partSha256'>,
  expected: ExpectedSums,
): Promise<boolean> {
  if (!fits(found, body.bytes, expected)) return false;
  const isProven =
    (found.sha256 !== undefined && expected.sha256 !== undefined) ||
    (found.crc32 !== undefined && expected.crc32 !== undefined);
  return isProven || (await readsBack(ctx, key, found, body));
}

async function readsBack(
  ctx: S3Context,
  key: ObjectKey,
  found: FoundObject,
  body: Pick<PartedBody, 'partBytes' | 'partSha256'>,
): Promise<boolean> {
  const signal = AbortSignal.timeout(READ_BACK_TIMEOUT_MS);
  const versionId = found.versionId === undefined ? {} : { versionId: found.versionId };
  for (const [i, sha256] of body.partSha256.entries()) {
    const range = { start: i * body.partBytes, end: Math.min(found.bytes, (i + 1) * body.partBytes) };
    const hash = createHash('sha256');
    for await (const chunk of download(ctx, key, { signal, range, ...versionId })) hash.update(chunk);
    if (!hash.digest().equals(sha256)) return false;
  }
  return true;
}
