/** Runs a build command quietly; its output is shown only when it fails. */

import { execa } from 'execa';
import { ToolError } from './tool-error.ts';

export type CommandOptions = {
  cwd?: string;
  /** added to our own environment */
  env?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** end of the one line said on failure: what to do about it */
  fix: string;
};

const LAST_LINES = 1;

/**
 * @returns stdout, trimmed
 * @throws ToolError with the last line of stderr; `signal.reason` when aborted
 */
export async function run(command: string, args: readonly string[], options: CommandOptions): Promise<string> {
  const { signal } = options;
  signal?.throwIfAborted();
  const result = await execa(command, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(signal === undefined ? {} : { cancelSignal: signal }),
    env: options.env ?? {},
    stdin: 'ignore',
    reject: false,
  });
  if (!result.failed) return result.stdout.trim();
  signal?.throwIfAborted();
  const said = lastLines(result.stderr) || lastLines(result.stdout) || result.shortMessage || 'no output';
  throw new ToolError(`${command} failed (${said})`, options.fix, { cause: new Error(result.stderr) });
}

function lastLines(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const errors = lines.filter((line) => /\berror\b/i.test(line));
  return (errors.length > 0 ? errors : lines).slice(-LAST_LINES).join(' ').trim();
}
