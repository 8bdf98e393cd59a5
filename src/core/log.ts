/** One logger: JSON lines on standard error. Standard output belongs to data. */
import { type DestinationStream, type Logger, pino } from 'pino';

export type Log = Logger;

// Belt and braces: secrets are Secret<T> and never logged; should one slip into a field of these names, it is cut.
const REDACT = ['token', 'secret', 'identity', 'share', 'shares', 'password', 'key', 'authorization'].flatMap(
  (name) => [name, `*.${name}`],
);

/** `level` as pino's; `destination` defaults to standard error, written synchronously so that the last line survives. */
export function createLog(level: string, destination?: DestinationStream): Log {
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths: REDACT, censor: '***' } },
    destination ?? pino.destination({ dest: 2, sync: true }),
  );
}

/** For library code whose caller wants no log. */
export const silentLog: Log = pino({ level: 'silent' });
