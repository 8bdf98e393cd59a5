/** The CLI as a process of its own, as a user runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { baseEnv } from './process.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

export type CliOptions = {
  env?: Record<string, string>;
  cwd?: string;
  /** what is written to standard input, which is then closed */
  input?: string;
  /** a program that starts Node in its own place, with its arguments, such as `nsenter` */
  via?: readonly string[];
  /** options of Node itself, before the program */
  nodeArgs?: readonly string[];
  /** another build of the program than the sources */
  main?: string;
  /** told each chunk of standard error as it comes */
  onStderr?: (text: string) => void;
};

export type CliResult = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string };

export type RunningCli = { child: ChildProcess; pid: number; finished: Promise<CliResult> };

/** Starts it and does not wait. Whoever starts it awaits `finished`. */
export function startCli(args: readonly string[], options: CliOptions = {}): RunningCli {
  const node = [
    process.execPath,
    '--max-semi-space-size=1',
    ...(options.nodeArgs ?? []),
    options.main ?? MAIN,
    ...args,
  ];
  const [command = '', ...rest] = [...(options.via ?? []), ...node];
  const child = spawn(command, rest, {
    env: { ...baseEnv(), ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    options.onStderr?.(text);
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const finished = once(child, 'close').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    stdout,
    stderr,
  }));
  return { child, pid: child.pid ?? 0, finished };
}

/** Runs it to its end, whatever the end is. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return await startCli(args, options).finished;
}

/** Runs it with --json; throws with what it said when the exit code is not `expected`. */
export async function runJson(args: readonly string[], options: CliOptions = {}, expected = 0): Promise<unknown> {
  const result = await runCli([...args, '--json'], options);
  if (result.code !== expected) {
    throw new Error(`strongroom ${args.join(' ')} ended with ${result.code} instead of ${expected}\n${result.stderr}`);
  }
  return JSON.parse(result.stdout) as unknown;
}
