/** Connections of ours to servers of the tests. */
import { openRedis, type RedisConnection, type RedisState } from '../../src/queue/redis.ts';
import type { RedisRole } from '../../src/queue/redis-client.ts';
import type { RedisOptions } from '../../src/queue/redis-options.ts';
import type { RedisServer } from './redis-server.ts';

export const BASE = { prefix: 'strongroom', db: 0 } as const;

/** The options for one server without login, and what else is given. */
export function single(server: RedisServer, more: Partial<RedisOptions> = {}): RedisOptions {
  return { at: { type: 'single', address: server.address }, ...BASE, ...more };
}

/** The caller disposes the connection; `states` fills with what it tells. */
export function open(
  options: RedisOptions,
  role: RedisRole = 'producer',
): { states: RedisState[]; connection: RedisConnection } {
  const states: RedisState[] = [];
  return { states, connection: openRedis(options, { role, onState: (state) => states.push(state) }) };
}
