/** Legal holds: as long as one is set, a version cannot be removed, whoever asks and whatever its lock says. */
import { GetObjectLegalHoldCommand, PutObjectLegalHoldCommand } from '@aws-sdk/client-s3';
import { isError } from '../core/errors.ts';
import type { ObjectKey } from './layout.ts';
import { at, request, type S3Context, whereOf } from './s3-context.ts';
import { noObjectLock } from './s3-error-table.ts';
import { answerOf } from './s3-errors.ts';

type Options = { signal: AbortSignal; versionId?: string };

/** Is one set? null = the bucket keeps none. Rejects with E_NOT_FOUND where there is no such object. */
export async function readLegalHold(
  ctx: S3Context,
  key: ObjectKey,
  { signal, versionId }: Options,
): Promise<boolean | null> {
  const input = { ...at(ctx, key), ...(versionId === undefined ? {} : { VersionId: versionId }) };
  try {
    const answer = await request(ctx, whereOf(ctx, 'hold', key, versionId), signal, (abortSignal) =>
      ctx.client.send(new GetObjectLegalHoldCommand(input), { abortSignal }),
    );
    return answer.LegalHold?.Status === 'ON';
  } catch (e) {
    // The bucket locks, and nobody has ever held this object.
    if (answerOf(e) === 'NoSuchObjectLockConfiguration') return false;
    if (isKeepingNone(e)) return null;
    throw e;
  }
}

/** Sets or lifts it. Rejects with E_PRECONDITION where the bucket keeps none, with E_NOT_FOUND where there is no such object. */
export async function writeLegalHold(
  ctx: S3Context,
  key: ObjectKey,
  isHeld: boolean,
  { signal, versionId }: Options,
): Promise<void> {
  const input = {
    ...at(ctx, key),
    ...(versionId === undefined ? {} : { VersionId: versionId }),
    LegalHold: { Status: isHeld ? 'ON' : 'OFF' },
  } as const;
  await request(ctx, whereOf(ctx, 'set-hold', key, versionId), signal, (abortSignal) =>
    ctx.client.send(new PutObjectLegalHoldCommand(input), { abortSignal }),
  );
}

/** A bucket without object lock, or a store that does not know the question. */
function isKeepingNone(e: unknown): boolean {
  if (!isError(e)) return false;
  const status = e.details['status'];
  return (e.code === 'E_PRECONDITION' && e.hint === noObjectLock.hint) || status === 405 || status === 501;
}
