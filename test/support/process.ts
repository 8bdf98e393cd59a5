/** The one way tests start a server: own process group, log file, readiness with a deadline, an end that is awaited. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

export type ProcessSpec = {
  /** names the log file and the errors */
  name: string;
  command: string;
  args: readonly string[];
  /** added to {@link baseEnv}; nothing else of the caller's environment arrives */
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** asked every 50 ms until it says true; a throw counts as "not yet". The signal fires at the deadline */
  ready: (signal: AbortSignal) => Promise<boolean>;
  /** deadline for `ready`, from the start of the process */
  timeoutMs: number;
  /** time between SIGTERM and SIGKILL in `stop`; default 10,000 */
  stopTimeoutMs?: number;
  signal?: AbortSignal;
};

export type Exit = { code: number | null; signal: NodeJS.Signals | null };

/** Whoever starts it ends it: `stop`, `kill` or `await using`. All three are idempotent. */
export type RunningProcess = AsyncDisposable & {
  name: string;
  pid: number;
  /** stdout and stderr together */
  logFile: string;
  /** sends `signal` (default SIGTERM) to the group, SIGKILL after `stopTimeoutMs`; resolves when the process is gone */
  stop: (signal?: NodeJS.Signals) => Promise<Exit>;
  /** SIGKILL to the group; resolves when the process is gone */
  kill: () => Promise<Exit>;
  /** SIGSTOP to the group: the sockets stay open and nothing answers */
  pause: () => void;
  /** SIGCONT to the group */
  resume: () => void;
  /** never rejects */
  exited: Promise<Exit>;
};

const PASSED_ON = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'LC_ALL', 'TZ', 'USER'] as const;
const POLL_MS = 50;
const LOG_TAIL_CHARS = 4_000;

const running = new Set<RunningProcess>();
const logFiles: string[] = [];
const handedOut = new Set<number>();

/**
 * What every started process sees of our environment. A short list on purpose: AWS_CA_BUNDLE, VAULT_*, BAO_*, proxies
 * and NODE_OPTIONS of the developer change what servers do.
 */
export function baseEnv(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

/** Processes started here and not yet gone; for the leak guard. */
export function runningProcesses(): readonly RunningProcess[] {
  return [...running];
}

/** Logs of every process started here, also of those that are gone, oldest first. */
export function startedLogs(): readonly string[] {
  return logFiles;
}

/**
 * Starts a server and waits until it is ready.
 *
 * @returns the running process; the caller ends it
 * @throws Error with the end of the log when it cannot start, exits early or misses the deadline (it is killed then);
 *   `signal.reason` when aborted
 */
export async function startProcess(spec: ProcessSpec): Promise<RunningProcess> {
  spec.signal?.throwIfAborted();
  const logFile = join(logDirectory(), `${spec.name}-${process.pid}-${Date.now()}.log`);
  const log = openSync(logFile, 'a');
  logFiles.push(logFile);
  const child = spawn(spec.command, spec.args, {
    cwd: spec.cwd,
    env: { ...baseEnv(), ...spec.env },
    stdio: ['ignore', log, log],
    detached: true,
  });
  closeSync(log);
  const failed = once(child, 'error').then(([cause]) => cause as unknown);
  const pid = child.pid;
  if (pid === undefined) {
    throw new Error(`${spec.name} did not start: ${spec.command}`, { cause: await failed });
  }
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const process_ = control(spec, pid, logFile, exited);
  running.add(process_);
  void exited.then(() => running.delete(process_));
  try {
    await untilReady(spec, process_);
    return process_;
  } catch (error) {
    await process_.kill();
    throw error;
  }
}

/**
 * A TCP port that was free on 127.0.0.1 a moment ago; never the same one twice in this process. Taken below Linux's
 * ephemeral range (32768 and up), where any outgoing connection could take it before the server binds.
 */
export async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (handedOut.has(port)) continue;
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
    });
    if (!free) continue;
    handedOut.add(port);
    return port;
  }
}

function control(spec: ProcessSpec, pid: number, logFile: string, exited: Promise<Exit>): RunningProcess {
  let gone = false;
  const send = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  };
  void exited.then(() => {
    gone = true;
    send('SIGKILL'); // children the leader left behind are in its group
  });
  const kill = async (): Promise<Exit> => {
    if (!gone) send('SIGKILL');
    return exited;
  };
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> => {
    if (!gone) {
      send(signal);
      send('SIGCONT'); // a paused process would sleep through its SIGTERM
      const deadline = new AbortController();
      const late = wait(spec.stopTimeoutMs ?? 10_000, 'late', { signal: deadline.signal }).catch(() => 'stopped');
      await Promise.race([exited, late]);
      deadline.abort();
    }
    return kill();
  };
  return {
    name: spec.name,
    pid,
    logFile,
    exited,
    stop,
    kill,
    pause: () => send('SIGSTOP'),
    resume: () => send('SIGCONT'),
    [Symbol.asyncDispose]: async () => {
      await stop();
    },
  };
}

async function untilReady(spec: ProcessSpec, started: RunningProcess): Promise<void> {
  const deadline = AbortSignal.timeout(spec.timeoutMs);
  const signal = spec.signal ? AbortSignal.any([deadline, spec.signal]) : deadline;
  const exit = started.exited.then((how) => ({ how }));
  let cause: unknown;
  while (!signal.aborted) {
    const turn = await Promise.race([exit, attempt(spec.ready, signal)]);
    if ('how' in turn) {
      const how = turn.how.signal ?? `code ${turn.how.code}`;
      throw new Error(`${spec.name} ended with ${how} before it was ready\n${await tail(started.logFile)}`, { cause });
    }
    if (turn.ready) return;
    cause = turn.cause;
    await Promise.race([exit, wait(POLL_MS)]);
  }
  spec.signal?.throwIfAborted();
  throw new Error(`${spec.name} was not ready after ${spec.timeoutMs} ms\n${await tail(started.logFile)}`, { cause });
}

async function attempt(ready: ProcessSpec['ready'], signal: AbortSignal): Promise<{ ready: boolean; cause: unknown }> {
  const given = new Promise<{ ready: boolean; cause: unknown }>((resolve) => {
    signal.addEventListener('abort', () => resolve({ ready: false, cause: signal.reason }), { once: true });
  });
  const asked = ready(signal).then(
    (answer) => ({ ready: answer, cause: undefined }),
    (cause: unknown) => ({ ready: false, cause }),
  );
  return Promise.race([asked, given]);
}

/** The end of a log with its path, for an error message. */
export async function tail(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '');
  return `--- end of ${logFile}\n${text.slice(-LOG_TAIL_CHARS).trimEnd() || '(empty)'}\n---`;
}

/** One directory per test run when the reporter made one (it removes it after a green run), else one per process. */
let ownLogs: string | undefined;
function logDirectory(): string {
  const shared = process.env['STRONGROOM_TEST_LOGS'];
  if (shared) {
    mkdirSync(shared, { recursive: true });
    return shared;
  }
  ownLogs ??= mkdtempSync(join(tmpdir(), 'strongroom-logs-'));
  return ownLogs;
}

// The last resort for a run that dies: detached groups do not get the terminal's Ctrl-C.
process.once('exit', () => {
  for (const left of running) {
    try {
      process.kill(-left.pid, 'SIGKILL');
    } catch {
      // gone already
    }
  }
});
