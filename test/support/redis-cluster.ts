/** A Redis Cluster of three primaries that share the 16,384 slots. */
import { freePort } from './process.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import type { RedisTls } from './redis-tls.ts';
import { until } from './until.ts';

const SLOT_RANGES = [
  [0, 5460],
  [5461, 10922],
  [10923, 16383],
] as const;

export type ClusterOptions = {
  password?: string;
  tls?: RedisTls;
  evictionPolicy?: string;
};

export type RedisCluster = AsyncDisposable & {
  /** host:port of each node */
  addresses: string[];
  nodes: readonly RedisServer[];
  /** the node that has the slot of `key` */
  ownerOf: (key: string) => Promise<RedisServer>;
};

/** Resolves when every node says that the cluster is ok and knows the other two. */
export async function startRedisCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  await using stack = new AsyncDisposableStack();
  const nodes: RedisServer[] = [];
  const buses: number[] = [];
  for (const _ of SLOT_RANGES) {
    const bus = await freePort();
    buses.push(bus);
    const config = (port: number): string[] => [
      'cluster-enabled yes',
      `cluster-port ${bus}`,
      `cluster-announce-port ${port}`,
      'cluster-node-timeout 2000',
    ];
    nodes.push(stack.use(await startRedis({ ...options, config })));
  }
  for (const [index, node] of nodes.entries()) {
    const [first, last] = SLOT_RANGES[index] ?? [0, 0];
    await node.command('cluster', 'addslotsrange', first, last);
    await node.command('cluster', 'set-config-epoch', index + 1);
  }
  const [first] = nodes;
  for (const [index, node] of nodes.entries()) {
    if (node !== first) await first?.command('cluster', 'meet', '127.0.0.1', node.port, buses[index] ?? 0);
  }
  for (const node of nodes) {
    await until(`node ${node.address} sees the whole cluster`, async () => {
      const said = String(await node.command('cluster', 'info'));
      return said.includes('cluster_state:ok') && said.includes(`cluster_known_nodes:${nodes.length}`)
        ? true
        : undefined;
    });
  }
  const owned = stack.move();
  return {
    nodes,
    addresses: nodes.map(({ address }) => address),
    ownerOf: async (key) => {
      const slot = Number(await first?.command('cluster', 'keyslot', key));
      const owner = nodes[SLOT_RANGES.findIndex(([low, high]) => slot >= low && slot <= high)];
      if (owner === undefined) throw new Error(`nobody has slot ${slot}`);
      return owner;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
