/** No two runs at work on one target: the lease that backups and restores share. A restore does not depend on it. */
import { isError } from '../core/errors.ts';
import type { RunId } from '../core/ids.ts';
import { isTakenAway } from '../lease/errors.ts';
import type { Lease } from '../lease/lease.ts';
import type { RestoreDeps } from './options.ts';

/**
 * The lease of the target, or null where no destination gives it: on such a day that must not stop a restore, so `notice` says it
 * before the confirmation. Rejects with E_LOCKED while another run holds it, and with the abort reason.
 */
export async function beAlone(
  deps: Pick<RestoreDeps, 'into' | 'takeLease' | 'log' | 'onProgress'>,
  run: RunId,
  signal: AbortSignal,
): Promise<{ lease: Lease | null; notice: string[] }> {
  try {
    return { lease: await deps.takeLease(run, signal), notice: [] };
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e) || e.code === 'E_LOCKED') throw e;
    const notice = `no destination gives the lease of ${deps.into} (${e.message}): make sure by yourself that no other backup or restore of it is at work`;
    deps.log.warn({ cluster: deps.into, err: e.toJSON() }, 'restoring without the lease');
    deps.onProgress({ stage: 'lease', message: notice });
    return { lease: null, notice: [notice] };
  }
}

/** Throws E_LOCKED when another run has taken the lease meanwhile. That destinations went silent does not stop a restore. */
export function checkAlone({ into, log }: Pick<RestoreDeps, 'into' | 'log'>, lease: Lease | null): void {
  const lost: unknown = lease?.signal.reason;
  if (!isError(lost)) return;
  if (isTakenAway(lost)) throw lost;
  log.warn({ cluster: into, err: lost.toJSON() }, 'the lease was lost, and the restore goes on');
}
