/** One measured subject: a command, or a few one after another, as processes of their own. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { baseEnv } from '../../test/support/process.ts';
import { findPython } from '../tools/python.ts';

const ACCOUNT = fileURLToPath(new URL('./account.py', import.meta.url));

/** One command; `argv[0]` is looked for on PATH unless it is a path. */
export type Command = { name: string; argv: readonly string[] };

/** What account.py tells. CPU of every thread and of every child that was waited for. */
export type Used = {
  name: string;
  /** from the start of the process to its end, in milliseconds */
  wallMs: number;
  /** user and system time, in milliseconds */
  cpuMs: number;
  /** the largest resident memory of any one process, in bytes */
  peakRssBytes: number;
};

export type Measured = Omit<Used, 'name'> & {
  commands: Used[];
  /** the machine's load over the last minute, when it started */
  load: number;
  /** of all commands */
  stdout: string;
};

let python: Promise<string> | undefined;

/** A script of ours under the Node that runs this. */
export function nodeCommand(
  name: string,
  program: string,
  args: readonly string[] = [],
  nodeArgs: readonly string[] = [],
): Command {
  return { name, argv: [process.execPath, ...nodeArgs, program, ...args] };
}

/**
 * Runs `commands` in order, to the end of the last. `env` is added to the short list that every process of the tests gets.
 * Wall times are added up, so that the time between two commands does not count. Throws with what was said when one of
 * them ends with another exit code than 0.
 */
export async function measure(
  commands: readonly Command[],
  env: Readonly<Record<string, string>> = {},
): Promise<Measured> {
  python ??= findPython(9).then(({ path }) => path);
  const [load = 0] = loadavg();
  const child = spawn(await python, [ACCOUNT], {
    env: { ...baseEnv(), ...env },
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  }) as ChildProcessWithoutNullStreams;
  const closed = once(child, 'close') as Promise<[number | null]>;
  child.stdin.end(JSON.stringify(commands));
  const [said, complained, told, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    text(child.stdio[3] as Readable),
    closed,
  ]);
  const used = told === '' ? [] : (JSON.parse(told) as Used[]);
  if (code !== 0) {
    const failed = used.at(-1)?.name ?? 'account.py';
    throw new Error(`${failed} ended with ${String(code)}\n${complained}${said}`);
  }
  return {
    wallMs: sum(used.map(({ wallMs }) => wallMs)),
    cpuMs: sum(used.map(({ cpuMs }) => cpuMs)),
    peakRssBytes: Math.max(...used.map(({ peakRssBytes }) => peakRssBytes)),
    commands: used,
    load,
    stdout: said,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
