/** What the process gives to the CLI; a test gives streams of its own. */
import type { Readable, Writable } from 'node:stream';

export type Host = {
  stdin: Readable & { isTTY?: boolean };
  stdout: Writable & { isTTY?: boolean };
  stderr: Writable & { isTTY?: boolean; columns?: number };
  env: Readonly<Record<string, string | undefined>>;
  /** absolute path of the working folder */
  cwd: string;
  /** aborted with an E_INTERRUPTED by the first signal to the process */
  signal: AbortSignal;
};

/** How the result and the failures are wanted. */
export type Mode = {
  /** one JSON document on standard output, JSON lines on standard error */
  json: boolean;
  /** causes and stacks of failures too */
  verbose: boolean;
  /** log lines for eyes, whatever the config says */
  pretty: boolean;
};

/**
 * The mode that `argv` asks for. Read before the command line is parsed, because a command line that makes no sense
 * must be answered in the right form too. STRONGROOM_DEBUG (anything but empty and 0) is as good as --verbose.
 */
export function modeOf(argv: readonly string[], env: Host['env']): Mode {
  const end = argv.indexOf('--');
  const flags = end === -1 ? argv : argv.slice(0, end);
  const debug = env['STRONGROOM_DEBUG'] ?? '';
  return {
    json: flags.some((flag) => /^--json(?:=(?:true|t|yes|y|on|1))?$/.test(flag)),
    pretty: flags.some((flag) => /^--pretty(?:=(?:true|t|yes|y|on|1))?$/.test(flag)),
    verbose: flags.some((flag) => flag === '-v' || flag === '--verbose') || (debug !== '' && debug !== '0'),
  };
}
