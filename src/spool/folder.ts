/** The folder of one cluster below the spool: lock, spool files, and the notes of its runs. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterName } from '../core/ids.ts';

export function runFolder(spoolDirectory: string, cluster: ClusterName): string {
  return join(spoolDirectory, cluster);
}

/**
 * Spool files are of no use to anybody but the run that made them. The cluster's lock must be held, and the caller must
 * not have any of its own yet.
 */
export async function removeSpoolFiles(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (name.endsWith('.spool')) await rm(join(folder, name), { force: true });
  }
}
