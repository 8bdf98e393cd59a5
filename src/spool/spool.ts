/**
 * The encrypted spool: takes bytes at the speed they come, gives them to each destination at its own. Vault must never
 * feel a slow destination: a snapshot that is drained slowly holds the state lock, and one step-down meanwhile hangs
 * the whole node. Only ciphertext is ever written here.
 */
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

/** Length of a part and of the buffers that carry one: S3's 10,000 parts then reach 156 GiB. */
export const PART_BYTES = 16 * 2 ** 20;

/** Two parts on their way to disk and hash while a third fills: the smallest number that never idles. */
const PARTS_IN_FLIGHT = 2;
const READ_BYTES = 256 * 1024;

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

/** One spooled object. It keeps its file open; disposing closes and removes it. Also a body that can be uploaded. */
export class SpoolFile implements AsyncDisposable {
  readonly path: string;
  readonly partBytes = PART_BYTES;
  #bytes = 0;
  #partSha256: Uint8Array[] = [];
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

  /** SHA-256 of every part, in order. */
  get partSha256(): readonly Uint8Array[] {
    return this.#partSha256;
  }

  /** Takes a stream to its end and hashes each part on the way, on another thread. Can be called again: it starts anew. */
  readonly write: Sink<{ bytes: number }> = async (source: Bytes) => {
    this.#bytes = 0;
    this.#partSha256 = [];
    await this.#handle.truncate(0);
    const digests: Promise<Uint8Array>[] = [];
    const inFlight: Promise<void>[] = [];
    const idle: Buffer<ArrayBuffer>[] = [];
    let buffer = Buffer.allocUnsafeSlow(PART_BYTES);
    let filled = 0;
    let offset = 0;

    const flush = async (): Promise<void> => {
      const full = buffer;
      const part = full.subarray(0, filled);
      const at = offset;
      const digest = crypto.subtle.digest('SHA-256', part).then((d) => new Uint8Array(d));
      digests.push(digest);
      const done = Promise.all([this.#writeAll(part, at), digest]).then(() => {
        idle.push(full);
      });
      // Awaited below in order; a failure meanwhile must not count as unhandled.
      done.catch(() => undefined);
      inFlight.push(done);
      offset += filled;
      filled = 0;
      if (inFlight.length >= PARTS_IN_FLIGHT) await inFlight.shift();
      buffer = idle.pop() ?? Buffer.allocUnsafeSlow(PART_BYTES);
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
        let from = 0;
        while (from < chunk.byteLength) {
          const n = Math.min(chunk.byteLength - from, PART_BYTES - filled);
          buffer.set(chunk.subarray(from, from + n), filled);
          filled += n;
          from += n;
          if (filled === PART_BYTES) await flush();
        }
      }
      if (filled > 0) await flush();
    } finally {
      await Promise.allSettled(inFlight);
    }
    await Promise.all(inFlight);
    this.#partSha256 = await Promise.all(digests);
    this.#bytes = offset;
    return { bytes: offset };
  };

  /** The bytes from `start` up to, not including, `end`. Rejects with E_BUG when the file is shorter. */
  async *read(start: number, end: number): AsyncGenerator<Uint8Array> {
    for (let at = start; at < end; ) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.byteLength, at);
      if (bytesRead === 0) throw new StrongroomError('E_BUG', `the spool file ends at byte ${at}, before ${end}`);
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  /** Closes and removes the file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
    await rm(this.path, { force: true });
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

function spoolError(e: unknown, path: string): StrongroomError {
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
