/**
 * One run per cluster on one spool. The lock file tells who holds it; a holder that was killed is recognised by its
 * process, or, from another host, by a heart that stopped beating.
 */
import { link, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { StrongroomError } from '../core/errors.ts';
import { processStartTime } from '../core/process-start.ts';
import { spoolError } from './spool.ts';

type Holder = { pid: number; startTime: string; host: string; run: string; since: string };

export type LockOptions = {
  /**
   * true = taken also from a process that is there and whose heart stands still: it is stopped, or hangs. Only for runs that
   * something else keeps from doing harm when they wake up, as the lease does
   */
  fromSilent: boolean;
  /** between two beats of a holder's heart, in milliseconds; the same for all that share the lock */
  beatMs?: number;
};

const HEARTBEAT_MS = 15_000;
/** So many missed beats, and a process that is there counts as silent; and one on another host, of which less is known, as gone. */
const SILENT_BEATS = { here: 4, elsewhere: 8 } as const;

/**
 * Takes the lock at `path` or rejects with E_LOCKED naming the holder, as {@link spoolError} says where it cannot be
 * written, or with the reason of `signal`. Disposing releases it, unless it is another's by then.
 * `since` of the holder is the wall clock of its host.
 */
export async function takeLock(
  path: string,
  run: string,
  now: Date,
  { fromSilent, beatMs = HEARTBEAT_MS }: LockOptions,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 }).catch((e: unknown) => {
    throw spoolError(e, dirname(path));
  });
  await removeLeftovers(path, beatMs);
  const mine: Holder = {
    pid: process.pid,
    startTime: processStartTime(process.pid) ?? '',
    host: hostname(),
    run,
    since: now.toISOString(),
  };
  const temporary = `${path}.${process.pid}.${run}`;
  const text = JSON.stringify(mine);
  await writeFile(temporary, text, { flag: 'wx', mode: 0o600 }).catch(async (e: unknown) => {
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
      const life = await lifeOf(holder.value, path, beatMs);
      if (life === 'beating') throw heldBy(holder.value, path, false);
      if (life === 'silent') {
        if (!fromSilent) throw heldBy(holder.value, path, true);
        if (!(await staysSilent(path, beatMs, signal))) continue;
      }
      await discard(path, holder.text, temporary);
    }
  } finally {
    await rm(temporary, { force: true });
  }
  const beat = setInterval(() => {
    const time = new Date();
    utimes(path, time, time).catch(() => undefined);
  }, beatMs);
  beat.unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(beat);
      await discard(path, text, temporary);
    },
  };
}

function heldBy({ run, pid, host, since }: Holder, path: string, isSilent: boolean): StrongroomError {
  return new StrongroomError('E_LOCKED', `run ${run} holds this cluster (process ${pid} on ${host}, since ${since})`, {
    hint: isSilent
      ? `it has given no sign of life for a minute: the process is stopped, or hangs. Let it go on, or end it: kill -9 ${pid}`
      : 'wait for it to end; a run that was killed is recognised and replaced by itself',
    details: { path },
  });
}

/** Is the process that wrote this still the one it was? The start time tells a reused pid apart. */
function isProcessAlive(pid: number, startTime: string): boolean {
  return processStartTime(pid) === startTime && startTime !== '';
}

/** `silent`: the process is there, and its heart stands still. */
async function lifeOf(holder: Holder, path: string, beatMs: number): Promise<'beating' | 'silent' | 'gone'> {
  const isHere = holder.host === hostname();
  if (isHere && !isProcessAlive(holder.pid, holder.startTime)) return 'gone';
  const beatAt = await lastBeat(path);
  if (beatAt === null) return 'gone';
  const silentMs = beatMs * (isHere ? SILENT_BEATS.here : SILENT_BEATS.elsewhere);
  if (Date.now() - beatAt < silentMs) return 'beating';
  return isHere ? 'silent' : 'gone';
}

/** Looked at twice: where the clock was set, or the whole machine slept, only the age of the last beat is wrong. */
async function staysSilent(path: string, beatMs: number, signal: AbortSignal): Promise<boolean> {
  const before = await lastBeat(path);
  try {
    await delay(beatMs * 1.5, undefined, { signal });
  } catch {
    throw signal.reason;
  }
  return (await lastBeat(path)) === before;
}

/** In milliseconds since 1970, or null where there is no lock any more. */
async function lastBeat(path: string): Promise<number | null> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (e) {
    if (isCode(e, 'ENOENT')) return null;
    throw e;
  }
}

/** Removes the lock that says `text`, and only that: should another run have replaced it meanwhile, its lock is put back. */
async function discard(path: string, text: string, temporary: string): Promise<void> {
  const aside = `${temporary}.stale`;
  try {
    if ((await readFile(path, 'utf8')) !== text) return;
    await rename(path, aside);
  } catch (e) {
    if (isCode(e, 'ENOENT')) return;
    throw e;
  }
  if ((await readFile(aside, 'utf8')) !== text) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

/** What processes that were killed inside {@link takeLock} left beside the lock. Those in it now are left alone. */
async function removeLeftovers(path: string, beatMs: number): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`)) continue;
    const leftover = join(dirname(path), name);
    try {
      // A lock put aside names its former holder, not who is about to remove it: only its age tells.
      const holder = name.endsWith('.stale') ? null : await readHolder(leftover).catch(() => null);
      const isOld = Date.now() - (await stat(leftover)).ctimeMs > SILENT_BEATS.elsewhere * beatMs;
      const isGone = holder === null ? isOld : (await lifeOf(holder.value, leftover, beatMs)) === 'gone';
      if (isGone) await rm(leftover, { force: true });
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
