/** What S3 would keep in headers, kept in a small file of its own. */
import { createHash } from 'node:crypto';
import { type BigIntStats, createReadStream } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { errnoOf } from './file-errors.ts';
import type { FilePaths } from './file-paths.ts';

const Meta = z.object({
  v: z.literal(1),
  bytes: z.number().int().nonnegative(),
  etag: z.string().min(1),
  sha256: z.string().min(1),
  contentType: z.string(),
  metadata: z.record(z.string(), z.string()).optional(),
});

const READ_BYTES = 1 << 20;

export type FileMeta = z.infer<typeof Meta>;

export type FoundFile = { meta: FileMeta; modifiedAt: Date };

/**
 * The object's meta, or null when there is no such file. A file without a fitting meta (copied there by hand, or left by
 * a crash between two renames) is hashed: right, but slow for a large one.
 */
export async function findFile(paths: FilePaths, signal: AbortSignal): Promise<FoundFile | null> {
  for (;;) {
    signal.throwIfAborted();
    const before = await statFile(paths.object);
    if (before === null) return null;
    const meta =
      (await readMeta(paths.meta, Number(before.size))) ?? (await hashFile(paths.object, Number(before.size), signal));
    const after = await statFile(paths.object);
    // A write swaps file and meta in two steps: only what stood still around both is one object.
    if (meta !== null && after !== null && before.ino === after.ino && before.mtimeNs === after.mtimeNs) {
      return { meta, modifiedAt: before.mtime };
    }
  }
}

async function statFile(path: string): Promise<BigIntStats | null> {
  try {
    const stats = await lstat(path, { bigint: true });
    return stats.isFile() ? stats : null;
  } catch (e) {
    if (errnoOf(e) === 'ENOENT' || errnoOf(e) === 'ENOTDIR') return null;
    throw e;
  }
}

async function readMeta(path: string, bytes: number): Promise<FileMeta | null> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (e) {
    if (errnoOf(e) === 'ENOENT' || errnoOf(e) === 'ENOTDIR' || errnoOf(e) === 'EISDIR') return null;
    throw e;
  }
  try {
    const meta = Meta.parse(JSON.parse(text));
    return meta.bytes === bytes ? meta : null;
  } catch {
    // Torn or foreign: the object itself is the truth.
    return null;
  }
}

async function hashFile(path: string, size: number, signal: AbortSignal): Promise<FileMeta | null> {
  const hash = createHash('sha256');
  let bytes = 0;
  // The buffer is made in its full length: a mebibyte for each of ten thousand manifests is most of the work.
  const highWaterMark = Math.min(READ_BYTES, Math.max(size, 1));
  try {
    for await (const chunk of createReadStream(path, { signal, highWaterMark }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.byteLength;
    }
  } catch (e) {
    signal.throwIfAborted();
    if (errnoOf(e) === 'ENOENT') return null;
    throw e;
  }
  return metaOf(bytes, hash.digest());
}

/** The meta of bytes that were hashed in one piece. */
function metaOf(bytes: number, sha256: Buffer): FileMeta {
  return {
    v: 1,
    bytes,
    etag: sha256.toString('hex'),
    sha256: sha256.toString('base64'),
    contentType: 'application/octet-stream',
  };
}
