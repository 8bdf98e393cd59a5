/** Listings, one page in memory at a time. */
import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { StrongroomError } from '../core/errors.ts';
import type { ObjectKey } from './layout.ts';
import { request, type S3Context, whereOf } from './s3-context.ts';
import { phrase, type Where } from './s3-where.ts';
import type { StoredObject, UnfinishedUpload } from './store.ts';

/** Objects below `prefix` in key order; throws when a page says that there is more and not where. */
export async function* listObjects(
  ctx: S3Context,
  prefix: string,
  { signal, after }: { signal: AbortSignal; after?: string },
): AsyncGenerator<StoredObject> {
  const where = whereOf(ctx, 'list', prefix);
  const base = {
    Bucket: ctx.bucket,
    Prefix: `${ctx.prefix}${prefix}`,
    ...(after === undefined ? {} : { StartAfter: `${ctx.prefix}${after}` }),
  };
  let token: string | undefined;
  do {
    const input = { ...base, ...(token === undefined ? {} : { ContinuationToken: token }) };
    const page = await request(ctx, where, signal, (abortSignal) =>
      ctx.client.send(new ListObjectsV2Command(input), { abortSignal }),
    );
    for (const { Key, Size, ETag, LastModified } of page.Contents ?? []) {
      if (Key === undefined || Size === undefined || ETag === undefined || LastModified === undefined) {
        throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: an entry without key, size, ETag or time`);
      }
      signal.throwIfAborted();
      yield { key: ownKey(ctx, Key, where), bytes: Size, etag: ETag, modifiedAt: LastModified };
    }
    token = page.NextContinuationToken;
    if (page.IsTruncated === true && token === undefined) throw cutShort(where);
  } while (token !== undefined);
}

/** Unfinished uploads below `prefix`. */
export async function* listUploads(
  ctx: S3Context,
  prefix: string,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<UnfinishedUpload> {
  const where = whereOf(ctx, 'uploads', prefix);
  let marker: { KeyMarker: string; UploadIdMarker?: string } | undefined;
  do {
    const input = { Bucket: ctx.bucket, Prefix: `${ctx.prefix}${prefix}`, ...marker };
    const page = await request(ctx, where, signal, (abortSignal) =>
      ctx.client.send(new ListMultipartUploadsCommand(input), { abortSignal }),
    );
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined) {
        throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: an upload without key or id`);
      }
      signal.throwIfAborted();
      // Without a time it counts as new, so that nothing is aborted for its age.
      yield { key: ownKey(ctx, Key, where), uploadId: UploadId, startedAt: Initiated ?? new Date() };
    }
    if (page.IsTruncated !== true) return;
    if (page.NextKeyMarker === undefined || page.NextKeyMarker === '') throw cutShort(where);
    marker = {
      KeyMarker: page.NextKeyMarker,
      ...(page.NextUploadIdMarker === undefined ? {} : { UploadIdMarker: page.NextUploadIdMarker }),
    };
  } while (true);
}

/** `key` without the prefix of the destination; throws E_STORE_RESPONSE for one that is not below it. */
export function ownKey(ctx: S3Context, key: string, where: Where): ObjectKey {
  if (!key.startsWith(ctx.prefix)) {
    throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: "${key}" is outside of the prefix asked for`);
  }
  return key.slice(ctx.prefix.length) as ObjectKey;
}

/** A page that says that there is more, and not where. */
export function cutShort(where: Where): StrongroomError {
  return new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: more is announced, but not where it begins`);
}
