/** How a failure is told: one line, a hint, and on request its causes; or one JSON object. */
import { describeError, exitCodeOf, isError, StrongroomError } from '../core/errors.ts';
import type { Mode } from './host.ts';

/**
 * The failure to speak of. Where closing something failed after the run itself had, JavaScript hands over the second
 * failure with the first inside: the first is what counts. An AbortError stands for the reason of `signal`.
 */
export function primaryFailure(e: unknown, signal: AbortSignal): unknown {
  let failure = e;
  while (failure instanceof SuppressedError) failure = failure.suppressed as unknown;
  if (signal.aborted && failure instanceof Error && failure.name === 'AbortError') return signal.reason;
  return failure;
}

/** The failure as it is written to standard error, with the newline at its end. */
export function renderFailure(failure: unknown, mode: Pick<Mode, 'json' | 'verbose'>): string {
  return mode.json
    ? `${JSON.stringify({ error: failureDocument(failure) })}\n`
    : `${failureText(failure, mode).join('\n')}\n`;
}

function failureDocument(failure: unknown): Record<string, unknown> {
  const known = isError(failure) ? failure : new StrongroomError('E_BUG', describeError(failure), { cause: failure });
  return { ...known.toJSON(), exitCode: exitCodeOf(known) };
}

function failureText(failure: unknown, mode: Pick<Mode, 'json' | 'verbose'>): string[] {
  if (!isError(failure)) {
    const stack = failure instanceof Error && mode.verbose ? [`  ${failure.stack ?? ''}`] : [];
    const hint = mode.verbose
      ? []
      : ['  hint: a defect in strongroom; run it again with --verbose and report the output'];
    return [`error E_BUG: ${printable(describeError(failure))}`, ...stack, ...hint];
  }
  const [first = '', ...more] = failure.message.split('\n');
  const lines = [`error ${failure.code}: ${printable(first)}`, ...more.map((line) => `  ${printable(line)}`)];
  if (failure.hint !== undefined) lines.push(`  hint: ${printable(failure.hint)}`);
  if (mode.verbose) lines.push(...verboseLines(failure));
  return lines;
}

function verboseLines(failure: StrongroomError): string[] {
  const lines: string[] = [];
  // The problems of a config stand in the message already.
  const details = Object.entries(failure.details).filter(([name]) => name !== 'problems');
  for (const [name, value] of details) lines.push(`  ${name}: ${printable(JSON.stringify(value) ?? '')}`);
  let cause = failure.cause;
  for (let depth = 0; cause !== undefined && cause !== null && depth < 8; depth += 1) {
    const code = cause instanceof Error && !isError(cause) && 'code' in cause ? `${String(cause.code)}: ` : '';
    lines.push(`  cause: ${printable(`${code}${describeError(cause)}`)}`);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  if (failure.code === 'E_BUG') lines.push(`  ${failure.stack ?? ''}`);
  return lines;
}

/** Without control characters: a server's answer must not drive the terminal that shows it. */
export function printable(text: string): string {
  return text.replaceAll(/[\t\n]+/g, ' ').replaceAll(/\p{Cc}/gu, '\ufffd');
}
