/** For how long something that was asked for is worth doing. */
import type { FastifyRequest } from 'fastify';

/** An act goes on when the browser has gone: so long and no longer, in milliseconds. */
const ACT_MS = 30_000;

/** Aborts when nobody waits for the page any more. For a form that is no sign: its request is over once it was read. */
export function signalOf({ method, signal }: FastifyRequest): AbortSignal {
  return method === 'GET' || method === 'HEAD' ? signal : AbortSignal.timeout(ACT_MS);
}
