/** What a browser is told about every page, and what a form must show before it does anything. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { StrongroomError } from '../core/errors.ts';
import type { Visitor } from './visitor.ts';

/** Nothing is loaded but from here, nothing written in a page is run, and no other page may show it in a frame. */
const POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  "script-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

export function setSecurityHeaders(reply: FastifyReply): void {
  reply
    .header('content-security-policy', POLICY)
    .header('x-content-type-options', 'nosniff')
    .header('x-frame-options', 'DENY')
    // With no-referrer a browser says "Origin: null" for our own forms too.
    .header('referrer-policy', 'same-origin')
    .header('cross-origin-opener-policy', 'same-origin')
    .header('cross-origin-resource-policy', 'same-origin')
    .header('permissions-policy', 'camera=(), geolocation=(), microphone=()');
}

/**
 * Throws E_FORBIDDEN for a form that was not sent by a page of ours. A token in the Authorization header is no form: no
 * browser adds it by itself. `csrf` is what the form carries; null = the form is that of the login, where nobody is known.
 */
export function checkOwnForm(
  request: FastifyRequest,
  visitor: Visitor | null,
  csrf: string | null,
  origin: string | null,
): void {
  if (visitor?.via === 'token') return;
  const from = request.headers.origin;
  const isOwn = from !== undefined && (origin === null ? hostOf(from) === request.headers.host : from === origin);
  const site = request.headers['sec-fetch-site'];
  if (!isOwn || (site !== undefined && site !== 'same-origin')) {
    throw new StrongroomError('E_FORBIDDEN', 'the form was not sent by a page of this server', {
      hint: 'open the page anew and send it from there; behind a proxy set serve.auth.origin to what people open',
    });
  }
  if (visitor !== null && csrf !== visitor.csrf) {
    throw new StrongroomError('E_FORBIDDEN', 'the form is too old, or of somebody else', {
      hint: 'open the page anew and send it from there',
    });
  }
}

function hostOf(origin: string): string | undefined {
  return URL.parse(origin)?.host;
}
