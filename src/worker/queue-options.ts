/** The queue's Redis as the config says it, with every secret read. */
import type { QueueConfig } from '../config/queue.ts';
import type { RedisAt, RedisOptions, RedisTls } from '../queue/redis-options.ts';

const REDIS_PORT = '6379';

/** Rejects as the references do: E_CONFIG_INVALID for a variable or file that is not there. */
export async function readQueueOptions(queue: QueueConfig, signal: AbortSignal): Promise<RedisOptions> {
  const password = await queue.password?.resolve(signal);
  const tls = await readTls(queue, signal);
  return {
    at: await readAddress(queue, signal),
    ...(queue.username === undefined ? {} : { username: queue.username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
    prefix: queue.prefix,
    db: queue.db,
  };
}

async function readAddress(queue: QueueConfig, signal: AbortSignal): Promise<RedisAt> {
  const { sentinels, name = '', cluster } = queue;
  if (cluster !== undefined) return { type: 'cluster', nodes: cluster };
  if (sentinels !== undefined) {
    const password = await queue.sentinelPassword?.resolve(signal);
    return { type: 'sentinel', sentinels, name, ...(password === undefined ? {} : { password }) };
  }
  const { hostname, port } = new URL(queue.url ?? '');
  return { type: 'single', address: `${hostname}:${port || REDIS_PORT}` };
}

async function readTls({ url, tls }: QueueConfig, signal: AbortSignal): Promise<RedisTls | undefined> {
  if (tls === undefined) return url?.startsWith('rediss:') === true ? {} : undefined;
  const [ca, cert, key] = await Promise.all([
    tls.ca?.resolve(signal),
    tls.cert?.resolve(signal),
    tls.key?.resolve(signal),
  ]);
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
  };
}
