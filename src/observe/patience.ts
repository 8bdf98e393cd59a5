/** A destination that is silent is away after a while: the status of a cluster is not worth a minute of waiting. */
import { type ErrorCode, StrongroomError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';

/** Time for one destination to answer, in milliseconds. Its own client would repeat a request for a minute. */
const ANSWER_MS = 20_000;

/** Rejects as `ask` does, and with E_STORE_UNREACHABLE for `location` after `ms`; with `signal.reason` on abort. */
export async function answered<T>(
  location: string,
  ask: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
  ms: number = ANSWER_MS,
): Promise<T> {
  const impatience = new AbortController();
  const timer = setTimeout(() => impatience.abort(), ms);
  try {
    return await ask(AbortSignal.any([signal, impatience.signal]));
  } catch (e) {
    signal.throwIfAborted();
    if (!impatience.signal.aborted) throw e;
    throw new StrongroomError('E_STORE_UNREACHABLE', `${location} does not answer within ${formatDuration(ms)}`, {
      hint: 'look at its address, and at the network to it',
      cause: e,
    });
  } finally {
    clearTimeout(timer);
  }
}

/** What a destination says of itself or its caller; everything else is said of what it holds. */
const AWAY: readonly ErrorCode[] = [
  'E_STORE_UNREACHABLE',
  'E_STORE_DENIED',
  'E_STORE_BUCKET',
  'E_STORE_THROTTLED',
  'E_STORE_SKEW',
  'E_STORE_RESPONSE',
];

/** Does this say that the destination could not be asked, rather than something about what it holds? */
export function meansAway({ code }: StrongroomError): boolean {
  return AWAY.includes(code);
}
