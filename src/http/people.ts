/** Who asks for a page: by a token, by the session that a token opened, or by what a trusted proxy says. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import type { Secret } from '../core/secret.ts';
import type { Clock } from '../core/units.ts';
import { signalOf } from './asked.ts';
import { newSessionId, type Seals } from './session.ts';
import type { Role, Visitor } from './visitor.ts';

/** How people are let in; tokens are read anew each time. Null: there is none of that kind. */
export type Doors = {
  token: ((signal: AbortSignal) => Promise<Secret<string>>) | null;
  operatorToken: ((signal: AbortSignal) => Promise<Secret<string>>) | null;
  proxy: {
    /** header that names the user */
    header: string;
    /** header with the user's groups, separated by commas; null = everybody is a viewer */
    groupsHeader: string | null;
    operatorGroup: string | null;
    /** addresses and subnets whose headers are believed */
    trusted: readonly string[];
  } | null;
  /** length of a session in milliseconds */
  sessionMs: number;
  /** as people open it, such as https://backup.example.com; null = as the request says */
  origin: string | null;
};

/**
 * `closed` = nobody is let in: others than this machine can connect, and nobody said how they show who they are.
 * `local` = everybody on this machine may look.
 */
export type Entry = Doors | 'closed' | 'local';

const MAX_NAME = 128;
const COOKIE = 'strongroom_session';

/** The visitor behind `request`, or null when it shows nothing that lets it in. Rejects when a token cannot be read. */
export async function identify(
  request: FastifyRequest,
  entry: Entry,
  { seals, clock }: { seals: Seals; clock: Clock },
): Promise<Visitor | null> {
  if (entry === 'closed') return null;
  if (entry === 'local') return isAskedAsLocal(request) ? visitor(seals, 'this machine', 'viewer', 'local') : null;
  const bearer = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (bearer !== undefined) {
    const role = await roleOf(bearer, entry, signalOf(request));
    return role === null ? null : visitor(seals, nameOf(request.headers['x-strongroom-user']), role, 'token');
  }
  return behindProxy(request, entry, seals) ?? (await inSession(request, entry, seals, clock));
}

/** What a token gives; null = it is none of ours. */
export async function roleOf(given: string, doors: Doors, signal: AbortSignal): Promise<Role | null> {
  const operator = await doors.operatorToken?.(signal);
  if (operator !== undefined && isSame(given, operator)) return 'operator';
  const viewer = await doors.token?.(signal);
  return viewer !== undefined && isSame(given, viewer) ? 'viewer' : null;
}

/** The Set-Cookie of a new session. */
export async function openSession(
  { name, role }: { name: string; role: Role },
  doors: Doors,
  seals: Seals,
  clock: Clock,
  signal: AbortSignal,
): Promise<string> {
  const token = await (role === 'operator' ? doors.operatorToken : doors.token)?.(signal);
  const tag = token === undefined ? '' : seals.tagOf(token);
  const until = clock.now().getTime() + doors.sessionMs;
  const value = seals.seal({ name: nameOf(name), role, id: newSessionId(), until, tag });
  return cookie(value, Math.floor(doors.sessionMs / 1000), doors);
}

/** The Set-Cookie that ends a session in the browser. */
export function closeSession(doors: Doors): string {
  return cookie('', 0, doors);
}

/** Ends the session of `request` here too: its cookie opens nothing any more, wherever a copy of it is. */
export function endSession(request: FastifyRequest, seals: Seals, clock: Clock): void {
  const given = cookiesOf(request.headers.cookie).get(COOKIE);
  const session = given === undefined ? null : seals.open(given, clock.now());
  if (session !== null) seals.end(session, clock.now());
}

function cookie(value: string, seconds: number, { origin }: Doors): string {
  // Over plain HTTP a browser would refuse a Secure cookie, except from localhost.
  const secure = origin?.startsWith('https:') === true ? '; Secure' : '';
  return `${COOKIE}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`;
}

async function inSession(request: FastifyRequest, doors: Doors, seals: Seals, clock: Clock): Promise<Visitor | null> {
  const given = cookiesOf(request.headers.cookie).get(COOKIE);
  const session = given === undefined ? null : seals.open(given, clock.now());
  if (session === null) return null;
  const token = await (session.role === 'operator' ? doors.operatorToken : doors.token)?.(signalOf(request));
  if (token === undefined || seals.tagOf(token) !== session.tag) return null;
  return visitor(seals, session.name, session.role, 'session', session.id);
}

function behindProxy(request: FastifyRequest, { proxy }: Doors, seals: Seals): Visitor | null {
  if (proxy === null || !isTrusted(request.socket.remoteAddress, proxy.trusted)) return null;
  const name = request.headers[proxy.header.toLowerCase()];
  // Sent twice, the header may be the visitor's own beside the proxy's: then nobody knows who it is.
  if (typeof name !== 'string' || name === '' || name.length > MAX_NAME || name.includes(',')) return null;
  const groups = proxy.groupsHeader === null ? undefined : request.headers[proxy.groupsHeader.toLowerCase()];
  const list = typeof groups === 'string' ? groups.split(',').map((group) => group.trim()) : [];
  const isOperator = proxy.operatorGroup !== null && list.includes(proxy.operatorGroup);
  return visitor(seals, name, isOperator ? 'operator' : 'viewer', 'proxy');
}

function visitor(seals: Seals, name: string, role: Role, via: Visitor['via'], id = ''): Visitor {
  const csrf = seals.formToken(JSON.stringify([via, role, name, id]));
  return { name, role, via, csrf };
}

/**
 * Addresses of this machine only, by the name that was asked for too: a page of somebody else's whose name was pointed at
 * 127.0.0.1 would otherwise read everything in the browser of whoever opened it.
 */
function isAskedAsLocal({ headers }: FastifyRequest): boolean {
  const host = URL.parse(`http://${headers.host ?? ''}`)?.hostname.replace(/^\[|\]$/g, '') ?? '';
  return host === 'localhost' || isTrusted(host, ['127.0.0.0/8', '::1']);
}

function isTrusted(address: string | undefined, trusted: readonly string[]): boolean {
  const plain = address?.replace(/^::ffff:(?=\d+\.)/i, '') ?? '';
  const version = isIP(plain);
  if (version === 0) return false;
  const list = new BlockList();
  for (const entry of trusted) {
    const [network = '', bits] = entry.split('/');
    const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(network, family);
    else list.addSubnet(network, Number(bits), family);
  }
  return list.check(plain, version === 6 ? 'ipv6' : 'ipv4');
}

function cookiesOf(header: string | undefined): Map<string, string> {
  const pairs = (header ?? '').split(';').map((pair) => pair.trim().split(/=(.*)/s));
  return new Map(pairs.map(([name = '', value = '']): [string, string] => [name, value]));
}

function nameOf(given: unknown): string {
  const name = typeof given === 'string' ? given.replace(/\p{C}/gu, '').trim().slice(0, MAX_NAME) : '';
  return name === '' ? 'unnamed' : name;
}

function isSame(given: string, wanted: Secret<string>): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted.reveal()));
}
