/** A backup in the middle of a run that is about more, such as a restore. */
import type { RunId } from '../core/ids.ts';
import type { Lease } from '../lease/lease.ts';
import { runFolder } from '../spool/folder.ts';
import { type BackupResult, backupLocked } from './backup.ts';
import type { BackupDeps, BackupOptions } from './options.ts';
import { sweepAgain, sweepDestinations } from './sweep.ts';

/**
 * {@link backupLocked}, and what killed runs left in the destinations goes: the run before may have been killed in the middle
 * of the same. The run holds the cluster's lock, and its lease where there is one, and has removed the spool files of killed runs.
 */
export async function backupWithin(
  deps: BackupDeps,
  options: BackupOptions,
  held: { run: RunId; lease: Lease | null },
  signal: AbortSignal,
): Promise<BackupResult> {
  const folder = runFolder(deps.spool.directory, deps.cluster);
  const killed = await sweepDestinations(deps, folder, signal);
  const result = await backupLocked(deps, options, held, signal);
  await sweepAgain(deps, folder, killed, signal);
  return result;
}
