/** Errors as programs and people read them. */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { CODES, isError, StrongroomError } from '../core/errors.ts';

/** Where programs ask: they get problem JSON. Everywhere else a browser gets a page. */
const FOR_PROGRAMS = /^\/(?:api|events|metrics|healthz|readyz)(?:[/?]|$)/;

/** Is the answer for a browser? */
export function wantsPage({ url, headers }: FastifyRequest): boolean {
  return !FOR_PROGRAMS.test(url) && (headers.accept ?? '').includes('text/html');
}

/** `e` as one of ours, and whether it is our own trouble, which belongs into the log. */
export function nameError(e: FastifyError): { error: StrongroomError; isOurs: boolean } {
  // What fastify itself refuses, such as a broken request, has a status of its own.
  const isRefused = !isError(e) && e.statusCode !== undefined && e.statusCode < 500;
  const error = isError(e) ? e : new StrongroomError(isRefused ? 'E_USAGE' : 'E_BUG', e.message, { cause: e });
  return { error, isOurs: !isRefused && !['E_DENIED', 'E_FORBIDDEN', 'E_NOT_FOUND', 'E_USAGE'].includes(error.code) };
}

/** Sends it as problem JSON (RFC 9457). */
export async function sendProblem(reply: FastifyReply, error: StrongroomError): Promise<void> {
  const status = CODES[error.code].http;
  const { code, message, hint } = error;
  const document = { status, title: message, code, ...(hint === undefined ? {} : { hint }) };
  await reply.code(status).type('application/problem+json').send(document);
}
