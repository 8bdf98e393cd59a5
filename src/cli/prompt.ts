/** Questions to whoever sits at the terminal. Without a terminal they are refused, never answered by default. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { StrongroomError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { Host } from './host.ts';

type Terminal = Pick<Host, 'stdin' | 'stderr' | 'signal'>;

/**
 * Asks for `name` to be typed. Resolves only on exactly that name; rejects with E_CONFIRMATION on anything else, and
 * where standard input is no terminal, with `flag` as the way to say it there.
 */
export async function confirmName(host: Terminal, name: string, flag: string): Promise<void> {
  if (host.stdin.isTTY !== true) {
    throw new StrongroomError('E_CONFIRMATION', `not confirmed: standard input is no terminal to ask for "${name}"`, {
      hint: `${flag} ${name}`,
    });
  }
  const answer = await ask(host, `type ${name} to go on: `, host.stderr);
  if (answer.trim() !== name) {
    throw new StrongroomError('E_CONFIRMATION', `not confirmed: what was typed is not "${name}"`, {
      hint: 'nothing was changed; run it again and type the name exactly',
    });
  }
}

/** A line typed without echo. Rejects with E_PRECONDITION where standard input is no terminal, or nothing was typed. */
export async function promptSecret(host: Terminal, question: string): Promise<Secret> {
  if (host.stdin.isTTY !== true) {
    throw new StrongroomError('E_PRECONDITION', `no terminal to ask for ${question}`, {
      hint: 'run it in a terminal, or give the value by a file',
    });
  }
  const silence = new Writable({ write: (_chunk, _encoding, done) => done() });
  // Whoever sees the question types, or pastes, at once: by then the terminal must not echo any more.
  const answer = await ask(host, '', silence, () => host.stderr.write(`${question} (not shown): `));
  host.stderr.write('\n');
  if (answer === '') throw new StrongroomError('E_PRECONDITION', `nothing was typed for ${question}`);
  return new Secret(answer);
}

function ask(host: Terminal, question: string, output: Writable, whenSilent = (): unknown => null): Promise<string> {
  const { stdin, signal } = host;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: stdin, output, terminal: true, historySize: 0 });
    const end = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      settle();
      lines.close();
    };
    const onAbort = (): void => end(() => reject(signal.reason as Error));
    signal.addEventListener('abort', onAbort, { once: true });
    lines.once('line', (line) => end(() => resolve(line)));
    // A terminal in raw mode turns Ctrl-C into a key: no signal reaches the process.
    lines.once('SIGINT', () => end(() => reject(new StrongroomError('E_INTERRUPTED', 'stopped at a question'))));
    lines.once('close', () => end(() => reject(new StrongroomError('E_CONFIRMATION', 'no answer: the input ended'))));
    whenSilent();
    lines.setPrompt(question);
    lines.prompt();
  });
}
