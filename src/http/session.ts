/**
 * Sessions of browsers: all that there is of them stands in the cookie, under a MAC; the server remembers only those that were
 * ended before their time. A restart of the server ends them all.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../core/secret.ts';
import type { Role } from './visitor.ts';

export type Session = {
  name: string;
  role: Role;
  /** distinguishes two sessions of one name */
  id: string;
  /** milliseconds since 1970 */
  until: number;
  /** of the token that it was opened with: a new token ends all sessions of the old one */
  tag: string;
};

const MAX_COOKIE = 2_000;

/** Keys of one process: nobody else makes its cookies and form tokens. */
export class Seals {
  readonly #key = randomBytes(32);
  /** ids of ended sessions, until they would have been over */
  readonly #ended = new Map<string, number>();

  /** What the cookie holds. */
  seal(session: Session): string {
    const body = Buffer.from(JSON.stringify(session)).toString('base64url');
    return `${body}.${this.#mac('session', body)}`;
  }

  /** The session in a cookie; null for one that was changed, made elsewhere, ended, or is over. */
  open(cookie: string, now: Date): Session | null {
    if (cookie.length > MAX_COOKIE) return null;
    const [body = '', mac = '', ...rest] = cookie.split('.');
    if (rest.length > 0 || !isSame(mac, this.#mac('session', body))) return null;
    // Under our own MAC stands nothing but what seal() wrote.
    const session = JSON.parse(Buffer.from(body, 'base64url').toString()) as Session;
    return session.until > now.getTime() && !this.#ended.has(session.id) ? session : null;
  }

  /** From now on the session opens nothing. */
  end({ id, until }: Session, now: Date): void {
    for (const [old, over] of this.#ended) if (over <= now.getTime()) this.#ended.delete(old);
    this.#ended.set(id, until);
  }

  /** What a form must carry to be one of `whose`. */
  formToken(whose: string): string {
    return this.#mac('form', whose);
  }

  /** A mark of a token that tells nothing of it. */
  tagOf(token: Secret<string>): string {
    return this.#mac('token', token.reveal());
  }

  #mac(use: string, text: string): string {
    return createHmac('sha256', this.#key).update(`${use}\0${text}`).digest('base64url');
  }
}

export function newSessionId(): string {
  return randomBytes(12).toString('base64url');
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.byteLength === right.byteLength && timingSafeEqual(left, right);
}
