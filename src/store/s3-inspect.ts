/** What a bucket says of itself, and what its store refuses: asked by day, because nothing in a run asks it in time. */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketVersioningCommand,
  GetObjectLockConfigurationCommand,
  type LifecycleRule,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { isError } from '../core/errors.ts';
import type { ObjectKey } from './layout.ts';
import { at, request, type S3Context, s3Context, whereOf } from './s3-context.ts';
import { answerOf } from './s3-errors.ts';
import { objectHeaders } from './s3-headers.ts';
import type { S3StoreOptions } from './s3-options.ts';

export type Versioning = 'on' | 'suspended' | 'off';

/** `defaultDays` = every object is locked for so long, whether a lock was asked for or not. */
export type LockRule = { isEnabled: boolean; defaultDays: number | null };

const OTHER_BYTES = Buffer.from('strongroom probe: other bytes');
const BYTES = Buffer.from('strongroom probe');
/** An ETag that no object has. */
const NO_ETAG = `"${'0'.repeat(32)}"`;

/**
 * Every question rejects as a {@link import('./store.ts').Store} does. The client stays the caller's. What a question may
 * leave behind where a store does not refuse what it should is at the key that it was given.
 */
export class S3Inspector {
  readonly #ctx: S3Context;

  constructor(options: S3StoreOptions) {
    this.#ctx = s3Context(options);
  }

  async versioning(signal: AbortSignal): Promise<Versioning> {
    const { Status } = await this.#ask('versioning', '', signal, (abortSignal) =>
      this.#ctx.client.send(new GetBucketVersioningCommand({ Bucket: this.#ctx.bucket }), { abortSignal }),
    );
    if (Status === undefined) return 'off';
    return Status === 'Enabled' ? 'on' : 'suspended';
  }

  /** A store that does not know the question has no locks. */
  async lockRule(signal: AbortSignal): Promise<LockRule> {
    try {
      const { ObjectLockConfiguration: found } = await this.#ask('lock', '', signal, (abortSignal) =>
        this.#ctx.client.send(new GetObjectLockConfigurationCommand({ Bucket: this.#ctx.bucket }), { abortSignal }),
      );
      const { Days, Years } = found?.Rule?.DefaultRetention ?? {};
      const days = Days ?? (Years === undefined ? null : Years * 365);
      return { isEnabled: found?.ObjectLockEnabled === 'Enabled', defaultDays: days };
    } catch (e) {
      if (isError(e, 'E_PRECONDITION') || isUnknown(e)) return { isEnabled: false, defaultDays: null };
      throw e;
    }
  }

  /** Empty = the bucket has no rules; null = the store knows none. */
  async lifecycleRules(signal: AbortSignal): Promise<readonly LifecycleRule[] | null> {
    try {
      const { Rules } = await this.#ask('lifecycle', '', signal, (abortSignal) =>
        this.#ctx.client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: this.#ctx.bucket }), {
          abortSignal,
        }),
      );
      return Rules ?? [];
    } catch (e) {
      if (answerOf(e) === 'NoSuchLifecycleConfiguration') return [];
      if (isUnknown(e)) return null;
      throw e;
    }
  }

  /**
   * May this login delete, with `bypass` also what is locked in governance mode? Asked with a key that is not there. Unless
   * the bucket has no versions a version is named, because a delete without one would leave a marker.
   */
  async mayDelete(
    key: ObjectKey,
    { versioning, bypass = false }: { versioning: Versioning | null; bypass?: boolean },
    signal: AbortSignal,
  ): Promise<boolean> {
    const input = {
      ...at(this.#ctx, key),
      ...(versioning === 'off' ? {} : { VersionId: 'null' }),
      ...(bypass ? { BypassGovernanceRetention: true } : {}),
    };
    try {
      await this.#ask('delete', key, signal, (abortSignal) =>
        this.#ctx.client.send(new DeleteObjectCommand(input), { abortSignal }),
      );
      return true;
    } catch (e) {
      if (isError(e, 'E_STORE_DENIED')) return false;
      // No such version: it got past the permissions.
      if (isError(e, 'E_NOT_FOUND')) return true;
      throw e;
    }
  }

  /** Does the store refuse bytes that do not fit the checksum sent along? null = the mode sends none. */
  async refusesDamaged(key: ObjectKey, signal: AbortSignal): Promise<boolean | null> {
    const { checksum } = this.#ctx.options;
    if (checksum === 'none') return null;
    const sums =
      checksum === 'sha256'
        ? {
            ChecksumAlgorithm: 'SHA256' as const,
            ChecksumSHA256: createHash('sha256').update(OTHER_BYTES).digest('base64'),
          }
        : { ChecksumAlgorithm: 'CRC32' as const, ChecksumCRC32: 'AAAAAA==' };
    return await this.#isRefused(key, { ...sums, IfNoneMatch: '*' }, signal, ['E_STORE_CHECKSUM']);
  }

  /** Does the store keep If-Match? Asked with a key that is not there, so that nothing is made where it does. */
  async refusesUnmatched(key: ObjectKey, signal: AbortSignal): Promise<boolean> {
    return await this.#isRefused(key, { IfMatch: NO_ETAG }, signal, ['E_STORE_CONFLICT', 'E_NOT_FOUND']);
  }

  /** Does the store keep If-None-Match on the request that ends an upload? `key` must be there. Leaves no upload. */
  async refusesSecondUpload(key: ObjectKey, signal: AbortSignal): Promise<boolean> {
    const place = at(this.#ctx, key);
    const { client } = this.#ctx;
    const { UploadId } = await this.#ask('create', key, signal, (abortSignal) =>
      client.send(new CreateMultipartUploadCommand({ ...place, ...this.#headers() }), { abortSignal }),
    );
    let isOver = false;
    try {
      const { ETag } = await this.#ask('part', key, signal, (abortSignal) =>
        client.send(new UploadPartCommand({ ...place, UploadId, PartNumber: 1, Body: BYTES }), { abortSignal }),
      );
      await this.#ask('complete', key, signal, (abortSignal) =>
        client.send(
          new CompleteMultipartUploadCommand({
            ...place,
            UploadId,
            IfNoneMatch: '*',
            MultipartUpload: { Parts: [{ PartNumber: 1, ...(ETag === undefined ? {} : { ETag }) }] },
          }),
          { abortSignal },
        ),
      );
      isOver = true;
      return false;
    } catch (e) {
      if (isError(e, 'E_STORE_CONFLICT')) return true;
      throw e;
    } finally {
      // Not by the caller's signal: what was begun is ended.
      if (!isOver) {
        await this.#ask('abort', key, AbortSignal.timeout(this.#ctx.cleanupTimeoutMs), (abortSignal) =>
          client.send(new AbortMultipartUploadCommand({ ...place, UploadId }), { abortSignal }),
        ).catch((e: unknown) => {
          if (answerOf(e) !== 'NoSuchUpload') throw e;
        });
      }
    }
  }

  async #isRefused(
    key: ObjectKey,
    extra: object,
    signal: AbortSignal,
    codes: readonly ('E_STORE_CHECKSUM' | 'E_STORE_CONFLICT' | 'E_NOT_FOUND')[],
  ): Promise<boolean> {
    try {
      await this.#ask('put', key, signal, (abortSignal) =>
        this.#ctx.client.send(
          new PutObjectCommand({ ...at(this.#ctx, key), ...this.#headers(), ...extra, Body: BYTES }),
          { abortSignal },
        ),
      );
      return false;
    } catch (e) {
      if (codes.some((code) => isError(e, code))) return true;
      throw e;
    }
  }

  #headers(): ReturnType<typeof objectHeaders> {
    return objectHeaders(this.#ctx, { contentType: 'application/octet-stream' });
  }

  async #ask<T>(
    operation: Parameters<typeof whereOf>[1],
    key: string,
    signal: AbortSignal,
    send: (abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return await request(this.#ctx, whereOf(this.#ctx, operation, key), signal, send);
  }
}

function isUnknown(e: unknown): boolean {
  return isError(e) && (e.details['status'] === 405 || e.details['status'] === 501);
}
