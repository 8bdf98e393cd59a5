/** What an error of Redis, ioredis or a socket means. The only place that reads their words. */
import { isError, StrongroomError } from '../core/errors.ts';
import { type HandshakeFault, handshakeFault, namesInCertificate } from '../core/handshake.ts';

type Meaning = {
  code: 'E_QUEUE_UNREACHABLE' | 'E_QUEUE_DENIED' | 'E_QUEUE_CONFIG';
  message: (where: string) => string;
  hint: string;
};

/** ioredis puts the words of Redis into sentences of its own, so they are looked for anywhere. First match counts. */
const BY_WORDS: readonly [RegExp, Meaning][] = [
  [
    /sentinel.*\b(?:WRONGPASS|NOAUTH|NOPERM)\b/s,
    {
      code: 'E_QUEUE_DENIED',
      message: (where) => `the sentinels refuse us: ${where}`,
      hint: 'set `queue.sentinelPassword` to what `requirepass` says in sentinel.conf',
    },
  ],
  [
    /\bNOAUTH\b/,
    {
      code: 'E_QUEUE_DENIED',
      message: (where) => `${where} wants a password, and none is configured`,
      hint: 'set `queue.password`, and `queue.username` for an ACL user',
    },
  ],
  [
    /\bWRONGPASS\b|invalid password|\bAUTH failed\b/i,
    {
      code: 'E_QUEUE_DENIED',
      message: (where) => `${where} refuses the user or the password`,
      hint: 'compare `queue.username` and `queue.password` with what the administrator sees in: ACL LIST',
    },
  ],
  [
    /\bNOPERM\b|[Nn]o permissions? to access/,
    {
      code: 'E_QUEUE_DENIED',
      message: (where) => `the user may not do this at ${where}`,
      hint: 'the user of the queue needs: ~<prefix>:* (in a cluster ~{<prefix>}:*) +@all -@admin -@dangerous +info',
    },
  ],
  [
    /No such master/,
    {
      code: 'E_QUEUE_CONFIG',
      message: (where) => `the sentinels know no such name: ${where}`,
      hint: 'write into `queue.name` what stands in sentinel.conf: sentinel monitor <name> …',
    },
  ],
  [
    /DB index is out of range/,
    {
      code: 'E_QUEUE_CONFIG',
      message: (where) => `${where} has no database of that number`,
      hint: 'lower `queue.db`, or raise `databases` in redis.conf',
    },
  ],
  [
    /cluster support disabled|unknown command.{0,3}cluster/i,
    {
      code: 'E_QUEUE_CONFIG',
      message: (where) => `no CLUSTER commands are answered: ${where}`,
      hint: 'write `queue.url` instead of `queue.cluster`; so also for an endpoint of Redis Enterprise',
    },
  ],
  [
    /^(?:MOVED|ASK) \d|\bCROSSSLOT\b|SELECT is not allowed in cluster mode/m,
    {
      code: 'E_QUEUE_CONFIG',
      message: (where) => `${where} is a node of a Redis Cluster`,
      hint: 'write `queue.cluster: [host:port]` instead of `queue.url`',
    },
  ],
  [
    /\bOOM\b/,
    {
      code: 'E_QUEUE_UNREACHABLE',
      message: (where) => `no room in ${where}`,
      hint: 'raise maxmemory of Redis, or delete what else is in it; the jobs themselves are small',
    },
  ],
  [
    /\bREADONLY\b/,
    {
      code: 'E_QUEUE_UNREACHABLE',
      message: (where) => `${where} is a read-only replica`,
      hint: 'a failover may be in progress; if it stays so, point `queue` at the primary, or write `queue.sentinels`',
    },
  ],
  [
    /\bMISCONF\b|\bNOREPLICAS\b/,
    {
      code: 'E_QUEUE_UNREACHABLE',
      message: (where) => `no writes are taken by ${where}`,
      hint: 'it cannot save to its disk, or misses its replicas: look at its log',
    },
  ],
  [
    /\bLOADING\b|\bMASTERDOWN\b|\bCLUSTERDOWN\b|\bTRYAGAIN\b|Too many Cluster redirections/,
    {
      code: 'E_QUEUE_UNREACHABLE',
      message: (where) => `not ready: ${where}`,
      hint: 'it loads its data, or a failover is in progress; if it stays so, look at its log',
    },
  ],
];

const BY_SOCKET: Readonly<Record<string, readonly [says: string, hint: string]>> = {
  ECONNREFUSED: ['nothing listens at', 'does Redis run? does the port fit?'],
  EHOSTUNREACH: ['there is no route to', 'check network policies, firewalls and the address'],
  ENETUNREACH: ['there is no route to', 'check network policies, firewalls and the address'],
  ENOTFOUND: ['there is no such host name for', 'check the spelling, and DNS from this machine'],
  EAI_AGAIN: ['DNS does not answer for', 'check DNS from this machine'],
  ETIMEDOUT: ['no connection within the time-out to', 'check network policies, firewalls and the address'],
  ECONNRESET: ['the connection was lost to', 'look at the log of Redis; a TLS port wants rediss:// or a tls block'],
  EPIPE: ['the connection was lost to', 'look at the log of Redis; a TLS port wants rediss:// or a tls block'],
};

const ON_HANDSHAKE: Readonly<Record<HandshakeFault, readonly [says: string, hint: string]>> = {
  untrusted: [
    'its certificate is not signed by a CA that is trusted here',
    'the wrong CA: set `queue.tls.ca` to the PEM of the CA that signed it',
  ],
  expired: ['its certificate has expired', 'renew it at the server'],
  'not-yet-valid': ['its certificate is not valid yet', 'compare the clock of this machine with that of the server'],
  'other-name': [
    'its certificate is for another name',
    'ask it by a name of its certificate, or set `queue.tls.serverName`',
  ],
  'plain-text': ['it does not speak TLS', 'write redis:// (or leave out the tls block), or another port'],
  'old-protocol': ['it speaks no version of TLS that is safe', 'set tls-protocols of Redis to TLSv1.2 or TLSv1.3'],
  'client-certificate': [
    'it refuses our side',
    'it wants a client certificate: set `queue.tls.cert` and `queue.tls.key`',
  ],
  other: ['no agreement', 'run: openssl s_client -connect <host:port> -servername <name>'],
};

/**
 * The E_QUEUE_… for whatever a Redis client threw or told; errors of ours pass. `where` is from `nameOf`. What is not
 * known counts as unreachable: trying again does no harm there.
 */
export function redisError(e: unknown, where: string): StrongroomError {
  if (isError(e)) return e;
  const chain = chainOf(e);
  const words = chain.map(({ message }) => message).join('\n');
  const known = BY_WORDS.find(([pattern]) => pattern.test(words))?.[1];
  if (known !== undefined) {
    const asked = /run the '([^']{1,40})' command|'([^']{1,40})' command/.exec(words);
    const command = asked?.[1] ?? asked?.[2];
    return new StrongroomError(known.code, known.message(where), {
      hint: known.hint,
      cause: e,
      ...(command === undefined ? {} : { details: { command } }),
    });
  }
  for (const link of chain) {
    const code = 'code' in link && typeof link.code === 'string' ? link.code : '';
    const fault = handshakeFault(code, link.message);
    if (fault !== null) return handshakeError(fault, code, link, where);
    const socket = BY_SOCKET[code];
    if (socket !== undefined) {
      return new StrongroomError('E_QUEUE_UNREACHABLE', `${socket[0]} ${where}`, { hint: socket[1], cause: e });
    }
  }
  if (/timed out|Socket timeout/i.test(words)) return silent(where, e);
  return new StrongroomError('E_QUEUE_UNREACHABLE', `no connection to ${where}`, {
    hint: 'does Redis run? look at its log; a TLS port wants rediss:// or a tls block',
    cause: e,
  });
}

/** Connected, and no answer in time. */
export function silent(where: string, cause?: unknown): StrongroomError {
  return new StrongroomError('E_QUEUE_UNREACHABLE', `no answer in time from ${where}`, {
    hint: 'it hangs or is cut off: look at its log, CPU and disk',
    cause,
  });
}

/** True for failures that no waiting mends: somebody has to change a config, a password or a certificate. */
export function needsAHand(e: StrongroomError): boolean {
  return e.code !== 'E_QUEUE_UNREACHABLE';
}

function handshakeError(fault: HandshakeFault, code: string, e: Error, where: string): StrongroomError {
  const [says, hint] = ON_HANDSHAKE[fault];
  const names = fault === 'other-name' ? namesInCertificate(e) : null;
  return new StrongroomError('E_QUEUE_TLS', `the TLS handshake with ${where} fails: ${says}`, {
    hint: names === null ? hint : `${hint}: ${names}`,
    details: { tls: code },
    cause: e,
  });
}

/** `e`, and what ioredis hides in it: the last node's error of a cluster, the first of a transaction, causes. */
function chainOf(e: unknown): Error[] {
  const chain: Error[] = [];
  const add = (value: unknown): void => {
    if (!(value instanceof Error) || chain.includes(value) || chain.length >= 8) return;
    chain.push(value);
    if ('lastNodeError' in value) add(value.lastNodeError);
    if ('previousErrors' in value && Array.isArray(value.previousErrors)) value.previousErrors.forEach(add);
    if (value instanceof AggregateError) value.errors.forEach(add);
    add(value.cause);
  };
  add(e);
  return chain;
}
