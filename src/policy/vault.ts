/** What a login of the cluster must be allowed: each path that the code calls with a token, and nothing else. */
import type { ClusterConfig } from '../config/cluster-config.ts';
import type { Made } from './document.ts';
import type { VaultRole } from './roles.ts';

/** `why` is what fails, or what is no longer known, without it. */
export type VaultRight = { path: string; capabilities: readonly ('read' | 'update')[]; why: string };

type PolicyCluster = Pick<ClusterConfig, 'name' | 'auth' | 'namespace'>;

/** In the order in which a run needs them. sys/health, seal-status, leader and the login itself are asked without a token. */
export function vaultRights(role: VaultRole, { auth }: Pick<PolicyCluster, 'auth'>): VaultRight[] {
  const isRestore = role === 'restore';
  return [
    {
      path: 'sys/storage/raft/configuration',
      capabilities: ['read'],
      why: 'the members, for quorum and inventory; also the read that proves a node to serve',
    },
    ...(isRestore
      ? [
          {
            path: 'sys/config/state/sanitized',
            capabilities: ['read'],
            why: 'http_read_timeout, within which the upload must end; without it the default of 30 s is assumed',
          } as const,
          {
            path: 'sys/storage/raft/snapshot',
            capabilities: ['read', 'update'],
            why: 'read: what the target holds, before and after; update: the install in the same cluster',
          } as const,
          {
            path: 'sys/storage/raft/snapshot-force',
            capabilities: ['update'],
            why: 'the install in another cluster, and with --force',
          } as const,
          {
            path: 'sys/mounts',
            capabilities: ['read'],
            why: 'the mount table, compared on every node; without it a node is only asked whether it answers',
          } as const,
        ]
      : [
          {
            path: 'sys/storage/raft/snapshot',
            capabilities: ['read'],
            why: 'the snapshot: the whole, encrypted, database',
          } as const,
        ]),
    {
      path: 'auth/token/lookup-self',
      capabilities: ['read'],
      why:
        auth.method === 'token'
          ? 'how long the token lives; without it the token is not renewed'
          : 'a token that has expired is told from one that may not; without it a refusal costs a second login',
    },
    {
      path: 'auth/token/renew-self',
      capabilities: ['update'],
      why: 'a run that takes longer than half of the life of its token',
    },
    // A configured token is left alone: it belongs to whoever made it.
    ...(auth.method === 'token'
      ? []
      : [
          {
            path: 'auth/token/revoke-self',
            capabilities: ['update'],
            why: 'the token ends with the run; without it it lives on until it expires',
          } as const,
        ]),
  ];
}

/** The ACL policy in HCL, for `bao policy write` or `vault policy write`; a reason over each path. */
export function vaultPolicy(role: VaultRole, cluster: PolicyCluster): Made<string> {
  const head = [
    `# strongroom ${role}, cluster ${cluster.name}: every path it calls with a token, and no other.`,
    ...(role === 'restore'
      ? ['# Whoever holds this can replace the whole database: give it to another login than the backups have.']
      : []),
  ];
  const paths = vaultRights(role, cluster).map(
    ({ path, capabilities, why }) =>
      `# ${why}\npath "${path}" {\n  capabilities = [${capabilities.map((c) => `"${c}"`).join(', ')}]\n}`,
  );
  const cautions =
    cluster.namespace === undefined
      ? []
      : [
          `the login of ${cluster.name} is in namespace ${cluster.namespace}: sys/storage/raft/* belongs to the root namespace, so the token needs this policy there`,
        ];
  return { document: `${[head.join('\n'), ...paths].join('\n\n')}\n`, cautions };
}
