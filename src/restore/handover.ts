/**
 * The note about an install that was begun: it is there until the restore is proven, or until it is certain that
 * nothing was installed. The next run of the same restore finds it and goes on where this one stopped.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { ArchiveReport } from '../archive/report.ts';
import type { Log } from '../core/log.ts';
import { spoolError } from '../spool/spool.ts';

const handoverSchema = z.object({
  run: z.string(),
  /** SHA-256 of state.bin: the same snapshot, wherever it is read from */
  state: z.string(),
  /** when the upload began, later when it ended; ISO 8601 */
  at: z.iso.datetime(),
  /** `sending` = it may or may not have arrived */
  stage: z.enum(['sending', 'sent']),
  node: z.string(),
  /** of the target before the install */
  clusterIdBefore: z.string().nullable(),
  force: z.boolean(),
  /** unseal key shares for each node that lost its keys; 0 = they keep them */
  sharesNeeded: z.number().int().nonnegative(),
  /** of the target before the install */
  safety: z.string().nullable(),
});

export type Handover = z.infer<typeof handoverSchema>;

const NAME = 'restore.json';
/** Where the next note is written first. */
const NEW = `${NAME}.new`;

/** What makes two archives the same snapshot. */
export function stateHash({ members }: ArchiveReport): string {
  return members.find(({ name }) => name === 'state.bin')?.sha256 ?? '';
}

/** Survives a crash at any moment: the old note or the new one is there, never half of one. Rejects with E_SPACE and the like. */
export async function noteHandover(folder: string, handover: Handover): Promise<void> {
  const next = join(folder, NEW);
  try {
    await writeFile(next, `${JSON.stringify(handover)}\n`, { mode: 0o600, flush: true });
    await rename(next, join(folder, NAME));
  } catch (e) {
    await rm(next, { force: true });
    throw spoolError(e, next);
  }
}

export async function forgetHandover(folder: string): Promise<void> {
  await rm(join(folder, NAME), { force: true });
  // A run that was killed between writing and renaming left this one.
  await rm(join(folder, NEW), { force: true });
}

/** The note of an earlier run, or null. One that cannot be read is told to the log: then the restore begins anew. */
export async function readHandover(folder: string, log: Log): Promise<Handover | null> {
  let text: string;
  try {
    text = await readFile(join(folder, NAME), 'utf8');
  } catch {
    return null;
  }
  try {
    return handoverSchema.parse(JSON.parse(text));
  } catch (e) {
    log.warn({ file: join(folder, NAME), err: String(e) }, 'the note of an earlier restore cannot be read');
    return null;
  }
}
