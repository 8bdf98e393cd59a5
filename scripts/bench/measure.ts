/** One measured process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { baseEnv } from '../../test/support/process.ts';

const HOOK = new URL('./child-usage.mjs', import.meta.url).href;

/** What child-usage.mjs writes: CPU of every thread, in milliseconds; the largest resident memory, in bytes. */
type ChildUsage = { cpuMs: number; peakRssBytes: number };

export type Measured = ChildUsage & {
  /** from the start of the process to its end, in milliseconds */
  wallMs: number;
  /** the machine's load over the last minute, when it started */
  load: number;
  stdout: string;
};

export type MeasureOptions = { env?: Record<string, string>; nodeArgs?: readonly string[] };

/** Runs `program` (a path) to its end. Throws with what it said when that was not exit code 0. */
export async function measure(
  program: string,
  args: readonly string[],
  { env = {}, nodeArgs = [] }: MeasureOptions = {},
): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'strongroom-usage-'));
  try {
    const file = join(folder, 'usage.json');
    const [load = 0] = loadavg();
    const begin = performance.now();
    const child = spawn(process.execPath, [...nodeArgs, '--import', HOOK, program, ...args], {
      env: { ...baseEnv(), ...env, BENCH_USAGE: file },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const closed = once(child, 'close') as Promise<[number | null]>;
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
    const wallMs = performance.now() - begin;
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${String(code)}\n${stderr}`);
    const usage = JSON.parse(await readFile(file, 'utf8')) as ChildUsage;
    return { ...usage, wallMs, load, stdout };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
