/** The CLI as it is shipped: compiled, without types to strip. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A program, and the flags of Node that its first line asks for. */
export type Program = { path: string; nodeArgs: readonly string[] };

/** Compiles into `.cache/<name>`. Throws when the compiler found an error. */
export async function build(name = 'bench'): Promise<Program> {
  const directory = join(ROOT, '.cache', name);
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
  const child = spawn(tsc, ['-p', 'tsconfig.build.json', '--outDir', directory], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`tsc ended with ${String(code)}`);
  return await programAt(join(directory, 'src', 'main.js'));
}

/** The CLI from its sources. */
export async function sources(): Promise<Program> {
  return await programAt(join(ROOT, 'src', 'main.ts'));
}

async function programAt(path: string): Promise<Program> {
  const flags = /^#!.*\bnode +(--.*)$/m.exec(await readFile(path, 'utf8'))?.[1];
  return { path, nodeArgs: flags === undefined ? [] : flags.trim().split(/ +/) };
}
