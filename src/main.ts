#!/usr/bin/env -S node --max-semi-space-size=1
// A small nursery: what a stream leaves behind are small wrappers of large buffers, and a nursery of 16 MiB keeps many of
// them alive. Measured: no more CPU, 50 MiB less at the peak of a backup.
/** The bin: argv to the CLI, signals to one AbortController, errors to exit codes. Only this file ends the process. */
import { enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Host } from './cli/host.ts';

const INTERRUPTED = 130;

// Until the run has ended well: an event loop that runs dry in the middle would otherwise look like a success.
process.exitCode = 1;
useCompileCache();
const interruption = new AbortController();
let hasEnded = false;

process.once('exit', () => {
  if (!hasEnded) process.stderr.write('error E_BUG: the run ended without a result\n');
});

// Not awaited: a top-level await that never settles ends with Node's own code 13, which is "verification failed" here.
void main();

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  const [{ modeOf }, { primaryFailure, renderFailure }, { exitCodeOf, StrongroomError }] = await Promise.all([
    import('./cli/host.ts'),
    import('./cli/failure.ts'),
    import('./core/errors.ts'),
  ]);
  const mode = modeOf(argv, process.env);

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (interruption.signal.aborted) endAtOnce();
      if (!mode.json) process.stderr.write(`stopping after ${signal}; once more to end at once\n`);
      interruption.abort(new StrongroomError('E_INTERRUPTED', `stopped by ${signal}`));
    });
  }
  const failAtOnce = (e: unknown): void => {
    hasEnded = true;
    process.stderr.write(renderFailure(e, { ...mode, verbose: true }));
    process.exit(1);
  };
  process.on('unhandledRejection', failAtOnce);
  process.on('uncaughtException', failAtOnce);

  let outputFailure: unknown;
  process.stdout.on('error', (e: NodeJS.ErrnoException) => {
    // A reader that has seen enough, such as head, is no failure; a full disk behind a redirection is.
    if (e.code !== 'EPIPE') outputFailure ??= e;
  });
  process.stderr.on('error', () => undefined);

  const host: Host = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    signal: interruption.signal,
  };
  let exitCode = 0;
  try {
    const { runCli } = await import('./cli/app.ts');
    await runCli(argv, host, mode);
    await flushed();
    if (outputFailure !== undefined) throw outputFailure;
  } catch (e) {
    const failure = primaryFailure(e, interruption.signal);
    process.stderr.write(renderFailure(failure, mode));
    exitCode = exitCodeOf(failure);
  }
  hasEnded = true;
  process.exitCode = exitCode;
}

/**
 * Dies of SIGINT, which a shell reports as 130. Not by process.exit(): that waits for file operations under way, and
 * one on a file system that is gone never ends. Only process 1 of a container survives its own signal, and exits.
 */
function endAtOnce(): never {
  process.removeAllListeners('SIGINT');
  process.kill(process.pid, 'SIGINT');
  process.exit(INTERRUPTED);
}

/** All of standard output is with the system, or its failure was reported to the listener. */
function flushed(): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write('', () => resolve());
  });
}

/** Compiled code is kept in the user's own cache: in the shared /tmp, Node's default, others could plant theirs. */
function useCompileCache(): void {
  if (process.env['NODE_COMPILE_CACHE'] !== undefined) return;
  const cache = process.env['XDG_CACHE_HOME'];
  enableCompileCache(
    join(cache?.startsWith('/') === true ? cache : join(homedir(), '.cache'), 'strongroom', 'compile'),
  );
}
