/** A bucket of Amazon S3, or of anything that speaks its language, as a {@link Store}. */
import { randomUUID } from 'node:crypto';
import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { isError, StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import { type ObjectKey, PROBE } from './layout.ts';
import { checkMetadata } from './metadata.ts';
import { at, request, type S3Context, s3Context, whereOf } from './s3-context.ts';
import { download } from './s3-get.ts';
import { lookFor } from './s3-head.ts';
import { readLegalHold, writeLegalHold } from './s3-legal-hold.ts';
import { listObjects, listUploads } from './s3-list.ts';
import { extendLock, proveLock } from './s3-lock.ts';
import { abortUpload, beginUpload, putMultipart } from './s3-multipart.ts';
import type { S3StoreOptions } from './s3-options.ts';
import { putBytes } from './s3-put.ts';
import { listVersions, NULL_VERSION } from './s3-versions.ts';
import { phrase } from './s3-where.ts';
import type {
  LockMode,
  PartedBody,
  PutOptions,
  Store,
  StoredObject,
  StoredVersion,
  UnfinishedUpload,
} from './store.ts';

/**
 * Every put is followed by a look at what was stored (HeadObject), so a writer needs `s3:GetObject`, too.
 * The client belongs to whoever made it: disposing the store does not destroy it.
 */
export class S3Store implements Store {
  readonly name: string;
  readonly location: string;
  readonly #ctx: S3Context;

  constructor(options: S3StoreOptions) {
    this.#ctx = s3Context(options);
    this.name = options.name;
    this.location = `s3://${options.bucket}/${this.#ctx.prefix}`.replace(/\/$/, '');
  }

  async put(key: ObjectKey, body: PartedBody | Uint8Array, options: PutOptions): Promise<StoredObject> {
    options.signal.throwIfAborted();
    checkMetadata(options.metadata ?? {});
    // An upload without a part cannot be completed, so an empty body goes in one request, too.
    if (!(body instanceof Uint8Array) && body.bytes > 0) return putMultipart(this.#ctx, key, body, options);
    const bytes = body instanceof Uint8Array ? body : new Uint8Array(0);
    const stored = await putBytes(this.#ctx, key, bytes, options);
    options.onProgress?.(bytes.byteLength);
    return stored;
  }

  get(
    key: ObjectKey,
    options: { signal: AbortSignal; range?: { start: number; end: number }; versionId?: string },
  ): Bytes {
    return download(this.#ctx, key, options);
  }

  async head(key: ObjectKey, options: { signal: AbortSignal; versionId?: string }): Promise<StoredObject | null> {
    const found = await lookFor(this.#ctx, key, options.signal, options.versionId);
    if (found === null) return null;
    const { crc32: _, ...stored } = found;
    return stored;
  }

  list(prefix: string, options: { signal: AbortSignal; after?: string }): AsyncIterable<StoredObject> {
    return listObjects(this.#ctx, prefix, options);
  }

  versions(prefix: string, options: { signal: AbortSignal }): AsyncIterable<StoredVersion> {
    return listVersions(this.#ctx, prefix, options);
  }

  async extendLock(
    key: ObjectKey,
    change: { versionId?: string; until: Date; mode: LockMode },
    { signal }: { signal: AbortSignal },
  ): Promise<void> {
    await extendLock(this.#ctx, key, change, signal);
  }

  async delete(key: ObjectKey, options: { signal: AbortSignal; versionId?: string | null }): Promise<void> {
    const { signal } = options;
    const versionId = options.versionId === null ? NULL_VERSION : options.versionId;
    const input = { ...at(this.#ctx, key), ...(versionId === undefined ? {} : { VersionId: versionId }) };
    try {
      await request(this.#ctx, whereOf(this.#ctx, 'delete', key, versionId), signal, (abortSignal) =>
        this.#ctx.client.send(new DeleteObjectCommand(input), { abortSignal }),
      );
    } catch (e) {
      if (isError(e, 'E_NOT_FOUND')) return;
      throw isError(e, 'E_STORE_DENIED')
        ? await this.#lockedOr(e, key, { signal, ...(versionId === undefined ? {} : { versionId }) })
        : e;
    }
  }

  async legalHold(key: ObjectKey, options: { signal: AbortSignal; versionId?: string }): Promise<boolean | null> {
    return await readLegalHold(this.#ctx, key, options);
  }

  async setLegalHold(
    key: ObjectKey,
    isHeld: boolean,
    options: { signal: AbortSignal; versionId?: string },
  ): Promise<void> {
    await writeLegalHold(this.#ctx, key, isHeld, options);
  }

  async probeWrite(prefix: string, options: Pick<PutOptions, 'signal' | 'lock'>): Promise<void> {
    const { signal, lock } = options;
    const key = `${prefix}${prefix === '' || prefix.endsWith('/') ? '' : '/'}${PROBE}-${randomUUID()}` as ObjectKey;
    const upload = await beginUpload(this.#ctx, key, { ...options, contentType: 'application/octet-stream' });
    // Not by the caller's signal: what was begun is ended.
    await abortUpload(this.#ctx, upload, AbortSignal.timeout(this.#ctx.requestTimeoutMs));
    signal.throwIfAborted();
    if (lock !== undefined) await proveLock(this.#ctx, signal);
  }

  listUnfinished(prefix: string, options: { signal: AbortSignal }): AsyncIterable<UnfinishedUpload> {
    return listUploads(this.#ctx, prefix, options);
  }

  async abortUnfinished(upload: UnfinishedUpload, { signal }: { signal: AbortSignal }): Promise<void> {
    await abortUpload(this.#ctx, upload, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Amazon says AccessDenied for a locked version as well as for a missing permission: the version's lock tells. */
  async #lockedOr(
    denied: StrongroomError,
    key: ObjectKey,
    { signal, versionId }: { signal: AbortSignal; versionId?: string },
  ): Promise<StrongroomError> {
    if (versionId === undefined) return denied;
    let lock: StoredObject['lock'];
    let isHeld: boolean | null;
    try {
      lock = (await lookFor(this.#ctx, key, signal, versionId))?.lock;
      isHeld = await this.legalHold(key, { signal, versionId });
    } catch {
      signal.throwIfAborted();
      return denied;
    }
    const where = whereOf(this.#ctx, 'delete', key, versionId);
    if (isHeld === true) {
      return new StrongroomError('E_STORE_LOCKED', `${phrase(where)}: it is under a legal hold`, {
        hint: 'strongroom snapshots release, if strongroom set it; else ask whoever holds it',
        details: { ...denied.details, isHeld, versionId },
        cause: denied,
      });
    }
    if (lock === undefined || lock.until.getTime() <= Date.now()) return denied;
    const until = lock.until.toISOString();
    return new StrongroomError('E_STORE_LOCKED', `${phrase(where)}: locked in ${lock.mode} mode until ${until}`, {
      hint: 'wait until the lock ends',
      details: { ...denied.details, mode: lock.mode, until, versionId },
      cause: denied,
    });
  }
}
