/** Has the spool's disk room for the next snapshots, and may they be written there? */
import { randomUUID } from 'node:crypto';
import { mkdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import { checkRoom, SpoolFile, type SpoolOptions, spoolError } from '../spool/spool.ts';
import { type Outcome, ok, unknown } from './finding.ts';
import { attempt } from './run-checks.ts';

/** Where nothing is known of the size of a snapshot, in bytes. */
const FIRST_BYTES = 64 * 2 ** 20;

/** `sizes` are those of the newest snapshots in bytes: 0 = there is none yet, null = not known. Leaves no file, and no folder that it made. */
export async function spoolOutcomes(
  spool: SpoolOptions,
  sizes: readonly (number | null)[],
  signal: AbortSignal,
): Promise<Outcome[]> {
  const what = `spool ${spool.directory}`;
  const known = sizes.filter((size) => size !== null);
  const largest = Math.max(0, ...known);
  const needed = largest === 0 ? FIRST_BYTES : 2 * largest;
  const made = await mkdir(spool.directory, { recursive: true, mode: 0o700 }).catch((e: unknown) => {
    throw spoolError(e, spool.directory);
  });
  try {
    const room = await attempt(what, signal, async () => {
      const { freeBytes } = await checkRoom(spool, needed);
      const of = largest === 0 ? 'for a first snapshot' : 'for twice the newest snapshot';
      return ok(what, `${formatBytes(needed)} needed ${of}, ${formatBytes(freeBytes)} free`);
    });
    const write = await attempt(`${what}, writing`, signal, async () => {
      await using file = await SpoolFile.create(spool, `.doctor-${randomUUID()}`);
      await file.write(one());
      return ok(`${what}, writing`, 'a file was written, and is removed again');
    });
    const blind =
      known.length < sizes.length ? [unknown(what, 'the size of the newest snapshot of a cluster is not known')] : [];
    return [...room, ...write, ...blind];
  } finally {
    if (made !== undefined) await removeFolders(spool.directory, made);
  }
}

async function* one(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(64 * 1024, 1);
}

/** From `folder` up to `top`, as far as they are empty: somebody may have begun to use them. */
async function removeFolders(folder: string, top: string): Promise<void> {
  for (let at = folder; at.length >= top.length; at = dirname(at)) {
    const isGone = await rmdir(at).then(
      () => true,
      () => false,
    );
    if (!isGone) return;
  }
}

/** Is `path` on the disk of the spool? null when one of them is not there. */
export async function isOneDisk(path: string, spool: string): Promise<boolean | null> {
  try {
    return (await stat(path)).dev === (await stat(spool)).dev;
  } catch (e) {
    if (isError(e)) throw e;
    return null;
  }
}

/** Removes a file that a probe made. Rejects where it cannot. */
export async function removeProbe(path: string): Promise<void> {
  await rm(path, { force: true });
}
