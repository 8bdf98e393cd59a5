/** Looking for programs the machine has. */

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @returns the absolute path of the first executable file of that name on PATH */
export function findOnPath(name: string): string | undefined {
  for (const directory of pathEntries()) {
    const file = join(directory, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not in this one
    }
  }
  return undefined;
}

/** The directories of PATH, in order. */
export function pathEntries(): string[] {
  return (process.env['PATH'] ?? '').split(delimiter).filter((entry) => entry !== '');
}
