/** The request that makes an object visible: sent, and when its answer is lost, found out about. */
import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { isError, StrongroomError } from '../core/errors.ts';
import { retry } from '../core/retry.ts';
import type { ObjectKey } from './layout.ts';
import { afterGrace, at, request, type S3Context, sendOnce, whereOf } from './s3-context.ts';
import { answerOf, mayHaveHappened } from './s3-errors.ts';
import { lookFor } from './s3-head.ts';
import type { FoundObject } from './s3-object.ts';
import { phrase, type Where } from './s3-where.ts';
import type { PutOptions, StoredObject } from './store.ts';

export type Commit = {
  where: Where;
  key: ObjectKey;
  timeoutMs: number;
  /** sends PutObject or CompleteMultipartUpload once; gives what the answer says of the object it made */
  send(abortSignal: AbortSignal): Promise<Committed>;
  /** may this failed commit be sent again as it is? */
  repeats(e: unknown): boolean;
  /** does what was found contradict what was sent? Cheap, for after a good answer */
  fits(found: FoundObject): boolean;
  /** is what was found, beyond doubt, what was sent? May read it back; for after a lost answer */
  isOurs(found: FoundObject): Promise<boolean>;
};

export type Committed = {
  versionId: string | undefined;
  /** only where the answer's is sure to be that of a HEAD: of an object in one request */
  etag?: string | undefined;
};

/**
 * Sends the commit until it is known what became of it. A lost answer is followed by a look: the object may be there,
 * and a second try would be refused because of it. `signal` stops the repeating; a try on the wire is given
 * `commitGraceMs` to bring its answer.
 *
 * Rejects with E_STORE_CONFLICT only when somebody else's object is there.
 */
export async function commit(ctx: S3Context, c: Commit, signal: AbortSignal): Promise<Committed> {
  let isUnknown = false;
  using grace = afterGrace(signal, ctx.commitGraceMs);
  return await retry(
    ctx.retry,
    async () => {
      signal.throwIfAborted();
      try {
        return await sendOnce(c.where, c.timeoutMs, grace.signal, (s) => c.send(s));
      } catch (e) {
        isUnknown ||= signal.aborted || mayHaveHappened(e);
        // Without a former unknown try, a refusal is about the object of somebody else.
        const finding = isUnknown ? await findOurs(ctx, c) : 'not ours';
        if (typeof finding === 'object') return { versionId: finding.versionId };
        throw e;
      }
    },
    signal,
    { retryable: (e) => isError(e) && e.retryable && c.repeats(e) },
  );
}

/** The object, when it is there and is what this commit sent; `unknown` when that cannot be told now. */
export async function findOurs(ctx: S3Context, c: Commit): Promise<FoundObject | 'not ours' | 'unknown'> {
  try {
    const found = await lookFor(ctx, c.key, AbortSignal.timeout(ctx.cleanupTimeoutMs));
    return found !== null && (await c.isOurs(found)) ? found : 'not ours';
  } catch {
    // The caller goes on with the error that made it look, which says more.
    return 'unknown';
  }
}

/** `e` with the doubt in words. Not to be tried again blindly: the next try would be refused by our own object. */
export function unresolved(e: unknown): unknown {
  if (!isError(e)) return e;
  return new StrongroomError(e.code, `${e.message}; it is not known whether it was stored`, {
    hint: `${e.hint === undefined ? '' : `${e.hint}; `}look at the destination when it answers again`,
    details: { ...e.details, mayBeStored: true },
    retryable: e.retryable,
    cause: e.cause,
  });
}

/**
 * Looks at what was stored, by its version, and holds it against what was asked for: length, checksum and lock. Some
 * stores take a lock header and forget it. What does not fit is removed again where that is possible.
 */
export async function confirm(
  ctx: S3Context,
  c: Commit,
  done: Committed,
  options: Pick<PutOptions, 'lock'>,
): Promise<StoredObject> {
  const found = await seen(ctx, c, done);
  if (done.versionId === undefined && done.etag !== undefined && !isSameTag(found.etag, done.etag)) {
    // Between the answer and the look another writer came: what is there is his, and not ours to remove.
    throw new StrongroomError('E_STORE_CONFLICT', `${phrase(c.where)}: stored, and replaced by another writer since`, {
      details: { destination: c.where.destination, key: c.key, etag: found.etag },
    });
  }
  if (!c.fits(found)) {
    throw await withdrawn(ctx, c, done, 'E_STORE_CHECKSUM', 'what is stored is not what was sent');
  }
  if (options.lock !== undefined && !holds(options.lock, found.lock)) {
    throw await withdrawn(ctx, c, done, 'E_PRECONDITION', 'stored, but without the lock that was asked for');
  }
  const { crc32: _, ...stored } = found;
  return stored;
}

/** What was just stored. Some stores show it after a while only: asked again, as often as a failed request is. */
async function seen(ctx: S3Context, c: Commit, done: Committed): Promise<FoundObject> {
  const notThere = new StrongroomError('E_STORE_RESPONSE', `${phrase(c.where)}: stored, and then it is not there`, {
    hint: 'does something delete objects there, or does the endpoint lead to several stores?',
    details: { destination: c.where.destination, key: c.key, mayBeStored: true },
    retryable: false,
  });
  const signal = AbortSignal.timeout(ctx.requestTimeoutMs * 2);
  const look = async (): Promise<FoundObject> => {
    const found = await lookFor(ctx, c.key, signal, done.versionId);
    if (found === null) throw notThere;
    return found;
  };
  return await retry(ctx.retry, look, signal, { retryable: (e) => e === notThere });
}

/** Is the commit's failure one that leaves room for doubt about the object being there? */
export function isDoubtful(e: unknown, signal: AbortSignal): boolean {
  return signal.aborted || mayHaveHappened(e) || answerOf(e) === 'NoSuchUpload';
}

/** Proxies that compress mark an ETag as weak. */
function isSameTag(a: string, b: string): boolean {
  return a.replace(/^W\//, '') === b.replace(/^W\//, '');
}

function holds(asked: NonNullable<PutOptions['lock']>, found: StoredObject['lock']): boolean {
  // Stores keep whole seconds.
  return found !== undefined && found.mode === asked.mode && found.until.getTime() > asked.until.getTime() - 1000;
}

async function withdrawn(
  ctx: S3Context,
  c: Commit,
  done: Committed,
  code: 'E_STORE_CHECKSUM' | 'E_PRECONDITION',
  why: string,
): Promise<StrongroomError> {
  const { left, cause } = await withdraw(ctx, c, done.versionId);
  return new StrongroomError(code, `${phrase(c.where)}: ${why}${left}`, {
    hint: 'if it happens again, this store computes other checksums: set `checksum: crc32` or `checksum: none` for it, with `prove: read`',
    retryable: false,
    details: { destination: c.where.destination, key: c.key },
    cause,
  });
}

/** Removes what the commit stored, by its version where there is one. Never rejects: `left` says what stays, and why. */
export async function withdraw(
  ctx: S3Context,
  c: Commit,
  versionId: string | undefined,
): Promise<{ left: string; cause?: unknown }> {
  try {
    const input = { ...at(ctx, c.key), ...(versionId === undefined ? {} : { VersionId: versionId }) };
    await request(ctx, whereOf(ctx, 'delete', c.key, versionId), AbortSignal.timeout(ctx.cleanupTimeoutMs), (s) =>
      ctx.client.send(new DeleteObjectCommand(input), { abortSignal: s }),
    );
    return { left: '' };
  } catch (cause) {
    return { left: isError(cause, 'E_STORE_LOCKED') ? '; it is locked and stays' : '; it could not be removed', cause };
  }
}
