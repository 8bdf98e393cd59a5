/** Trouble with what was read, told apart from trouble with reading it. */
import { isError } from '../core/errors.ts';

/** Was a signed document found wanting, or not there, and not only out of reach? */
export function isUnbelievable(e: unknown): boolean {
  return isError(e, 'E_SIGNATURE') || isError(e, 'E_MANIFEST') || isError(e, 'E_NOT_FOUND');
}
