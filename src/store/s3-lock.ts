/** Does the bucket keep object locks? Asked before anything is sent that relies on one. */
import { GetObjectLockConfigurationCommand } from '@aws-sdk/client-s3';
import { isError, StrongroomError } from '../core/errors.ts';
import { request, type S3Context, whereOf } from './s3-context.ts';
import { noObjectLock } from './s3-error-table.ts';
import { phrase } from './s3-where.ts';

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
