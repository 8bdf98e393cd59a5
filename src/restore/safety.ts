/** What the target holds, kept right before it is overwritten: the way back from the way back. */
import { isError, StrongroomError } from '../core/errors.ts';
import type { Held, RestoreDeps, SafetySnapshot } from './options.ts';

/** null = declined. Whatever stands against it stops the restore before anything is installed. */
export async function keepSafe(deps: RestoreDeps, held: Held, signal: AbortSignal): Promise<SafetySnapshot | null> {
  if (deps.takeSafety === null) return null;
  deps.onProgress({ stage: 'safety', message: `keeping what ${deps.into} holds now` });
  try {
    const kept = await deps.takeSafety(held, signal);
    if (kept.missing.length > 0) {
      deps.log.warn({ cluster: deps.into, ...kept }, 'the safety snapshot is not everywhere it should be');
    }
    return kept;
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    throw new StrongroomError(
      e.code,
      `nothing was installed, because the target could not be kept first: ${e.message}`,
      {
        hint: `${e.hint === undefined ? '' : `${e.hint}; `}to restore without it, add --without-safety-snapshot: what the target holds now is then lost`,
        details: e.details,
        retryable: e.retryable,
        cause: e,
      },
    );
  }
}
