/** What one kind of tool must say about itself. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Recipe } from './cache.ts';

export type Tool = {
  recipe: () => Recipe;
  /** the executable file inside the finished entry */
  executable: string;
};

/** Where the pins live. */
export const PINS = join(import.meta.dirname, '..', '..', 'tools');

/** The first 10 hex digits of a SHA-256 over pin files and this platform: part of a cache key. */
export function fingerprint(...files: readonly string[]): string {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}`);
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest('hex').slice(0, 10);
}
