/**
 * A plain snapshot on its way to disk. Until all of it is proven it has another name, which nobody else may read; then it
 * gets its own in one step, and never in the place of another file.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, link, open, readdir, rename, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import type { Bytes, Sink } from '../core/flow.ts';
import type { Log } from '../core/log.ts';
import { errnoOf } from '../store/file-errors.ts';
import { syncFolder } from '../store/file-write.ts';
import { occupied, type PlainTarget, unwritable } from './plain-target.ts';

const UNFINISHED = /^\.strongroom-export-[0-9a-f]{16}\.partial$/;
/** What file systems without hard links say, FAT and some mounts of a network. */
const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EXDEV'];
/** What is said where a folder cannot be opened or synced as such; the file itself is synced by then. */
const NO_FOLDER_SYNC = ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES', 'EPERM', 'EISDIR'];
/** Group and others. */
const NOT_OWNER = 0o077;

/** One file that is not there yet. Disposing removes whatever {@link PlainFile.publish} did not give its name. */
export class PlainFile implements AsyncDisposable {
  readonly #target: PlainTarget;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #log: Log;
  #isThere = true;

  private constructor(target: PlainTarget, path: string, handle: FileHandle, log: Log) {
    this.#target = target;
    this.#path = path;
    this.#handle = handle;
    this.#log = log;
  }

  /**
   * An empty file of mode 0600 beside the target, whatever the umask. Rejects with E_PRECONDITION where none can be made,
   * and where the file system would let others read it; with E_SPACE when the disk is full.
   */
  static async create(target: PlainTarget, log: Log): Promise<PlainFile> {
    const path = join(target.folder, `.strongroom-export-${randomBytes(8).toString('hex')}.partial`);
    const handle = await open(path, 'wx', 0o600).catch((e: unknown) => {
      throw spaceError(target, e) ?? unwritable(target.folder, e);
    });
    const file = new PlainFile(target, path, handle, log);
    try {
      await file.#closeToOthers();
      return file;
    } catch (e) {
      await file[Symbol.asyncDispose]();
      throw e;
    }
  }

  /** Takes a stream to its end. Can be called again: it starts anew. */
  readonly write: Sink<{ bytes: number }> = async (source: Bytes) => {
    let bytes = 0;
    await this.#guard(() => this.#handle.truncate(0));
    for await (const chunk of source) {
      for (let from = 0; from < chunk.byteLength; ) {
        const length = chunk.byteLength - from;
        const at = bytes;
        const { bytesWritten } = await this.#guard(() => this.#handle.write(chunk, from, length, at));
        from += bytesWritten;
        bytes += bytesWritten;
      }
    }
    return { bytes };
  };

  /**
   * Brings what was written to the disk and gives it its name. Only for content that was proven to its last byte. Rejects
   * with E_PRECONDITION when meanwhile something is there; after any rejection nothing of this file has that name.
   *
   * A hard link cannot replace a file. Where there are none, an empty file holds the name for an instant; `makeLink` is for
   * tests of that.
   */
  async publish(signal: AbortSignal, makeLink: typeof link = link): Promise<void> {
    const { path, folder } = this.#target;
    await this.#guard(() => this.#handle.sync());
    signal.throwIfAborted();
    try {
      await makeLink(this.#path, path);
    } catch (e) {
      if (errnoOf(e) === 'EEXIST') throw occupied(this.#target);
      if (!NO_LINKS.includes(errnoOf(e))) throw this.#translate(e);
      await this.#guard(() => this.#replaceOwn());
    }
    try {
      await rm(this.#path, { force: true });
      this.#isThere = false;
      await syncFolder(folder).catch((e: unknown) => {
        if (!NO_FOLDER_SYNC.includes(errnoOf(e))) throw e;
      });
    } catch (e) {
      await this.#guard(() => rm(path, { force: true }));
      throw this.#translate(e);
    }
  }

  /** Never rejects: it runs when something failed already, and that is to be told. What it cannot remove is logged. */
  async [Symbol.asyncDispose](): Promise<void> {
    // Published files are synced, all others are thrown away: a close that fails loses nothing.
    await this.#handle.close().catch(() => undefined);
    if (!this.#isThere) return;
    await rm(this.#path, { force: true }).catch((e: unknown) => {
      this.#log.error({ path: this.#path, err: String(e) }, 'this file holds plain data: delete it by hand');
    });
  }

  /** An umask may have taken the owner's own rights; a file system without modes gives everybody all of them. */
  async #closeToOthers(): Promise<void> {
    await this.#handle.chmod(0o600).catch(() => undefined);
    const { mode } = await this.#guard(() => this.#handle.stat());
    if ((mode & NOT_OWNER) === 0) return;
    throw new StrongroomError(
      'E_PRECONDITION',
      `the file system of ${this.#target.folder} lets other users read what is written there`,
      { hint: 'give an --output on a disk that keeps permissions, or mount it with umask=077' },
    );
  }

  /** Made by nobody else: what the rename replaces is the empty file of the line before. */
  async #replaceOwn(): Promise<void> {
    const { path } = this.#target;
    await (await open(path, 'wx', 0o600)).close();
    try {
      await rename(this.#path, path);
    } catch (e) {
      await unlink(path);
      throw e;
    }
  }

  async #guard<T>(fn: () => Promise<T>): Promise<T> {
    try {
      return await fn();
    } catch (e) {
      throw this.#translate(e);
    }
  }

  #translate(e: unknown): StrongroomError {
    if (errnoOf(e) === 'EEXIST') return occupied(this.#target);
    return spaceError(this.#target, e) ?? unwritable(this.#target.folder, e);
  }
}

/** Files that exports into this folder left when they were killed, and those of exports that still run. */
export async function unfinishedIn({ folder }: PlainTarget): Promise<string[]> {
  // A folder that may be written to and not be listed keeps them to itself.
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => UNFINISHED.test(name)).map((name) => join(folder, name));
}

function spaceError({ path }: PlainTarget, e: unknown): StrongroomError | null {
  if (!['ENOSPC', 'EDQUOT', 'EFBIG'].includes(errnoOf(e))) return null;
  return new StrongroomError('E_SPACE', `no room left for ${path}`, {
    hint: 'nothing was kept; free some room, or give an --output on a larger disk',
    cause: e,
  });
}
