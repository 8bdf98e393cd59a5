/** Which Redis, in whose name, and how it is trusted: with every secret and certificate already read. */
import type { Secret } from '../core/secret.ts';

export type RedisOptions = {
  at: RedisAt;
  /** ACL user; absent = the default user */
  username?: string;
  password?: Secret;
  /** TLS: absent = none. An empty object trusts the CAs of the system. */
  tls?: RedisTls;
  /** what every key begins with, as configured; see {@link keyPrefix} */
  prefix: string;
  /** number of the database; 0 in a cluster */
  db: number;
};

/** Addresses are host:port, IPv6 in brackets. */
export type RedisAt =
  | { type: 'single'; address: string }
  | { type: 'sentinel'; sentinels: readonly string[]; name: string; password?: Secret }
  | { type: 'cluster'; nodes: readonly string[] };

export type RedisTls = {
  /** PEM of the CA certificates that may sign; replaces the system's list */
  ca?: string;
  /** PEM of our client certificate */
  cert?: string;
  /** PEM of its private key */
  key?: Secret;
  /** the name to expect in the certificates when it is not the host asked */
  serverName?: string;
};

/** For messages: what is asked, without secrets. */
export function nameOf({ at, tls }: RedisOptions): string {
  if (at.type === 'single') return `${tls === undefined ? 'redis' : 'rediss'}://${at.address}`;
  if (at.type === 'sentinel') return `the primary ${at.name} of the sentinels ${at.sentinels.join(', ')}`;
  return `the Redis Cluster at ${at.nodes.join(', ')}`;
}

/** The addresses that are asked first. */
export function addressesOf(at: RedisAt): readonly string[] {
  if (at.type === 'single') return [at.address];
  return at.type === 'sentinel' ? at.sentinels : at.nodes;
}

/**
 * What BullMQ is given as prefix. In a cluster a hash tag: its scripts touch several keys of a queue at once, and all of
 * them must be on one node.
 */
export function keyPrefix({ at, prefix }: RedisOptions): string {
  return at.type === 'cluster' ? `{${prefix}}` : prefix;
}

/** `[::1]:6379` to `{ host: '::1', port: 6379 }`. */
export function parseAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}
