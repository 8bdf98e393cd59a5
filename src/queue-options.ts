/** The queue block of a config becomes the options of a connection: the part of the composition root about Redis. */
import type { Config } from './config/load.ts';
import { type QueueConfig, queueConfig } from './config/queue.ts';
import type { RedisAt, RedisOptions } from './queue/redis-options.ts';

/**
 * Reads the secrets and certificates, and connects to nothing. Rejects with E_CONFIG_INVALID when there is no queue, or
 * a reference cannot be read; with `signal.reason` on abort.
 */
export async function queueOptions(config: Config, signal: AbortSignal): Promise<RedisOptions> {
  const queue = queueConfig(config);
  const { tls } = queue;
  const [password, ca, cert, key] = await Promise.all([
    queue.password?.resolve(signal),
    tls?.ca?.resolve(signal),
    tls?.cert?.resolve(signal),
    tls?.key?.resolve(signal),
  ]);
  const isSecured = tls !== undefined || queue.url?.startsWith('rediss:') === true;
  return {
    at: await placeOf(queue, signal),
    ...(queue.username === undefined ? {} : { username: queue.username }),
    ...(password === undefined ? {} : { password }),
    ...(isSecured
      ? {
          tls: {
            ...(ca === undefined ? {} : { ca }),
            ...(cert === undefined ? {} : { cert }),
            ...(key === undefined ? {} : { key }),
            ...(tls?.serverName === undefined ? {} : { serverName: tls.serverName }),
          },
        }
      : {}),
    prefix: queue.prefix,
    db: queue.db,
  };
}

async function placeOf(queue: QueueConfig, signal: AbortSignal): Promise<RedisAt> {
  const { url, sentinels, name, cluster, sentinelPassword } = queue;
  if (url !== undefined) return { type: 'single', address: url.replace(/^rediss?:\/\//, '') };
  if (cluster !== undefined) return { type: 'cluster', nodes: cluster };
  const password = await sentinelPassword?.resolve(signal);
  return {
    type: 'sentinel',
    sentinels: sentinels ?? [],
    name: name ?? '',
    ...(password === undefined ? {} : { password }),
  };
}
