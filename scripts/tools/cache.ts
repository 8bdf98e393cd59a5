/** The cache of fetched and built tools: an entry is either complete or not there, also with two processes asking. */

import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

export type Recipe = {
  /** name of the entry; carries a hash of every pin, so that a changed pin is a new entry */
  key: string;
  /** one line for stderr before the work starts */
  progress: string;
  /** fills an empty directory that is renamed into place only after this has resolved */
  build: (directory: string, signal: AbortSignal | undefined) => Promise<void>;
  /** false when what the entry leans on outside the cache went away; it is built anew then. Default: always usable */
  usable?: (directory: string) => boolean;
};

const POLL_MS = 200;

/** `.cache` of the checkout, or what STRONGROOM_CACHE says. */
export function cacheRoot(): string {
  return resolve(join(import.meta.dirname, '..', '..'), process.env['STRONGROOM_CACHE'] ?? '.cache');
}

/**
 * The directory of an entry, built when it is not there.
 *
 * Two callers at once: one builds, the other waits for it. The lock names its owner, so the lock of a dead process is
 * taken over. The lock only saves work: what makes an entry whole is the rename of a finished directory.
 *
 * @param root parent directory of all entries
 * @throws what `build` throws (nothing is left in the cache then); `signal.reason` when aborted
 */
export async function provide(recipe: Recipe, root: string, signal?: AbortSignal): Promise<string> {
  const target = join(root, recipe.key);
  const isThere = (): boolean => existsSync(target) && (recipe.usable?.(target) ?? true);
  if (isThere()) return target;
  await mkdir(root, { recursive: true });
  const lock = `${target}.lock`;
  const owner = JSON.stringify({ pid: process.pid, started: await startTime(process.pid) });
  while (!(await takeLock(lock, owner))) {
    await takeOverIfDead(root, recipe.key, lock);
    await wait(POLL_MS, undefined, { signal }).catch(() => signal?.throwIfAborted());
    if (isThere()) return target;
  }
  try {
    if (!isThere()) await buildBeside(recipe, target, signal);
  } finally {
    await rm(lock, { force: true });
  }
  return target;
}

async function buildBeside(recipe: Recipe, target: string, signal: AbortSignal | undefined): Promise<void> {
  const scratch = `${target}.${randomUUID()}.tmp`;
  await mkdir(scratch);
  const start = performance.now();
  console.error(`tools: ${recipe.progress}`);
  try {
    await recipe.build(scratch, signal);
    await rm(target, { recursive: true, force: true }); // there only when no longer usable
    await rename(scratch, target);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  console.error(`tools: ${recipe.key} ready after ${Math.round((performance.now() - start) / 1000)} s`);
}

async function takeLock(lock: string, owner: string): Promise<boolean> {
  try {
    const file = await open(lock, 'wx');
    await file.writeFile(owner);
    await file.close();
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function takeOverIfDead(root: string, key: string, lock: string): Promise<void> {
  const text = await readFile(lock, 'utf8').catch(() => undefined);
  // Absent: just released. Empty: its owner is between create and write, or died there; the age tells which.
  if (text === undefined || (await isAlive(text, lock))) return;
  await rm(lock, { force: true });
  for (const name of await readdir(root)) {
    if (name.startsWith(`${key}.`) && name.endsWith('.tmp')) await rm(join(root, name), { recursive: true });
  }
}

async function isAlive(text: string, lock: string): Promise<boolean> {
  const owner = parseOwner(text);
  if (!owner) {
    const file = await open(lock).catch(() => undefined);
    if (!file) return true;
    const { mtimeMs } = await file.stat();
    await file.close();
    return Date.now() - mtimeMs < 10_000;
  }
  // A process number alone is not enough: in containers the same small numbers come back.
  return (await startTime(owner.pid)) === owner.started;
}

function parseOwner(text: string): { pid: number; started: string } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('started' in value)) return undefined;
    const { pid, started } = value;
    return typeof pid === 'number' && typeof started === 'string' ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}

/** Field 22 of /proc/<pid>/stat, in clock ticks since boot; without /proc 'alive' or 'gone'. */
async function startTime(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'alive';
  } catch {
    if (existsSync('/proc/self/stat')) return 'gone';
  }
  try {
    process.kill(pid, 0);
    return 'alive';
  } catch {
    return 'gone';
  }
}
