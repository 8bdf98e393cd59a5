/** Paths in a config. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export type Env = Readonly<Record<string, string | undefined>>;

/** `~/x` below the home folder, anything relative below `directory`. */
export function absolutePath(path: string, { directory, env }: { directory: string; env: Env }): string {
  return path.startsWith('~/') ? join(home(env), path.slice(2)) : resolve(directory, path);
}

/** `name` in strongroom's folder for state that outlives a run, as the XDG base directories say. */
export function stateDirectory(env: Env, name: string): string {
  // A relative XDG_STATE_HOME is to be ignored, says the specification.
  const base = env['XDG_STATE_HOME'];
  return join(base?.startsWith('/') === true ? base : join(home(env), '.local/state'), 'strongroom', name);
}

function home(env: Env): string {
  const named = env['HOME'];
  return named === undefined || named === '' ? homedir() : named;
}
