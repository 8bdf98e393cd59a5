/** A run of the CLI whose progress is waited for, so that something can happen to it at a certain place. */
import type { CliResult, RunningCli } from './strongroom-cli.ts';
import { until } from './until.ts';

/** The server's own pause is 5 s, and a busy machine takes its time for the rest. */
const TIMEOUT_MS = 120_000;

export class Watched {
  readonly running: RunningCli;
  #said = '';

  /** `start` passes on what it is given, as `startCli` does. */
  constructor(start: (onStderr: (text: string) => void) => RunningCli) {
    this.running = start((text) => {
      this.#said += text;
    });
  }

  /** Resolves when a line on standard error, or what is there of it, matches. Rejects when the run ends before. */
  async says(line: RegExp): Promise<void> {
    await this.reaches(`it says ${line}`, () => Promise.resolve(line.test(this.#said)));
  }

  /** Resolves when `isThere` says so. Rejects when the run ends before. */
  async reaches(what: string, isThere: () => Promise<boolean>): Promise<void> {
    const ended = new AbortController();
    void this.running.finished.then(({ code, stderr }) => {
      ended.abort(new Error(`it ended with ${code} before: ${what}\n${stderr}`));
    });
    await until(what, async () => ((await isThere()) ? true : undefined), {
      timeoutMs: TIMEOUT_MS,
      everyMs: 5,
      signal: ended.signal,
    });
  }

  async stop(signal: NodeJS.Signals): Promise<CliResult> {
    this.running.child.kill(signal);
    return await this.running.finished;
  }
}
