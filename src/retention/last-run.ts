/** Did the last backup fail? Then nothing is removed: what is there may be all that will be there for a while. */
import type { Records } from '../catalogue/records.ts';
import { isError } from '../core/errors.ts';

const DAY_MS = 24 * 3_600_000;
/** How far back the runs are looked through, in days; then all of them. */
const LOOKS_BACK = [8, 62] as const;

/**
 * By the newest run of a backup whose record can be believed; no run at all has not failed. `newestGood` = when the newest good snapshot
 * was begun: one that came after the failed run, by a command that records no run, makes up for it. Rejects where a
 * destination does not answer.
 */
export async function lastBackupFailed(
  records: Records,
  newestGood: Date | null,
  now: Date,
  signal: AbortSignal,
): Promise<boolean> {
  for (const days of [...LOOKS_BACK, null]) {
    const since = days === null ? new Date(0) : new Date(now.getTime() - days * DAY_MS);
    const { names, failures } = await records.runs(since, signal);
    for (const failure of failures) throw failure;
    for (const name of names.filter(({ job }) => job === 'backup').toReversed()) {
      try {
        const { outcome, startedAt } = await records.readRun(name, signal);
        return outcome === 'failed' && (newestGood === null || newestGood < new Date(startedAt));
      } catch (e) {
        if (!isError(e, 'E_NOT_FOUND') && !isError(e, 'E_SIGNATURE') && !isError(e, 'E_MANIFEST')) throw e;
      }
    }
  }
  return false;
}
