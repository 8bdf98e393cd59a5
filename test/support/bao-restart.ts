/** Restarting a restored cluster whose nodes all ran while the snapshot was installed. */
import type { BaoCluster } from './bao-cluster.ts';
import type { BaoNode } from './bao-node.ts';
import { sealStatus } from './bao-status.ts';
import { until } from './until.ts';

/**
 * What OpenBao needs after a restore into several running nodes: standbys keep the old mount table, and the node that was
 * active keeps raft's old TLS keys, so a restarted standby and it no longer understand each other. Standbys first, the
 * active node last; `shares` open a Shamir cluster again. Returns the active node when all others follow it.
 */
export async function restartAll(
  cluster: BaoCluster,
  shares: readonly string[],
  signal?: AbortSignal,
): Promise<BaoNode> {
  const active = await cluster.waitActive({ signal });
  for (const node of [...cluster.nodes.filter((candidate) => candidate !== active), active]) {
    await node.restart();
    if (shares.length > 0) await cluster.unsealAll(shares, { signal });
    const unsealed = async (): Promise<true | undefined> => ((await sealStatus(node)).sealed ? undefined : true);
    await until(`${node.id} is unsealed`, unsealed, { signal });
  }
  return await until(
    'one node is active and all others have what it has',
    async () => {
      const now = await cluster.active();
      if (now === undefined) return undefined;
      const indexes = await Promise.all(cluster.nodes.map(appliedIndex));
      return indexes.every((index) => index === indexes[0]) ? now : undefined;
    },
    { signal },
  );
}

async function appliedIndex(node: BaoNode): Promise<number> {
  const { json } = await node.call('GET', 'sys/leader', { timeoutMs: 2000 });
  const index = typeof json === 'object' && json !== null && 'raft_applied_index' in json ? json.raft_applied_index : 0;
  return typeof index === 'number' ? index : 0;
}
