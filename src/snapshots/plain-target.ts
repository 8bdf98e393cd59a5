/** Where a plain snapshot may be written to, found out before a byte of it is fetched. */
import { constants } from 'node:fs';
import { access, lstat, realpath, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import { errnoOf } from '../store/file-errors.ts';

/** A path that {@link planTarget} found fit. */
export type PlainTarget = {
  /** absolute, every link in its folders resolved; nothing was there */
  path: string;
  folder: string;
};

/**
 * `path` (absolute) as the place of a new file. Rejects with E_PRECONDITION when something is there already, when its
 * folder is missing or cannot be written to, and when it lies inside a git work tree: one `git add` would publish it.
 */
export async function planTarget(path: string): Promise<PlainTarget> {
  const name = basename(path);
  const parent = dirname(path);
  const folder = await realFolder(parent);
  const target = { path: join(folder, name), folder };
  // A link that leads nowhere is something, too: what is written would not be where it seems.
  const found = await lookAt(target.path);
  if (found !== null) throw occupied(target, found.isDirectory());
  const tree = await workTreeAround(folder);
  if (tree !== null) {
    throw new StrongroomError('E_PRECONDITION', `${target.path} lies in the git work tree ${tree}`, {
      hint: 'a plain snapshot must never be committed: give an --output outside of any work tree',
    });
  }
  await access(folder, constants.W_OK | constants.X_OK).catch((e: unknown) => {
    throw unwritable(folder, e);
  });
  return target;
}

/** Rejects with E_SPACE when the disk of `target` cannot take `bytes`. */
export async function checkTargetRoom({ folder }: PlainTarget, bytes: number): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  // Some network file systems do not know their size and say zero; they tell while they are written to.
  if (blocks === 0 || bytes <= freeBytes) return;
  throw new StrongroomError(
    'E_SPACE',
    `the disk of ${folder} has ${formatBytes(freeBytes)} free, and the snapshot is ${formatBytes(bytes)}`,
    { hint: 'free some room, or give an --output on a larger disk', details: { needed: bytes, freeBytes } },
  );
}

/** What is said of a path that is taken, before the run or at its end. */
export function occupied({ path }: PlainTarget, isFolder = false): StrongroomError {
  return new StrongroomError('E_PRECONDITION', `${path} ${isFolder ? 'is a folder' : 'exists already'}`, {
    hint: isFolder ? 'give the name of a new file in it' : 'nothing is ever overwritten: give another --output',
  });
}

export function unwritable(folder: string, cause: unknown): StrongroomError {
  return new StrongroomError('E_PRECONDITION', `no file can be made in ${folder}`, {
    hint: 'give an --output in a folder that this user may write to',
    cause,
  });
}

async function realFolder(path: string): Promise<string> {
  const hint = 'make it first, on an encrypted or memory disk, for this user alone';
  const folder = await realpath(path).catch((e: unknown) => {
    const what = errnoOf(e) === 'ENOENT' ? `there is no folder ${path}` : `the folder ${path} cannot be entered`;
    throw new StrongroomError('E_PRECONDITION', what, { hint, cause: e });
  });
  if ((await lookAt(folder))?.isDirectory() === true) return folder;
  throw new StrongroomError('E_PRECONDITION', `${path} is not a folder`, { hint });
}

/** The nearest folder at or above `folder` that git takes for a work tree: `.git` is a file in a linked one. */
async function workTreeAround(folder: string): Promise<string | null> {
  for (let at = folder; ; at = dirname(at)) {
    if ((await lookAt(join(at, '.git'))) !== null) return at;
    if (at === dirname(at)) return null;
  }
}

/** What stands at `path`, links not followed; null for nothing. Rejects with E_PRECONDITION where that cannot be known. */
async function lookAt(path: string): Promise<{ isDirectory(): boolean } | null> {
  try {
    return await lstat(path);
  } catch (e) {
    if (errnoOf(e) === 'ENOENT') return null;
    throw new StrongroomError('E_PRECONDITION', `it cannot be known what is at ${path}`, {
      hint: 'give an --output in a folder that this user may enter',
      cause: e,
    });
  }
}
