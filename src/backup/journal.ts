/** A run's own note: written before its first byte, removed when nothing of it is left to do. The cluster's lock must be held. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSnapshotId, type RunId, type SnapshotId } from '../core/ids.ts';

const SUFFIX = '.run.json';

/** Notes that `run` is about to make `snapshot`; {@link forget} removes the note. */
export async function note(folder: string, run: RunId, snapshot: SnapshotId): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const text = JSON.stringify({ run, snapshot, pid: process.pid });
  await writeFile(join(folder, `${snapshot}${SUFFIX}`), text, { mode: 0o600, flush: true });
}

/** Idempotent. */
export async function forget(folder: string, snapshot: SnapshotId): Promise<void> {
  await rm(join(folder, `${snapshot}${SUFFIX}`), { force: true });
}

/** Snapshots that earlier runs noted and nobody forgot, oldest first. What a note says does not matter: its name does. */
export async function noted(folder: string): Promise<SnapshotId[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .flatMap((name) => (name.endsWith(SUFFIX) ? (parseSnapshotId(name.slice(0, -SUFFIX.length)) ?? []) : []))
    .toSorted();
}
