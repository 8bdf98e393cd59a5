/** Everything that S3, the SDK and the network can say becomes a StrongroomError here, once. */
import { type ErrorOptions, isError, StrongroomError } from '../core/errors.ts';
import { meaningOf } from './s3-error-table.ts';
import { harmlessCopy, readFailure } from './s3-failure.ts';
import { phrase, type Where } from './s3-where.ts';

/**
 * The {@link StrongroomError} that a failed request means; ours pass through unchanged. `deadlineMs` = we cut the
 * request off ourselves after so many milliseconds.
 */
export function translate(e: unknown, where: Where, deadlineMs?: number): StrongroomError {
  if (isError(e)) return e;
  const failure = readFailure(e);
  const meaning =
    deadlineMs === undefined
      ? meaningOf(failure, where)
      : { code: 'E_STORE_UNREACHABLE' as const, why: `no answer within ${deadlineMs / 1000} s` };
  const options: ErrorOptions = {
    details: {
      destination: where.destination,
      operation: where.operation,
      key: where.key,
      answer: failure.code ?? failure.name,
      ...(failure.status === undefined ? {} : { status: failure.status }),
      ...(failure.requestId === undefined ? {} : { requestId: failure.requestId }),
    },
    cause: harmlessCopy(e, failure),
  };
  if (meaning.hint !== undefined) options.hint = meaning.hint;
  if (meaning.retryable !== undefined) options.retryable = meaning.retryable;
  return new StrongroomError(meaning.code, `${phrase(where)}: ${meaning.why}`, options);
}

/** The S3 name of the answer that became `e`, such as NoSuchUpload. */
export function answerOf(e: unknown): unknown {
  return isError(e) ? e.details['answer'] : undefined;
}

/**
 * May the request have been carried out although it failed? True when the answer was lost on the way, and for errors
 * from inside the destination: Amazon promises nothing about an InternalError.
 */
export function mayHaveHappened(e: unknown): boolean {
  return isError(e) && e.retryable && ['E_STORE_UNREACHABLE', 'E_STORE_RESPONSE', 'E_STORE_THROTTLED'].includes(e.code);
}
