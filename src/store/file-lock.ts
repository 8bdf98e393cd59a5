/** One writer of a key at a time, between processes; held for a few renames only. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { StrongroomError } from '../core/errors.ts';
import { errnoOf } from './file-errors.ts';

/** Who holds a lock longer than this has died: what it guards takes milliseconds, some fsyncs included. */
const STALE_MS = 60_000;
const POLL_MS = 20;

/** Waits for the lock file `path`, runs `fn`, removes it. Rejects with the abort reason, or what `fn` rejects with. */
export async function withFileLock<T>(path: string, signal: AbortSignal, fn: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const deadline = Date.now() + 2 * STALE_MS;
  while (!(await tryLock(path))) {
    signal.throwIfAborted();
    if (Date.now() > deadline) {
      throw new StrongroomError('E_STORE_CONFLICT', `lock file ${path} is held all the time`, { retryable: true });
    }
    await removeStale(path);
    await delay(POLL_MS);
  }
  try {
    return await fn();
  } finally {
    await rm(path, { force: true });
  }
}

async function tryLock(path: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx');
    await handle.close();
    return true;
  } catch (e) {
    if (errnoOf(e) === 'EEXIST') return false;
    throw e;
  }
}

async function removeStale(path: string): Promise<void> {
  try {
    if (Date.now() - (await stat(path)).mtimeMs < STALE_MS) return;
    // By rename: of two that find it stale only one takes it away, and never the fresh lock of a third.
    const aside = `${path}.${randomUUID()}`;
    await rename(path, aside);
    await rm(aside, { force: true });
  } catch (e) {
    if (errnoOf(e) !== 'ENOENT') throw e;
  }
}
