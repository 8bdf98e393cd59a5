/** What a failed connection means. The only place that reads error codes of sockets, DNS, TLS and undici. */
import { isError, StrongroomError } from '../core/errors.ts';
import { tlsError } from './tls.ts';

/** Why a node gave no answer; in `details.reason` of E_VAULT_UNREACHABLE. `timeout` = connected, then silent. */
export type UnreachableReason = 'refused' | 'no-route' | 'name' | 'connect-timeout' | 'timeout' | 'reset';

const HANGS = 'the node hangs: a joining node does until it has joined; else look at its log, disk and CPU';
const NETWORK = 'check DNS, network policies, firewalls and the address';
const LOOK = 'look at the log of the node, and at those of proxies between';

const REASONS: Record<string, [UnreachableReason, string, string]> = {
  ECONNREFUSED: ['refused', 'nothing listens at', 'is the process of the node running? does the port fit?'],
  EHOSTUNREACH: ['no-route', 'there is no route to', NETWORK],
  ENETUNREACH: ['no-route', 'there is no route to', NETWORK],
  ENOTFOUND: ['name', 'there is no such host name for', 'check the spelling, and DNS from this machine'],
  EAI_AGAIN: ['name', 'DNS does not answer for', 'check DNS from this machine'],
  ETIMEDOUT: ['connect-timeout', 'no connection within the time-out to', NETWORK],
  UND_ERR_CONNECT_TIMEOUT: ['connect-timeout', 'no connection within the time-out to', NETWORK],
  UND_ERR_HEADERS_TIMEOUT: ['timeout', 'connected, but no answer within the time-out from', HANGS],
  UND_ERR_BODY_TIMEOUT: ['timeout', 'the answer stopped halfway from', HANGS],
  ECONNRESET: ['reset', 'the connection was lost to', LOOK],
  EPIPE: ['reset', 'the connection was lost to', LOOK],
  UND_ERR_SOCKET: ['reset', 'the connection was lost to', LOOK],
};

/** The code of `e` or of the first of its causes that has one; '' when none has. */
export function networkCode(e: unknown): string {
  let current = e;
  for (let depth = 0; current instanceof Error && depth < 5; depth += 1) {
    if ('code' in current && typeof current.code === 'string') return current.code;
    current = current instanceof AggregateError && current.errors.length > 0 ? current.errors[0] : current.cause;
  }
  return '';
}

/** True for failures that may come after part of the request went out. */
export function isConnectionLost(e: unknown): boolean {
  return REASONS[networkCode(e)]?.[0] === 'reset';
}

/** `node` does not answer within `ms`: it took the connection, perhaps, but is silent. */
export function silentNode(node: string, ms: number, cause?: unknown): StrongroomError {
  return new StrongroomError('E_VAULT_UNREACHABLE', `no answer within ${ms} ms from ${node}`, {
    hint: HANGS,
    details: { node, reason: 'timeout' satisfies UnreachableReason },
    cause,
  });
}

/** Within `ms` there was no connection to `node`: its packets are dropped, or its name is not resolved. */
export function unreachedNode(node: string, ms: number, cause?: unknown): StrongroomError {
  const isTls = node.startsWith('https:');
  return new StrongroomError('E_VAULT_UNREACHABLE', `no connection within ${ms} ms to ${node}`, {
    hint: isTls ? `${NETWORK}; a node that hangs leaves the TLS handshake unanswered, too` : NETWORK,
    details: { node, reason: 'connect-timeout' satisfies UnreachableReason },
    cause,
  });
}

/** One of E_VAULT_UNREACHABLE, E_VAULT_TLS, E_VAULT_RESPONSE for whatever a request threw; our own errors pass. */
export function networkError(e: unknown, node: string): StrongroomError {
  if (isError(e)) return e;
  const code = networkCode(e);
  const known = REASONS[code];
  if (known !== undefined) {
    const [reason, message, hint] = known;
    return new StrongroomError('E_VAULT_UNREACHABLE', `${message} ${node}`, {
      hint,
      details: { node, reason },
      cause: e,
    });
  }
  const tls = tlsError(code, node, e);
  if (tls !== null) return tls;
  // undici gives it a code only when the parser had one.
  if (code.startsWith('HPE_') || (e instanceof Error && e.name === 'HTTPParserError')) {
    return new StrongroomError('E_VAULT_RESPONSE', `${node} does not answer in HTTP`, {
      hint: node.startsWith('http:')
        ? 'is it a TLS listener? then write https://; is it the cluster port (8201)? then write the API port (8200)'
        : 'is it the cluster port (8201)? then write the API port (8200)',
      details: { node },
      cause: e,
    });
  }
  return new StrongroomError('E_VAULT_UNREACHABLE', `no answer from ${node}`, { details: { node }, cause: e });
}
