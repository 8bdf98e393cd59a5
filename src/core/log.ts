/** One logger: JSON lines on standard error. Standard output belongs to data. */
import { type DestinationStream, type Logger, pino } from 'pino';
import { prettyLine } from './pretty.ts';
import { scopeFields } from './scope.ts';

export type Log = Logger;

/** `json`: one object a line, for programs; `pretty`: for eyes. */
export type LogFormat = 'json' | 'pretty';

// Belt and braces: secrets are Secret<T> and never logged; should one slip into a field of these names, it is cut.
const REDACT = ['token', 'secret', 'identity', 'share', 'shares', 'password', 'key', 'authorization'].flatMap(
  (name) => [name, `*.${name}`],
);

/**
 * `level` as pino's; `destination` defaults to standard error, written synchronously so that the last line survives. Each
 * line has the fields of the run that it is written in, unless it says otherwise itself.
 */
export function createLog(level: string, destination?: DestinationStream, format: LogFormat = 'json'): Log {
  const out = destination ?? pino.destination({ dest: 2, sync: true });
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: REDACT, censor: '***' },
      mixin: scopeFields,
    },
    format === 'json' ? out : prettyStream(out),
  );
}

/** The log that a config asks for, on standard error. */
export function openLog({ level, format }: { level: string; format: LogFormat }): Log {
  return createLog(level, undefined, format);
}

/** What comes in is the JSON line as it would be written: what was cut from it is not there either. */
function prettyStream(out: DestinationStream): DestinationStream {
  const isTerminal = process.stderr.isTTY;
  const style = { isTerminal, hasColour: isTerminal && process.stderr.hasColors() };
  return { write: (line) => out.write(prettyLine(line, style)) };
}

/** For library code whose caller wants no log. */
export const silentLog: Log = pino({ level: 'silent' });
