/** All that reads bytes from outside, by the name that the command line and the corpus folders use. */
import type { TargetAt } from './engine/watch.ts';

const FILES = {
  archive: 'archive.fuzz.ts',
  container: 'container.fuzz.ts',
  payload: 'payload.fuzz.ts',
  manifest: 'manifest.fuzz.ts',
  catalogue: 'catalogue.fuzz.ts',
  text: 'text.fuzz.ts',
} as const;

export type TargetName = keyof typeof FILES;

export const TARGET_NAMES = Object.keys(FILES) as TargetName[];

export function targetAt(name: TargetName): TargetAt {
  return { module: new URL(FILES[name], import.meta.url), name };
}
