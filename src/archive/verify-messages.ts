/** What the two threads say to each other. Errors cross as plain data: a clone would lose its class and its brand. */
import { type ErrorCode, isError, StrongroomError } from '../core/errors.ts';
import type { ArchiveReport } from './report.ts';

/** Buffers of this size go to and fro; they are moved, not copied. */
export const SLOT_BYTES = 2 ** 20;

export type ToWorker = { slot: ArrayBuffer; bytes: number } | { end: true };
/** `slot`: read, and free again */
export type FromWorker = { slot: ArrayBuffer } | { report: ArchiveReport } | { failure: PlainError };
export type ForWorker = { options: { requireSealedSums: boolean; hashArchive: boolean } };

export type PlainError = {
  code: ErrorCode;
  message: string;
  hint: string | null;
  details: Record<string, unknown>;
  retryable: boolean;
  cause: string | null;
};

/** Details must be JSON-plain, as those of this folder are. */
export function plainError(e: unknown): PlainError {
  const error = isError(e) ? e : new StrongroomError('E_BUG', 'the verifying thread failed', { cause: e });
  return {
    code: error.code,
    message: error.message,
    hint: error.hint ?? null,
    details: error.details,
    retryable: error.retryable,
    cause: error.cause instanceof Error ? error.cause.message : null,
  };
}

export function reviveError(plain: PlainError): StrongroomError {
  return new StrongroomError(plain.code, plain.message, {
    details: plain.details,
    retryable: plain.retryable,
    ...(plain.hint === null ? {} : { hint: plain.hint }),
    ...(plain.cause === null ? {} : { cause: new Error(plain.cause) }),
  });
}
