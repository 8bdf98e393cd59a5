/** The config file, looked at again and again: a change takes effect without a restart, a mistake changes nothing. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/load.ts';
import { isError, type StrongroomError } from '../core/errors.ts';

/** A mounted ConfigMap is replaced by a symbolic link: no event of the file system tells of it everywhere. */
const LOOK_EVERY_MS = 5_000;

export type ConfigWatchOptions = {
  load: () => Promise<Config>;
  /** a config that is in force from now on */
  onChange(config: Config): void;
  /** the file changed into something that is no config: the one before stays in force. null = it is good again */
  onRefusal(error: StrongroomError | null): void;
};

/** Watches `file` until `signal` aborts; then it resolves. `config` is what is in force, and what `file` holds now. */
export async function watchConfig(config: Config, options: ConfigWatchOptions, signal: AbortSignal): Promise<void> {
  const { file } = config;
  let known = await fingerprint(file);
  let isRefused = false;
  for (;;) {
    try {
      await delay(LOOK_EVERY_MS, undefined, { signal });
    } catch {
      return;
    }
    const found = await fingerprint(file);
    if (found === known) continue;
    try {
      const next = await options.load();
      // It was read twice: should it have changed in between, the next look sees another fingerprint.
      known = found;
      if (isRefused) options.onRefusal(null);
      isRefused = false;
      options.onChange(next);
    } catch (e) {
      if (!isError(e)) throw e;
      known = found;
      isRefused = true;
      options.onRefusal(e);
    }
  }
}

/** SHA-256 of the file; null = it cannot be read. */
async function fingerprint(file: string): Promise<string | null> {
  const bytes = await readFile(file).catch(() => null);
  return bytes === null ? null : createHash('sha256').update(bytes).digest('hex');
}
