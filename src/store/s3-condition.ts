/** The condition of a write, looked at before the write. */
import { StrongroomError } from '../core/errors.ts';
import type { ObjectKey } from './layout.ts';
import { type S3Context, whereOf } from './s3-context.ts';
import { lookFor } from './s3-head.ts';
import { phrase } from './s3-where.ts';
import type { PutOptions } from './store.ts';

/** Rejects with E_STORE_CONFLICT when the condition does not hold now. It may cease to hold the moment after. */
export async function refuseEarly(
  ctx: S3Context,
  key: ObjectKey,
  { condition, signal }: Pick<PutOptions, 'condition' | 'signal'>,
): Promise<void> {
  const found = await lookFor(ctx, key, signal);
  if (condition === 'absent' ? found === null : found?.etag === condition.etag) return;
  const why = found === null ? 'it is not there any more' : 'it exists already, or changed meanwhile';
  throw new StrongroomError('E_STORE_CONFLICT', `${phrase(whereOf(ctx, 'put', key))}: ${why}`, {
    details: { destination: ctx.options.name, key, ...(found === null ? {} : { etag: found.etag }) },
  });
}
