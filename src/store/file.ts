/** A directory as a {@link Store}: for an air gap, for development, for a mounted share. */
import { constants } from 'node:fs';
import { access, type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import { errnoOf, translateFile } from './file-errors.ts';
import { walkKeys } from './file-list.ts';
import { withFileLock } from './file-lock.ts';
import { type FileMeta, findFile } from './file-meta.ts';
import { type FilePaths, HIDDEN, pathsOf, refuseEscape } from './file-paths.ts';
import { openTmp, publishNew, removeTmp, replaceFile, syncFolder, uploadTime, writeBody } from './file-write.ts';
import { type ObjectKey, PROBE } from './layout.ts';
import { checkMetadata } from './metadata.ts';
import type {
  LockMode,
  PartedBody,
  PutOptions,
  Store,
  StoredObject,
  StoredVersion,
  UnfinishedUpload,
} from './store.ts';

export type FileStoreOptions = {
  /** the destination's name in the config */
  name: string;
  /** must exist: a mount that is missing must not be taken for an empty store */
  directory: string;
};

const READ_BYTES = 1 << 20;

type Guard = <T>(fn: () => Promise<T>) => Promise<T>;

/** Objects are plain files below the directory, readable without us; there are no versions and no locks. */
export class FileStore implements Store {
  readonly name: string;
  readonly location: string;
  readonly #root: string;

  constructor(options: FileStoreOptions) {
    this.name = options.name;
    this.#root = resolve(options.directory);
    this.location = `file://${this.#root}`;
  }

  async put(key: ObjectKey, body: PartedBody | Uint8Array, options: PutOptions): Promise<StoredObject> {
    const { signal, condition, contentType, metadata, lock } = options;
    signal.throwIfAborted();
    this.#refuseLock(lock);
    checkMetadata(metadata ?? {});
    const paths = pathsOf(this.#root, key);
    const guard: Guard = (fn) => this.#guard('storing', key, signal, fn);
    let etag: string;
    await guard(() => this.#refuse(paths, key, condition, signal));
    const { path, handle } = await guard(() => openTmp(paths.tmp));
    try {
      const written = await closing(handle, () => writeBody(handle, body, signal, guard, options.onProgress));
      etag = written.etag;
      const meta: FileMeta = { v: 1, ...written, contentType, ...(metadata === undefined ? {} : { metadata }) };
      await guard(() => withFileLock(paths.lock, signal, () => this.#publish(path, paths, key, meta, options)));
    } finally {
      // What cannot be removed now is found by listUnfinished later; it must not hide why the put failed.
      await removeTmp(path, this.#tmp).catch(() => {});
    }
    const stored = await this.head(key, { signal: AbortSignal.timeout(60_000) });
    if (stored !== null && stored.etag === etag) return stored;
    // Whoever wrote since has their own: to return theirs would be to give it away as ours.
    if (stored !== null) throw this.#conflict(key);
    throw new StrongroomError('E_STORE_RESPONSE', `${this.#phrase('storing', key)}: stored, and then it is not there`);
  }

  async *get(
    key: ObjectKey,
    options: { signal: AbortSignal; range?: { start: number; end: number }; versionId?: string },
  ): Bytes {
    this.#refuseVersion(options.versionId);
    const { signal, range } = options;
    const paths = pathsOf(this.#root, key);
    const phrase = this.#phrase('reading', key);
    const guard: Guard = (fn) => this.#guard('reading', key, signal, fn);
    await guard(() => this.#refuseEscape(paths));
    const missing = () => new StrongroomError('E_NOT_FOUND', `${phrase}: it is not there`);
    const handle = await guard(() => openObject(paths, missing));
    try {
      const { size } = await guard(() => handle.stat());
      const end = Math.min(size, range?.end ?? size);
      let at = range?.start ?? 0;
      if (range !== undefined && range.end > range.start && at >= size) {
        throw new StrongroomError('E_PRECONDITION', `${phrase}: the range begins behind the end of the object`);
      }
      while (at < end) {
        signal.throwIfAborted();
        const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
        const position = at;
        const { bytesRead } = await guard(() => handle.read(buffer, 0, buffer.byteLength, position));
        if (bytesRead === 0) throw new StrongroomError('E_STORE_RESPONSE', `${phrase}: ended at byte ${at} of ${end}`);
        at += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await handle.close();
    }
  }

  async head(key: ObjectKey, options: { signal: AbortSignal; versionId?: string }): Promise<StoredObject | null> {
    this.#refuseVersion(options.versionId);
    const paths = pathsOf(this.#root, key);
    return this.#guard('looking for', key, options.signal, async () => {
      await this.#refuseEscape(paths);
      return this.#find(key, paths, options.signal);
    });
  }

  async *list(prefix: string, options: { signal: AbortSignal; after?: string }): AsyncIterable<StoredObject> {
    const { signal, after } = options;
    try {
      await this.#refuseMissing();
      for await (const key of walkKeys(this.#root, prefix, after ?? '', signal)) {
        const found = await this.#find(key as ObjectKey, pathsOf(this.#root, key), signal);
        // Removed between the listing of its folder and now.
        if (found !== null) yield found;
      }
    } catch (e) {
      signal.throwIfAborted();
      throw translateFile(e, this.#phrase('listing', prefix));
    }
  }

  async *versions(prefix: string, { signal }: { signal: AbortSignal }): AsyncIterable<StoredVersion> {
    for await (const { key, bytes, modifiedAt } of this.list(prefix, { signal })) {
      yield { key, versionId: null, isCurrent: true, isDeleteMarker: false, bytes, modifiedAt };
    }
  }

  async extendLock(
    _key: ObjectKey,
    change: { versionId?: string; until: Date; mode: LockMode },
    { signal }: { signal: AbortSignal },
  ): Promise<void> {
    signal.throwIfAborted();
    this.#refuseLock(change);
  }

  async delete(key: ObjectKey, options: { signal: AbortSignal; versionId?: string | null }): Promise<void> {
    this.#refuseVersion(options.versionId ?? undefined);
    const paths = pathsOf(this.#root, key);
    await this.#guard('deleting', key, options.signal, async () => {
      await this.#refuseEscape(paths);
      await withFileLock(paths.lock, options.signal, async () => {
        await rm(paths.object, { force: true });
        await rm(paths.meta, { force: true });
      });
      await syncFolder(dirname(paths.object)).catch((e: unknown) => {
        if (errnoOf(e) !== 'ENOENT') throw e;
      });
    });
  }

  async legalHold(_key: ObjectKey, { signal }: { signal: AbortSignal; versionId?: string }): Promise<null> {
    signal.throwIfAborted();
    return null;
  }

  async setLegalHold(
    key: ObjectKey,
    _isHeld: boolean,
    { signal }: { signal: AbortSignal; versionId?: string },
  ): Promise<never> {
    signal.throwIfAborted();
    throw new StrongroomError('E_PRECONDITION', `${this.#phrase('holding', key)}: a directory keeps no legal holds`, {
      hint: 'keep a second copy in a bucket with object lock',
    });
  }

  async probeWrite(prefix: string, { signal, lock }: Pick<PutOptions, 'signal' | 'lock'>): Promise<void> {
    signal.throwIfAborted();
    this.#refuseLock(lock);
    const paths = pathsOf(this.#root, `${prefix}${prefix === '' || prefix.endsWith('/') ? '' : '/'}${PROBE}`);
    await this.#guard('probing', prefix, signal, async () => {
      await this.#refuseEscape(paths);
      const { path, handle } = await openTmp(paths.tmp);
      try {
        await closing(handle, async () => {
          await handle.writeFile('probe');
          await handle.sync();
        });
      } finally {
        await removeTmp(path, this.#tmp);
      }
      await access(await nearestFolder(dirname(paths.object)), constants.W_OK | constants.X_OK);
    });
  }

  async *listUnfinished(prefix: string, { signal }: { signal: AbortSignal }): AsyncIterable<UnfinishedUpload> {
    try {
      await this.#refuseMissing();
      for await (const path of walkKeys(this.#tmp, prefix, '', signal)) {
        const slash = path.lastIndexOf('/');
        const uploadId = path.slice(slash + 1);
        const startedAt = uploadTime(uploadId);
        if (startedAt !== null) yield { key: path.slice(0, slash) as ObjectKey, uploadId, startedAt };
      }
    } catch (e) {
      signal.throwIfAborted();
      throw translateFile(e, this.#phrase('listing unfinished uploads of', prefix));
    }
  }

  async abortUnfinished(upload: UnfinishedUpload, { signal }: { signal: AbortSignal }): Promise<void> {
    signal.throwIfAborted();
    if (uploadTime(upload.uploadId) === null) {
      throw new StrongroomError('E_PRECONDITION', `"${upload.uploadId}" is not an upload of a directory`);
    }
    const paths = pathsOf(this.#root, upload.key);
    await this.#guard('aborting the upload of', upload.key, signal, async () => {
      await this.#refuseMissing();
      await removeTmp(join(paths.tmp, upload.uploadId), this.#tmp);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  get #tmp(): string {
    return join(this.#root, HIDDEN, 'tmp');
  }

  /** Holds the key's lock: nobody else writes this key now. */
  async #publish(tmp: string, paths: FilePaths, key: ObjectKey, meta: FileMeta, options: PutOptions): Promise<void> {
    const { condition, signal } = options;
    await this.#refuse(paths, key, condition, signal);
    if (condition === 'absent') {
      await replaceFile(paths, paths.meta, JSON.stringify(meta));
      try {
        await publishNew(tmp, paths.object);
      } catch (e) {
        // Whatever is there is not what the meta says: without one it is hashed.
        await rm(paths.meta, { force: true });
        if (errnoOf(e) === 'EEXIST') throw this.#conflict(key);
        throw e;
      }
      return;
    }
    // Never a new file with an old meta: readers of a file without one hash it.
    await rm(paths.meta, { force: true });
    await rename(tmp, paths.object);
    await syncFolder(dirname(paths.object));
    await replaceFile(paths, paths.meta, JSON.stringify(meta));
  }

  async #find(key: ObjectKey, paths: FilePaths, signal: AbortSignal): Promise<StoredObject | null> {
    const found = await findFile(paths, signal);
    if (found === null) return null;
    const { bytes, etag, sha256, metadata } = found.meta;
    return {
      key,
      bytes,
      etag,
      sha256,
      modifiedAt: found.modifiedAt,
      ...(metadata === undefined ? {} : { metadata }),
    };
  }

  async #refuse(
    paths: FilePaths,
    key: ObjectKey,
    condition: PutOptions['condition'],
    signal: AbortSignal,
  ): Promise<void> {
    await this.#refuseEscape(paths);
    const found = await findFile(paths, signal);
    if (condition === 'absent' ? found !== null : found?.meta.etag !== condition.etag) throw this.#conflict(key);
  }

  async #refuseEscape(paths: FilePaths): Promise<void> {
    await this.#refuseMissing();
    await refuseEscape(this.#root, paths.object);
  }

  async #refuseMissing(): Promise<void> {
    const isThere = await stat(this.#root).then(
      (stats) => stats.isDirectory(),
      (e: unknown) => {
        if (errnoOf(e) === 'ENOENT' || errnoOf(e) === 'ENOTDIR') return false;
        throw e;
      },
    );
    if (isThere) return;
    throw new StrongroomError('E_STORE_BUCKET', `destination "${this.name}": there is no directory ${this.#root}`, {
      hint: 'mount it or create it; strongroom never creates the directory of a store',
    });
  }

  #refuseVersion(versionId: string | undefined): void {
    if (versionId === undefined) return;
    throw new StrongroomError('E_PRECONDITION', `destination "${this.name}": a directory keeps no versions`);
  }

  #refuseLock(lock: PutOptions['lock']): void {
    if (lock === undefined) return;
    throw new StrongroomError('E_PRECONDITION', `destination "${this.name}": a directory cannot lock`, {
      hint: 'keep a second copy in a bucket with object lock',
    });
  }

  #conflict(key: ObjectKey): StrongroomError {
    const message = `${this.#phrase('storing', key)}: it exists already, or changed meanwhile`;
    return new StrongroomError('E_STORE_CONFLICT', message, { details: { destination: this.name, key } });
  }

  #phrase(doing: string, key: string): string {
    return `${doing} "${key}" in destination "${this.name}"`;
  }

  async #guard<T>(doing: string, key: string, signal: AbortSignal, fn: () => Promise<T>): Promise<T> {
    try {
      return await fn();
    } catch (e) {
      signal.throwIfAborted();
      throw translateFile(e, this.#phrase(doing, key));
    }
  }
}

async function closing<T>(handle: FileHandle, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } finally {
    await handle.close();
  }
}

async function openObject(paths: FilePaths, missing: () => StrongroomError): Promise<FileHandle> {
  try {
    const handle = await open(paths.object, constants.O_RDONLY | constants.O_NOFOLLOW);
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
  } catch (e) {
    if (errnoOf(e) !== 'ENOENT' && errnoOf(e) !== 'ENOTDIR') throw e;
  }
  throw missing();
}

async function nearestFolder(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) {
    const isThere = await stat(at).then(
      () => true,
      (e: unknown) => {
        if (errnoOf(e) === 'ENOENT') return false;
        throw e;
      },
    );
    if (isThere) return at;
  }
}
