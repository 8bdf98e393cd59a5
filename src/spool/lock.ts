/**
 * One run per cluster on one spool. The lock file tells who holds it; a holder that was killed is recognised by its
 * process, or, from another host, by a heart that stopped beating.
 */
import { link, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import { processStartTime } from '../core/process-start.ts';
import { spoolError } from './spool.ts';

type Holder = { pid: number; startTime: string; host: string; run: string; since: string };

const HEARTBEAT_MS = 15_000;
/** A holder on another host whose file is older than this is gone: eight missed beats. */
const STALE_MS = 120_000;

/**
 * Takes the lock at `path` or rejects with E_LOCKED naming the holder, or as {@link spoolError} says where it cannot be
 * written. Disposing releases it.
 * `since` of the holder is the wall clock of its host.
 */
export async function takeLock(path: string, run: string, now: Date): Promise<AsyncDisposable> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 }).catch((e: unknown) => {
    throw spoolError(e, dirname(path));
  });
  await removeLeftovers(path);
  const mine: Holder = {
    pid: process.pid,
    startTime: processStartTime(process.pid) ?? '',
    host: hostname(),
    run,
    since: now.toISOString(),
  };
  const temporary = `${path}.${process.pid}.${run}`;
  await writeFile(temporary, JSON.stringify(mine), { flag: 'wx', mode: 0o600 }).catch(async (e: unknown) => {
    // On a full disk there is a file, and nothing in it.
    await rm(temporary, { force: true });
    throw spoolError(e, temporary);
  });
  try {
    // link() makes the complete file appear at once, or fails: there is never a lock without a holder in it.
    for (;;) {
      try {
        await link(temporary, path);
        break;
      } catch (e) {
        if (!isCode(e, 'EEXIST')) throw e;
      }
      const holder = await readHolder(path);
      if (holder === null) continue;
      if (await isAlive(holder.value, path)) {
        throw new StrongroomError(
          'E_LOCKED',
          `run ${holder.value.run} holds this cluster (process ${holder.value.pid} on ${holder.value.host}, since ${holder.value.since})`,
          { hint: 'wait for it to end; a run that was killed is recognised and replaced by itself', details: { path } },
        );
      }
      await discardStale(path, holder.text, temporary);
    }
  } finally {
    await rm(temporary, { force: true });
  }
  const beat = setInterval(() => {
    const time = new Date();
    utimes(path, time, time).catch(() => undefined);
  }, HEARTBEAT_MS);
  beat.unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(beat);
      await rm(path, { force: true });
    },
  };
}

/** Is the process that wrote this still the one it was? The start time tells a reused pid apart. */
function isProcessAlive(pid: number, startTime: string): boolean {
  return processStartTime(pid) === startTime && startTime !== '';
}

async function isAlive(holder: Holder, path: string): Promise<boolean> {
  if (holder.host === hostname()) return isProcessAlive(holder.pid, holder.startTime);
  const { mtimeMs } = await stat(path);
  return Date.now() - mtimeMs < STALE_MS;
}

/** Removes the stale lock, and only that: should a third run have replaced it meanwhile, its lock is put back. */
async function discardStale(path: string, staleText: string, temporary: string): Promise<void> {
  const aside = `${temporary}.stale`;
  try {
    await rename(path, aside);
  } catch (e) {
    if (isCode(e, 'ENOENT')) return;
    throw e;
  }
  if ((await readFile(aside, 'utf8')) !== staleText) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

/** What processes that were killed inside {@link takeLock} left beside the lock. Those in it now are left alone. */
async function removeLeftovers(path: string): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`)) continue;
    const leftover = join(dirname(path), name);
    try {
      // A lock put aside names its former holder, not who is about to remove it: only its age tells.
      const holder = name.endsWith('.stale') ? null : await readHolder(leftover).catch(() => null);
      const isOld = Date.now() - (await stat(leftover)).ctimeMs > STALE_MS;
      if (holder === null ? isOld : !(await isAlive(holder.value, leftover))) await rm(leftover, { force: true });
    } catch (e) {
      if (!isCode(e, 'ENOENT')) throw e;
    }
  }
}

async function readHolder(path: string): Promise<{ value: Holder; text: string } | null> {
  try {
    const text = await readFile(path, 'utf8');
    return { value: JSON.parse(text) as Holder, text };
  } catch (e) {
    if (isCode(e, 'ENOENT')) return null;
    throw new StrongroomError('E_LOCKED', `the lock file ${path} cannot be read`, {
      hint: 'when no run of this cluster is active, remove it',
      cause: e,
    });
  }
}

function isCode(e: unknown, code: string): boolean {
  return e instanceof Error && 'code' in e && e.code === code;
}
