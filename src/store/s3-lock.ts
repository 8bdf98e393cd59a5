/** Object locks: does the bucket keep them, asked before anything is sent that relies on one; and making one last longer. */
import { GetObjectLockConfigurationCommand, PutObjectRetentionCommand } from '@aws-sdk/client-s3';
import { isError, StrongroomError } from '../core/errors.ts';
import type { ObjectKey } from './layout.ts';
import { at, request, type S3Context, whereOf } from './s3-context.ts';
import { noObjectLock } from './s3-error-table.ts';
import { lookFor } from './s3-head.ts';
import { lockMode } from './s3-headers.ts';
import { phrase } from './s3-where.ts';
import type { LockMode } from './store.ts';

/**
 * Rejects with E_PRECONDITION when the bucket says that it has no object lock. Some stores take the lock headers of an
 * upload and forget them, so that only the bucket's own configuration tells. One that may not be asked, or that does not
 * know the question, is left to the look behind every put.
 */
export async function proveLock(ctx: S3Context, signal: AbortSignal): Promise<void> {
  const where = whereOf(ctx, 'lock', '');
  let isEnabled: boolean;
  try {
    const answer = await request(ctx, where, signal, (abortSignal) =>
      ctx.client.send(new GetObjectLockConfigurationCommand({ Bucket: ctx.bucket }), { abortSignal }),
    );
    isEnabled = answer.ObjectLockConfiguration?.ObjectLockEnabled === 'Enabled';
  } catch (e) {
    if (isError(e) && (e.code === 'E_STORE_DENIED' || e.details['status'] === 405 || e.details['status'] === 501))
      return;
    throw e;
  }
  if (isEnabled) return;
  const { code, why, hint } = noObjectLock;
  throw new StrongroomError(code, `${phrase(where)}: ${why}`, { hint });
}

/** S3 keeps the end of a lock to the second, some stores cut it off: so much may be missing, in milliseconds. */
const ROUNDED_MS = 1_000;

/** As {@link Store.extendLock}: the look behind it is what counts, since stores take the request and do nothing. */
export async function extendLock(
  ctx: S3Context,
  key: ObjectKey,
  { versionId, until, mode }: { versionId?: string; until: Date; mode: LockMode },
  signal: AbortSignal,
): Promise<void> {
  const where = whereOf(ctx, 'extend', key, versionId);
  const before = await lookFor(ctx, key, signal, versionId);
  if (before === null) throw new StrongroomError('E_NOT_FOUND', `${phrase(where)}: it is not there`);
  if (before.lock !== undefined && before.lock.until > until) {
    const held = before.lock.until.toISOString();
    throw new StrongroomError('E_STORE_LOCKED', `${phrase(where)}: it is locked until ${held}, which is later`, {
      hint: 'a lock is never made shorter',
    });
  }
  const version = versionId ?? before.versionId;
  const input = {
    ...at(ctx, key),
    ...(version === undefined ? {} : { VersionId: version }),
    Retention: { Mode: lockMode(mode), RetainUntilDate: until },
  };
  await request(ctx, where, signal, (abortSignal) =>
    ctx.client.send(new PutObjectRetentionCommand(input), { abortSignal }),
  );
  const after = await lookFor(ctx, key, signal, version);
  if (after?.lock?.mode === mode && after.lock.until.getTime() >= until.getTime() - ROUNDED_MS) return;
  throw new StrongroomError('E_STORE_RESPONSE', `${phrase(where)}: the destination took it and shows no such lock`, {
    hint: 'may this login see locks (s3:GetObjectRetention)? If it may, the store does not keep them',
    retryable: false,
  });
}
