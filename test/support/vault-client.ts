/** Our own client on the servers of the harness. */
import { silentLog } from '../../src/core/log.ts';
import { Secret } from '../../src/core/secret.ts';
import { NodeClient } from '../../src/vault/client.ts';
import { type ClusterOptions, VaultCluster } from '../../src/vault/cluster.ts';
import type { TlsOptions } from '../../src/vault/tls.ts';
import { NodeTransport } from '../../src/vault/transport.ts';
import type { BaoCluster } from './bao-cluster.ts';

export const never: AbortSignal = new AbortController().signal;

/** A cluster seen through all of its nodes with its root token, unless told otherwise. The caller disposes it. */
export function vaultCluster(bao: BaoCluster, change: Partial<ClusterOptions> = {}): VaultCluster {
  return new VaultCluster({
    name: 'test',
    nodes: bao.nodes.map(({ url }) => url),
    auth: change.auth ?? { method: 'token', token: new Secret(bao.rootToken) },
    log: silentLog,
    timeouts: { probeMs: 3_000 },
    ...(bao.caPem === undefined ? {} : { tls: { ca: bao.caPem } }),
    ...change,
  });
}

/** One node without a cluster around it. The caller disposes its transport. */
export function nodeClient(url: string, tls?: TlsOptions): NodeClient {
  return new NodeClient(new NodeTransport({ url, log: silentLog, ...(tls === undefined ? {} : { tls }) }));
}

/** A token of that policy, made with the root token. */
export async function tokenWith(bao: BaoCluster, name: string, policy: string, more: object = {}): Promise<Secret> {
  await bao.call('PUT', `sys/policies/acl/${name}`, { policy });
  const answer = await bao.call('POST', 'auth/token/create', { policies: [name], ...more });
  const { auth } = answer.json as { auth: { client_token: string } };
  return new Secret(auth.client_token);
}
