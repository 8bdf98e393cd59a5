/** Walks a directory in the order of object keys: by bytes, a folder standing where its slash puts it. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from './file-errors.ts';
import { HIDDEN } from './file-paths.ts';

/**
 * The keys of regular files below `folder` that begin with `prefix` and lie behind `after`, in order. The names of one
 * folder at a time are in memory. Links are not followed. What vanishes meanwhile is not there.
 */
export async function* walkKeys(
  folder: string,
  prefix: string,
  after: string,
  signal: AbortSignal,
  base = '',
): AsyncGenerator<string> {
  signal.throwIfAborted();
  for (const name of await sortedNames(folder, base === '')) {
    const key = `${base}${name}`;
    if (name.endsWith('/')) {
      const mayFit = key.startsWith(prefix) || prefix.startsWith(key);
      // Behind `after` is every key of a folder, some of them, or none.
      if (mayFit && (after.startsWith(key) || compareKeys(key, after) > 0)) {
        yield* walkKeys(join(folder, name), prefix, after, signal, key);
      }
    } else if (key.startsWith(prefix) && compareKeys(key, after) > 0) {
      yield key;
    }
  }
}

/** S3 orders keys by their UTF-8 bytes; JavaScript's own order of strings differs beyond the BMP. */
function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

async function sortedNames(folder: string, isRoot: boolean): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries
      .filter((entry) => !(isRoot && entry.name === HIDDEN))
      .flatMap((entry) => (entry.isDirectory() ? [`${entry.name}/`] : entry.isFile() ? [entry.name] : []))
      .sort(compareKeys);
  } catch (e) {
    if (errnoOf(e) === 'ENOENT') return [];
    throw e;
  }
}
