/**
 * Where things lie in a directory store: `<root>/<key>` is the object itself, readable without us. Beside it stand
 * `.strongroom/meta/<key>` (what S3 would keep in headers), `.strongroom/tmp/<key>/<upload id>` and
 * `.strongroom/lock/<sha-256 of the key>`, in the same file system, so that links and renames are atomic.
 */
import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { StrongroomError } from '../core/errors.ts';
import { errnoOf } from './file-errors.ts';

export const HIDDEN = '.strongroom';

export type FilePaths = {
  object: string;
  meta: string;
  /** folder of temporary files of this key */
  tmp: string;
  lock: string;
};

/** Throws E_PRECONDITION for a key that would leave the directory, hide in it, or has no file name. */
export function pathsOf(root: string, key: string): FilePaths {
  const segments = key.split('/');
  const isBad = (segment: string) =>
    segment === '' || segment === '.' || segment === '..' || segment.includes('\0') || Buffer.byteLength(segment) > 255;
  if (segments[0] === HIDDEN || segments.some(isBad) || (sep !== '/' && key.includes(sep))) {
    throw new StrongroomError('E_PRECONDITION', `"${key.replaceAll('\0', '\\0')}" cannot be a file in a directory`, {
      hint: 'every part of a key needs 1 to 255 bytes and may not be . or ..',
    });
  }
  const hash = createHash('sha256').update(key).digest('hex');
  return {
    object: join(root, ...segments),
    meta: join(root, HIDDEN, 'meta', ...segments),
    tmp: join(root, HIDDEN, 'tmp', ...segments),
    lock: join(root, HIDDEN, 'lock', hash),
  };
}

/** Throws E_PRECONDITION when links lead the nearest existing folder of `path` out of `root`. */
export async function refuseEscape(root: string, path: string): Promise<void> {
  const home = await realpath(root);
  for (let folder = dirname(path); folder.length >= root.length; folder = dirname(folder)) {
    try {
      const real = await realpath(folder);
      if (real === home || real.startsWith(`${home}${sep}`)) return;
      throw new StrongroomError('E_PRECONDITION', `"${folder}" leads out of the directory of the store`, {
        hint: 'remove the symbolic link, or give the store the real directory',
      });
    } catch (e) {
      if (errnoOf(e) !== 'ENOENT' && errnoOf(e) !== 'ENOTDIR') throw e;
    }
  }
}
