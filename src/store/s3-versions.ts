/** Versions and delete markers, one page in memory at a time. */
import { ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { StrongroomError } from '../core/errors.ts';
import { request, type S3Context, whereOf } from './s3-context.ts';
import { cutShort, ownKey } from './s3-list.ts';
import { phrase } from './s3-where.ts';
import type { StoredVersion } from './store.ts';

/** What S3 calls the version of an object that was stored while the bucket had none. */
export const NULL_VERSION = 'null';

/** Every version and delete marker below `prefix`; throws when a page says that there is more and not where. */
export async function* listVersions(
  ctx: S3Context,
  prefix: string,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<StoredVersion> {
  const where = whereOf(ctx, 'versions', prefix);
  // VersityGW begins a page with the last entry of the one before.
  let before = new Set<string>();
  let marker: { KeyMarker: string; VersionIdMarker?: string } | undefined;
  do {
    const input = { Bucket: ctx.bucket, Prefix: `${ctx.prefix}${prefix}`, ...marker };
    const page = await request(ctx, where, signal, (abortSignal) =>
      ctx.client.send(new ListObjectVersionsCommand(input), { abortSignal }),
    );
    const entries = [
      ...(page.Versions ?? []).map((version) => ({ ...version, isDeleteMarker: false })),
      ...(page.DeleteMarkers ?? []).map((found) => ({ ...found, Size: 0, isDeleteMarker: true })),
    ];
    const now = new Set<string>();
    for (const { Key, VersionId, Size, LastModified, IsLatest, isDeleteMarker } of entries) {
      if (Key === undefined || Size === undefined || LastModified === undefined || IsLatest === undefined) {
        throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: a version without key, size, time or order`);
      }
      signal.throwIfAborted();
      const name = `${Key} ${VersionId}`;
      now.add(name);
      if (before.has(name)) continue;
      yield {
        key: ownKey(ctx, Key, where),
        versionId: VersionId === undefined || VersionId === '' || VersionId === NULL_VERSION ? null : VersionId,
        isCurrent: IsLatest,
        isDeleteMarker,
        bytes: Size,
        modifiedAt: LastModified,
      };
    }
    before = now;
    if (page.IsTruncated !== true) return;
    if (page.NextKeyMarker === undefined || page.NextKeyMarker === '') throw cutShort(where);
    marker = {
      KeyMarker: page.NextKeyMarker,
      ...(page.NextVersionIdMarker === undefined || page.NextVersionIdMarker === ''
        ? {}
        : { VersionIdMarker: page.NextVersionIdMarker }),
    };
  } while (true);
}
