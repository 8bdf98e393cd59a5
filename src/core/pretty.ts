/** A JSON line of the log, for eyes. */
import { styleText } from 'node:util';

export type PrettyStyle = {
  /** it is written where a progress line may stand: that one goes */
  isTerminal: boolean;
  hasColour: boolean;
};

type Colour = Exclude<Parameters<typeof styleText>[0], readonly unknown[]>;

const LEVELS: Readonly<Record<number, readonly [name: string, colour: Colour]>> = {
  10: ['trace', 'gray'],
  20: ['debug', 'gray'],
  30: ['info', 'cyan'],
  40: ['warn', 'yellow'],
  50: ['error', 'red'],
  60: ['fatal', 'magenta'],
};
const CLEAR_LINE = '\r\u001b[2K';

/**
 * `12:04:05.123 warn  prod backup upload a  the lease could not be renewed there; tried again  store=b`: the time in UTC, the
 * run in short, what happened, and what is left of the fields; an error with its code, message and hint below. What is no JSON
 * object comes out as it went in.
 */
export function prettyLine(line: string, { isTerminal, hasColour }: PrettyStyle): string {
  const fields = parse(line);
  if (fields === null) return line;
  const paint = (colour: Colour, text: string): string =>
    hasColour && text !== '' ? styleText(colour, text, { validateStream: false }) : text;
  const { time, level, msg, cluster, job, stage, err, ...rest } = fields;
  const [name, colour] = LEVELS[Number(level)] ?? [String(level), 'white'];
  const where = [cluster, job, stage].filter((word) => typeof word === 'string').map(printable);
  const more = Object.entries(rest).map(([key, value]) => `${printable(key)}=${shown(value)}`);
  const head = [
    paint('gray', printable(String(time)).slice(11, 23)),
    paint(colour, name.padEnd(5)),
    ...(where.length === 0 ? [] : [paint('bold', where.join(' '))]),
    shown(msg ?? ''),
    ...(more.length === 0 ? [] : [paint('gray', more.join(' '))]),
  ];
  const lines = [head.join('  '), ...errorLines(err).map((text) => `    ${text}`)];
  return `${isTerminal ? CLEAR_LINE : ''}${lines.join('\n')}\n`;
}

function parse(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}

function errorLines(err: unknown): string[] {
  if (err === undefined || err === null) return [];
  if (typeof err !== 'object') return [shown(err)];
  const { code, message, hint, details } = err as Record<string, unknown>;
  return [
    [code, message]
      .filter((part) => typeof part === 'string')
      .map(printable)
      .join(': '),
    ...(typeof hint === 'string' ? [`hint: ${printable(hint)}`] : []),
    ...(details === undefined ? [] : [`details: ${shown(details)}`]),
  ];
}

function shown(value: unknown): string {
  return printable(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
}

/** Without control characters: what a server answered must not drive the terminal that shows it. */
function printable(text: string): string {
  return text.replaceAll(/[\t\r\n]+/g, ' ').replaceAll(/\p{Cc}/gu, '\ufffd');
}
