/**
 * The encrypted spool: takes bytes at the speed they come, gives them to each destination at its own. Vault must never
 * feel a slow destination: a snapshot that is drained slowly holds the state lock, and one step-down meanwhile hangs
 * the whole node. Only ciphertext is ever written here.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import type { Bytes, Sink } from '../core/flow.ts';
import { formatBytes } from '../core/units.ts';

export type SpoolOptions = {
  /** a folder of ours alone, on a disk with room for the largest snapshot; made with mode 0700 */
  directory: string;
  /** no file grows past this, in bytes */
  maxBytes: number;
  /** bytes that must stay free on the disk */
  reserveBytes: number;
};

/** Length of a part: S3's 10,000 parts then reach 78 GiB, and few enough bytes are in memory at once. */
export const PART_BYTES = 8 * 2 ** 20;

/** What goes to disk in one call; while one such buffer is written, the other fills. */
const WRITE_BYTES = 2 ** 20;
const READ_BYTES = 256 * 1024;
/** Hashed in one go, while the next such piece is read: about a millisecond in which nothing else runs. A divisor of a part. */
const HASH_BYTES = 2 ** 20;

/** What was spooled, for uploads: it can be read again from any offset, as long as the file is not disposed of. */
export type SpooledBody = {
  bytes: number;
  partBytes: number;
  /** SHA-256 of every part, in order */
  partSha256: readonly Uint8Array[];
  read(start: number, end: number): Bytes;
};

/** Rejects with E_SPACE when the spool's disk cannot take `needed` bytes and keep its reserve. */
export async function checkRoom(options: SpoolOptions, needed: number): Promise<{ freeBytes: number }> {
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  const { bavail, bsize } = await statfs(options.directory);
  const freeBytes = bavail * bsize;
  if (needed > options.maxBytes) {
    throw new StrongroomError(
      'E_SPACE',
      `about ${formatBytes(needed)} are needed, but the spool may hold ${formatBytes(options.maxBytes)}`,
      { hint: 'raise spool.maxBytes', details: { needed, maxBytes: options.maxBytes } },
    );
  }
  if (needed + options.reserveBytes > freeBytes) {
    throw new StrongroomError(
      'E_SPACE',
      `the spool's disk has ${formatBytes(freeBytes)} free; about ${formatBytes(needed)} and a reserve of ${formatBytes(options.reserveBytes)} are needed`,
      {
        hint: `free some room below ${options.directory}, or point spool.directory at a larger disk`,
        details: { needed, freeBytes, reserveBytes: options.reserveBytes },
      },
    );
  }
  return { freeBytes };
}

/** One spooled object. It keeps its file open; disposing closes and removes it. */
export class SpoolFile implements AsyncDisposable {
  readonly path: string;
  #bytes = 0;
  readonly #handle: FileHandle;
  readonly #options: SpoolOptions;

  private constructor(path: string, handle: FileHandle, options: SpoolOptions) {
    this.path = path;
    this.#handle = handle;
    this.#options = options;
  }

  /** Makes an empty file `name` in the spool (mode 0600). Rejects with E_SPACE or E_PRECONDITION when it cannot. */
  static async create(options: SpoolOptions, name: string): Promise<SpoolFile> {
    const path = join(options.directory, name);
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      return new SpoolFile(path, await open(path, 'wx+', 0o600), options);
    } catch (e) {
      throw spoolError(e, path);
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a stream to its end, as fast as the disk does. Can be called again: it starts anew. */
  readonly write: Sink<{ bytes: number }> = async (source: Bytes) => {
    this.#bytes = 0;
    await this.#handle.truncate(0);
    let filling = Buffer.allocUnsafeSlow(WRITE_BYTES);
    let writing = Buffer.allocUnsafeSlow(WRITE_BYTES);
    let pending: Promise<void> = Promise.resolve();
    let filled = 0;
    let offset = 0;

    const flush = async (): Promise<void> => {
      await pending;
      [filling, writing] = [writing, filling];
      pending = this.#writeAll(writing.subarray(0, filled), offset);
      // Awaited before the next write; a failure meanwhile must not count as unhandled.
      pending.catch(() => undefined);
      offset += filled;
      filled = 0;
    };

    try {
      for await (const chunk of source) {
        if (offset + filled + chunk.byteLength > this.#options.maxBytes) {
          throw new StrongroomError('E_SPACE', `the snapshot grows past ${formatBytes(this.#options.maxBytes)}`, {
            hint: 'raise spool.maxBytes',
            // Another download would only be thrown away again.
            retryable: false,
          });
        }
        for (let from = 0; from < chunk.byteLength; ) {
          const n = Math.min(chunk.byteLength - from, WRITE_BYTES - filled);
          filling.set(chunk.subarray(from, from + n), filled);
          filled += n;
          from += n;
          if (filled === WRITE_BYTES) await flush();
        }
      }
      if (filled > 0) await flush();
    } finally {
      await Promise.allSettled([pending]);
    }
    await pending;
    this.#bytes = offset;
    return { bytes: offset };
  };

  /**
   * Hashes every part of what was written, once for all destinations. Not while it is written: whoever feeds the spool is
   * waited for by a cluster, and SHA-256 is the costliest thing on the way (about 200 MB/s per core without hardware help).
   * On this thread: on those of Node's pool, WebCrypto would copy every part before it hashes it.
   */
  async hashParts(signal: AbortSignal): Promise<SpooledBody> {
    const bytes = this.#bytes;
    const partSha256: Uint8Array[] = [];
    let [reading, hashing] = [Buffer.allocUnsafeSlow(HASH_BYTES), Buffer.allocUnsafeSlow(HASH_BYTES)];
    const readFrom = (at: number, into: Buffer): Promise<Buffer> => {
      const piece = into.subarray(0, Math.max(0, Math.min(HASH_BYTES, bytes - at)));
      const read = this.#readAll(piece, at).then(() => piece);
      // Awaited a turn later; a failure meanwhile must not count as unhandled.
      read.catch(() => undefined);
      return read;
    };
    let next = readFrom(0, reading);
    let hash = createHash('sha256');
    for (let at = 0; at < bytes; at += HASH_BYTES) {
      signal.throwIfAborted();
      const piece = await next;
      [reading, hashing] = [hashing, reading];
      next = readFrom(at + HASH_BYTES, reading);
      hash.update(piece);
      if ((at + piece.byteLength) % PART_BYTES === 0 || at + piece.byteLength === bytes) {
        partSha256.push(hash.digest());
        hash = createHash('sha256');
      }
    }
    await next;
    return { bytes, partBytes: PART_BYTES, partSha256, read: (start, end) => this.read(start, end) };
  }

  /** The bytes from `start` up to, not including, `end`. Rejects with E_BUG when the file is shorter. */
  async *read(start: number, end: number): AsyncGenerator<Uint8Array> {
    for (let at = start; at < end; ) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
      await this.#readAll(buffer, at);
      yield buffer;
      at += buffer.byteLength;
    }
  }

  /** Closes and removes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
    await rm(this.path, { force: true });
  }

  async #readAll(into: Uint8Array, position: number): Promise<void> {
    for (let read = 0; read < into.byteLength; ) {
      const { bytesRead } = await this.#handle.read(into, read, into.byteLength - read, position + read);
      if (bytesRead === 0) throw new StrongroomError('E_BUG', `the spool file ends at byte ${position + read}`);
      read += bytesRead;
    }
  }

  async #writeAll(part: Uint8Array, position: number): Promise<void> {
    try {
      for (let written = 0; written < part.byteLength; ) {
        const { bytesWritten } = await this.#handle.write(part, written, part.byteLength - written, position + written);
        written += bytesWritten;
      }
    } catch (e) {
      throw spoolError(e, this.path);
    }
  }
}

/** What a file operation in the spool's folder that failed means to people. */
export function spoolError(e: unknown, path: string): StrongroomError {
  const code = e instanceof Error && 'code' in e ? e.code : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StrongroomError('E_SPACE', `no room left for the spool file ${path}`, {
      hint: 'free some room, or point spool.directory at a larger disk',
      cause: e,
    });
  }
  return new StrongroomError('E_PRECONDITION', `the spool file ${path} cannot be written`, {
    hint: 'spool.directory must be a folder that this user may write to',
    cause: e,
  });
}
