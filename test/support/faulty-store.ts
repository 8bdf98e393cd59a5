/** A store behind a proxy that fails on purpose, and the same buckets without it, to see what is really there. */
import { randomBytes, randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { isError, type StrongroomError } from '../../src/core/errors.ts';
import { collect } from '../../src/core/flow.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import { bufferBody, compositeSha256 } from '../../src/store/parts.ts';
import type { S3StoreOptions } from '../../src/store/s3-options.ts';
import type { PartedBody, PutOptions, UnfinishedUpload } from '../../src/store/store.ts';
import { FailingS3, type S3Fault } from './failing-s3.ts';
import type { S3Connection } from './s3-connection.ts';
import { type OpenedS3Store, openS3Store } from './s3-store.ts';

export const never = new AbortController().signal;
/** the smallest part that S3 takes */
export const PART = 5 * 2 ** 20;
export const slowDown: S3Fault = { kind: 'answer', status: 503, code: 'SlowDown' };
export const internalError: S3Fault = { kind: 'answer', status: 500, code: 'InternalError' };
export const accessDenied: S3Fault = { kind: 'answer', status: 403, code: 'AccessDenied', message: 'Access Denied' };

export const newKey = (): ObjectKey => `v1/${randomUUID()}/x` as ObjectKey;
export const small = (): PartedBody => bufferBody(randomBytes(2000));

export function putOptions(more: Partial<PutOptions> = {}): PutOptions {
  return { signal: never, condition: 'absent', contentType: 'application/octet-stream', ...more };
}

/** Disposing ends proxy and clients; the server stays. */
export class FaultyStore implements AsyncDisposable {
  readonly proxy: FailingS3;
  /** a plain bucket, without the proxy */
  readonly direct: OpenedS3Store;
  /** a bucket with locks and versions, without the proxy */
  readonly versioned: OpenedS3Store;
  readonly #server: S3Connection;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    server: S3Connection,
    stack: AsyncDisposableStack,
    parts: { proxy: FailingS3; direct: OpenedS3Store; versioned: OpenedS3Store },
  ) {
    this.#server = server;
    this.#stack = stack;
    this.proxy = parts.proxy;
    this.direct = parts.direct;
    this.versioned = parts.versioned;
  }

  static async start(server: S3Connection): Promise<FaultyStore> {
    await using stack = new AsyncDisposableStack();
    const proxy = stack.use(await FailingS3.start(server.endpoint));
    const direct = stack.use(await openS3Store(server, {}));
    const versioned = stack.use(await openS3Store(server, { objectLock: true }));
    return new FaultyStore(server, stack.move(), { proxy, direct, versioned });
  }

  /** A store through the proxy, on the plain bucket or the one given. */
  async open(options: Partial<S3StoreOptions> = {}, bucket = this.direct.bucket): Promise<OpenedS3Store> {
    return this.#stack.use(await openS3Store(this.#server, {}, { bucket, via: this.proxy.url, ...options }));
  }

  async unfinished(key: ObjectKey): Promise<UnfinishedUpload[]> {
    return await Array.fromAsync(this.direct.store.listUnfinished(key, { signal: never }));
  }

  async read(key: ObjectKey): Promise<Buffer> {
    return Buffer.from(await collect(this.direct.store.get(key, { signal: never }), 64 * 2 ** 20));
  }

  async expectNothing(key: ObjectKey): Promise<void> {
    expect(await this.direct.store.head(key, { signal: never })).toBeNull();
    expect(await this.unfinished(key)).toEqual([]);
  }

  async expectStored(key: ObjectKey, body: PartedBody): Promise<void> {
    const stored = await this.direct.store.head(key, { signal: never });
    expect(stored).toMatchObject({ sha256: compositeSha256(body.partSha256) });
    expect(await this.unfinished(key)).toEqual([]);
  }

  /** Puts a small body in parts; expects the code, destination and key in the message, and that nothing is left. */
  async expectRefused(code: string, more: Partial<S3StoreOptions> = {}): Promise<StrongroomError> {
    const { store } = await this.open(more);
    const key = newKey();
    const e: unknown = await store.put(key, small(), putOptions()).catch((failure: unknown) => failure);
    expect(e).toMatchObject({ code });
    await this.expectNothing(key);
    if (!isError(e)) throw e;
    expect(e.message).toContain('"primary"');
    expect(e.message).toContain(key);
    return e;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
