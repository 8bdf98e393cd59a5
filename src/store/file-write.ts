/** Writing into a directory: a temporary file, synced, then made visible in one step. */
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, link, mkdir, open, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import { errnoOf } from './file-errors.ts';
import type { FilePaths } from './file-paths.ts';
import { compositeSha256, partsOf } from './parts.ts';
import type { PartedBody } from './store.ts';

export type Written = { tmp: string; bytes: number; etag: string; sha256: string };

const UPLOAD_ID = /^([0-9a-z]{8,})-[0-9a-f]{16}$/;

/** Begins with the time, so that the age of a temporary file needs no clock of the file system. */
function newUploadId(now = new Date()): string {
  return `${now.getTime().toString(36)}-${randomBytes(8).toString('hex')}`;
}

/** When the upload began, or null when the name is none of ours. */
export function uploadTime(uploadId: string): Date | null {
  const match = UPLOAD_ID.exec(uploadId);
  return match?.[1] === undefined ? null : new Date(Number.parseInt(match[1], 36));
}

/** What mkdir and open say when a folder goes away while they are at work; mkdir says ENOTDIR of one that it found, and then did not. */
const VANISHED = ['ENOENT', 'ENOTDIR'];

/** Creates a temporary file of the key; its folder may be removed by another upload at the same moment. */
export async function openTmp(folder: string): Promise<{ path: string; handle: FileHandle }> {
  const path = join(folder, newUploadId());
  for (let attempt = 1; ; attempt += 1) {
    try {
      await mkdir(folder, { recursive: true });
      return { path, handle: await open(path, 'wx', 0o640) };
    } catch (e) {
      if (!VANISHED.includes(errnoOf(e)) || attempt >= 100) throw e;
    }
  }
}

/** Removes a temporary file and those of its folders that are empty then, up to `top`. Idempotent. */
export async function removeTmp(path: string, top: string): Promise<void> {
  await rm(path, { force: true });
  for (let folder = dirname(path); folder.length > top.length; folder = dirname(folder)) {
    try {
      await rmdir(folder);
    } catch (e) {
      if (errnoOf(e) === 'ENOENT') continue;
      return;
    }
  }
}

/**
 * Writes `body` and syncs it. Throws E_STORE_CHECKSUM when the bytes do not fit the hashes that came with them; what the
 * body throws passes as it is. `guard` translates what the file system throws.
 */
export async function writeBody(
  handle: FileHandle,
  body: PartedBody | Uint8Array,
  signal: AbortSignal,
  guard: <T>(fn: () => Promise<T>) => Promise<T>,
  onProgress: ((bytes: number) => void) | undefined,
): Promise<Omit<Written, 'tmp'>> {
  let bytes = 0;
  const take = async (source: Bytes) => {
    const hash = createHash('sha256');
    for await (const chunk of source) {
      signal.throwIfAborted();
      hash.update(chunk);
      await guard(() => writeAll(handle, chunk));
      bytes += chunk.byteLength;
    }
    return hash.digest();
  };
  if (body instanceof Uint8Array) {
    const sha256 = await take(whole(body));
    await guard(() => handle.sync());
    onProgress?.(bytes);
    return { bytes, etag: sha256.toString('hex'), sha256: sha256.toString('base64') };
  }
  for (const part of partsOf(body)) {
    const sha256 = await take(body.read(part.start, part.end));
    if (bytes !== part.end || !sha256.equals(part.sha256)) {
      throw new StrongroomError('E_STORE_CHECKSUM', `part ${part.number} of the body does not fit its SHA-256`, {
        hint: 'try again; if it stays, suspect the disk of the spool or the memory of this machine',
      });
    }
    onProgress?.(bytes);
  }
  await guard(() => handle.sync());
  const sha256 = compositeSha256(body.partSha256);
  return { bytes, etag: sha256, sha256 };
}

/**
 * Makes `tmp` visible as `target`, unless something is there. A link cannot replace a file, so this holds between any
 * two processes. A file system without links (FAT, exFAT) gets a rename, guarded only by the lock of the key.
 */
export async function publishNew(tmp: string, target: string, makeLink: typeof link = link): Promise<void> {
  await makeFolder(dirname(target));
  try {
    await makeLink(tmp, target);
  } catch (e) {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errnoOf(e))) throw e;
    await rename(tmp, target);
  }
  await syncFolder(dirname(target));
}

/** Writes a small file so that it is there whole or not at all. */
export async function replaceFile(paths: Pick<FilePaths, 'tmp'>, target: string, text: string): Promise<void> {
  const { path, handle } = await openTmp(paths.tmp);
  try {
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await makeFolder(dirname(target));
    await rename(path, target);
    await syncFolder(dirname(target));
  } catch (e) {
    await rm(path, { force: true });
    throw e;
  }
}

/** A rename or link survives a power cut only when its folder is synced. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** mkdir -p; every folder that it made is synced into its parent. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength; ) {
    offset += (await handle.write(chunk, offset, chunk.byteLength - offset)).bytesWritten;
  }
}

async function* whole(bytes: Uint8Array): Bytes {
  if (bytes.byteLength > 0) yield bytes;
}
