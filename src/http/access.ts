/** Who may see more than that the process lives. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Secret } from '../core/secret.ts';

/** The token that is asked for, read anew each time; null = everybody who can connect may see everything. */
export type TokenSource = (signal: AbortSignal) => Promise<Secret<string> | null>;

/** Does `request` carry the bearer token? Rejects when the token cannot be read: then nobody is let in. */
export async function mayRead(request: FastifyRequest, token: TokenSource): Promise<boolean> {
  const wanted = await token(request.signal);
  if (wanted === null) return true;
  const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  return given !== undefined && timingSafeEqual(digest(given), digest(wanted.reveal()));
}

/** Of one length, so that the comparison tells nothing of the token's. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
