/** A primary, a replica of it, and three sentinels that watch both. */
import { type RedisServer, startRedis } from './redis-server.ts';
import type { RedisTls } from './redis-tls.ts';
import { until } from './until.ts';

/** What the sentinels call the primary. */
export const PRIMARY_NAME = 'strongroom-test';

const DOWN_AFTER_MS = 1_000;

export type SentinelOptions = {
  /** of the default user of primary and replica */
  password?: string;
  /** of the sentinels themselves */
  sentinelPassword?: string;
  /** TLS for clients, at all five */
  tls?: RedisTls;
};

export type RedisSentinels = AsyncDisposable & {
  /** host:port of each sentinel */
  addresses: string[];
  sentinels: readonly RedisServer[];
  /** the one that the first sentinel calls the primary now */
  primary: () => Promise<RedisServer>;
  /** Kills the primary; resolves when the other one has become it. Rejects when that takes more than 30 s. */
  failover: () => Promise<RedisServer>;
};

/** Resolves when every sentinel knows the replica and the other sentinels: only then a failover can succeed. */
export async function startRedisSentinels(options: SentinelOptions = {}): Promise<RedisSentinels> {
  await using stack = new AsyncDisposableStack();
  const common = {
    ...(options.password === undefined ? {} : { password: options.password }),
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    // A TLS front's port is what the sentinels are to tell clients.
    config: (port: number) => [`replica-announce-port ${port}`],
  };
  const primary = stack.use(await startRedis(common));
  const replica = stack.use(await startRedis(common));
  await replica.command('replicaof', '127.0.0.1', primary.port);
  const sentinels: RedisServer[] = [];
  for (let index = 0; index < 3; index += 1) {
    sentinels.push(stack.use(await startSentinel(primary, options)));
  }
  for (const sentinel of sentinels) {
    await until(`sentinel ${sentinel.address} knows all`, async () => {
      const { slaves, sentinels: known } = parseWatched(await sentinel.info('sentinel'));
      const isLinked = (await replica.info('replication')).get('master_link_status') === 'up';
      return isLinked && slaves === 1 && known === 3 ? true : undefined;
    });
  }
  const servers = [primary, replica];
  const current = async (): Promise<RedisServer> => {
    const [first] = sentinels;
    if (first === undefined) throw new Error('no sentinel');
    const answer = await first.command('sentinel', 'get-master-addr-by-name', PRIMARY_NAME);
    const port = Array.isArray(answer) ? Number(answer[1]) : Number.NaN;
    const found = servers.find((server) => server.port === port);
    if (found === undefined) throw new Error(`the sentinels name port ${port}, which is none of ours`);
    return found;
  };
  const owned = stack.move();
  return {
    sentinels,
    addresses: sentinels.map(({ address }) => address),
    primary: current,
    failover: async () => {
      const old = await current();
      await old.kill();
      return until('a new primary', async () => {
        const now = await current();
        return now !== old && (await now.info('replication')).get('role') === 'master' ? now : undefined;
      });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function startSentinel(primary: RedisServer, options: SentinelOptions): Promise<RedisServer> {
  const { password, sentinelPassword, tls } = options;
  return startRedis({
    isSentinel: true,
    ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }),
    ...(tls === undefined ? {} : { tls }),
    config: (port) => [
      `sentinel announce-port ${port}`,
      `sentinel monitor ${PRIMARY_NAME} 127.0.0.1 ${primary.port} 2`,
      `sentinel down-after-milliseconds ${PRIMARY_NAME} ${DOWN_AFTER_MS}`,
      `sentinel failover-timeout ${PRIMARY_NAME} 10000`,
      ...(password === undefined ? [] : [`sentinel auth-pass ${PRIMARY_NAME} ${password}`]),
      ...(sentinelPassword === undefined ? [] : [`sentinel sentinel-pass ${sentinelPassword}`]),
    ],
  });
}

/** `master0:name=…,status=ok,address=…,slaves=1,sentinels=3` */
function parseWatched(info: ReadonlyMap<string, string>): { slaves: number; sentinels: number } {
  const line = info.get('master0') ?? '';
  const number = (name: string): number => Number(new RegExp(`,${name}=(\\d+)`).exec(line)?.[1]);
  return { slaves: number('slaves'), sentinels: number('sentinels') };
}
