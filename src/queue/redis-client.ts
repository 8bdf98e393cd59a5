/** An ioredis client for one role, and every copy that BullMQ makes of it. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { Cluster, Redis } from 'ioredis';
import { StrongroomError } from '../core/errors.ts';
import { addressesOf, nameOf, parseAddress, type RedisOptions } from './redis-options.ts';

/**
 * `worker` waits for Redis as long as it takes, which BullMQ demands of a connection that blocks; `producer` is told
 * within seconds that Redis is away.
 */
export type RedisRole = 'worker' | 'producer';
export type RedisClient = Redis | Cluster;

const CONNECT_MS = 5_000;
const PRODUCER_ANSWER_MS = 5_000;
/** BullMQ blocks for at most 10 s; whoever is silent for longer is gone, though the socket may not know. */
const WORKER_ANSWER_MS = 20_000;
const KEEP_ALIVE_MS = 10_000;
const LONGEST_WAIT_MS = 5_000;
const FIRST_WAIT_MS = 100;
/** A replica that stays one would have us reconnect without end, since each connection succeeds. */
const READONLY_RECONNECT_MS = 1_000;

/**
 * A client that connects at once and comes back by itself, until `isOver` says true. Copies made by `duplicate` obey
 * the same, and are told to `onCopy`. The caller disconnects it, and listens to 'error'. Throws E_QUEUE_CONFIG for certificates that are none.
 */
export function createClient(
  options: RedisOptions,
  role: RedisRole,
  isOver: () => boolean,
  onCopy: (copy: RedisClient) => void = () => undefined,
): RedisClient {
  const tls = tlsOf(options);
  const again = (times: number): number | null => (isOver() ? null : backoffMs(times));
  const common = {
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password.reveal() }),
    ...(tls === undefined ? {} : { tls }),
    connectionName: `strongroom-${role}`,
    connectTimeout: CONNECT_MS,
    keepAlive: KEEP_ALIVE_MS,
    reconnectOnError: reconnectOnReadOnly(role),
    ...(role === 'worker'
      ? { maxRetriesPerRequest: null, socketTimeout: WORKER_ANSWER_MS }
      : { maxRetriesPerRequest: 1, socketTimeout: PRODUCER_ANSWER_MS, commandTimeout: PRODUCER_ANSWER_MS }),
  };
  const enableOfflineQueue = role === 'worker';
  const { at } = options;
  const addresses = addressesOf(at).map(parseAddress);
  if (at.type === 'cluster') {
    return quietCopies(
      new Cluster(addresses, {
        enableOfflineQueue,
        clusterRetryStrategy: again,
        slotsRefreshTimeout: CONNECT_MS,
        // Names stay names: certificates are for names, and DNS is asked anew at each connection.
        dnsLookup: (address, answer) => answer(null, address),
        redisOptions: common,
      }),
      onCopy,
    );
  }
  const single = { ...common, db: options.db, enableOfflineQueue, retryStrategy: again };
  if (at.type === 'single') return quietCopies(new Redis({ ...single, ...addresses[0] }), onCopy);
  return quietCopies(
    new Redis({
      ...single,
      sentinels: addresses,
      name: at.name,
      sentinelRetryStrategy: backoffMs,
      sentinelCommandTimeout: CONNECT_MS,
      ...(at.password === undefined ? {} : { sentinelPassword: at.password.reveal() }),
      ...(tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: tls }),
    }),
    onCopy,
  );
}

/** The wait before the `times`-th attempt, in milliseconds: doubles up to 5 s, less a random part of up to half. */
export function backoffMs(times: number): number {
  const full = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(times - 1, 10));
  return Math.round(full * (0.5 + Math.random() / 2));
}

/** What node:tls is given; undefined without TLS. Throws E_QUEUE_CONFIG when the PEMs cannot be used. */
export function tlsOf(options: RedisOptions): TlsConnect | undefined {
  if (options.tls === undefined) return undefined;
  const { ca, cert, key, serverName } = options.tls;
  const pems = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key: key.reveal() }),
  };
  try {
    createSecureContext(pems);
    // That one passes over a CA that it cannot read, and then trusts nobody.
    if (ca !== undefined) new X509Certificate(ca);
  } catch (e) {
    throw new StrongroomError('E_QUEUE_CONFIG', `the certificates for ${nameOf(options)} cannot be used`, {
      hint: '`queue.tls`: PEM texts are wanted, and `key` must be the key of `cert`',
      cause: e,
    });
  }
  return { ...pems, ...(serverName === undefined ? {} : { servername: serverName }) };
}

export type TlsConnect = { ca?: string; cert?: string; key?: string; servername?: string };

/** After a failover the old primary may be left as a replica: only a new connection finds the new primary. */
function reconnectOnReadOnly(role: RedisRole): (e: Error) => false | 1 | 2 {
  let last = Number.NEGATIVE_INFINITY;
  return ({ message }) => {
    const now = performance.now();
    if (!message.includes('READONLY') || now - last < READONLY_RECONNECT_MS) return false;
    last = now;
    return role === 'worker' ? 2 : 1; // 2 = send the command again; a producer has no queue to hold it
  };
}

/**
 * BullMQ takes its listeners off while the socket of a copy still closes; ioredis would print what comes then. Each copy is
 * told of: BullMQ leaves one behind that was about to connect again when it was closed.
 */
function quietCopies<T extends RedisClient>(client: T, onCopy: (copy: RedisClient) => void): T {
  const watched = <C extends RedisClient>(copy: C): C => {
    onCopy(copy);
    return quietCopies(copy.on('error', () => undefined) as C, onCopy);
  };
  if (client instanceof Cluster) {
    const duplicate = client.duplicate.bind(client);
    client.duplicate = (...args) => watched(duplicate(...args));
  } else {
    const duplicate = client.duplicate.bind(client);
    client.duplicate = (...args) => watched(duplicate(...args));
  }
  return client;
}
