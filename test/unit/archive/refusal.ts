import { type ReadOptions, readArchive } from '../../../src/archive/read.ts';
import type { StrongroomError } from '../../../src/core/errors.ts';
import { isError } from '../../../src/core/errors.ts';
import { chunked } from '../../support/archive-builder.ts';

/** The error that reading `archive` ends with; throws when it is taken, or fails otherwise than by an error of ours. */
export async function refusal(archive: Uint8Array, options: ReadOptions = {}): Promise<StrongroomError> {
  try {
    await readArchive(chunked(archive), options);
  } catch (e) {
    if (isError(e)) return e;
    throw e;
  }
  throw new Error('the archive was taken');
}
