/** What one node says of itself, put together from three unauthenticated answers. No single one of them is believed. */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { NodeClient } from './client.ts';
import { networkError } from './network-errors.ts';
import { detectProduct, type Product } from './product.ts';
import type { Health, Leader, SealStatus } from './schemas.ts';
import { nodeOrigin } from './transport.ts';

/**
 * `hanging` = takes the connection but does not answer everything in time: a joining node does so until it has joined, and
 * so does one that is stuck. `unclear` = answers, but not in a way that names its state (`error` says how).
 */
export type NodeState =
  | 'active'
  | 'standby'
  | 'sealed'
  | 'uninitialised'
  | 'removed'
  | 'dr-secondary'
  | 'unreachable'
  | 'hanging'
  | 'unclear';

export type NodeView = {
  url: string;
  state: NodeState;
  /** why the state is unreachable, hanging or unclear */
  error: StrongroomError | null;
  healthStatus: number | null;
  product: Product;
  version: string | null;
  /** only unsealed nodes know it */
  clusterId: string | null;
  clusterName: string | null;
  storageType: string | null;
  sealType: string | null;
  /** for auto seals these three are about recovery keys */
  threshold: number | null;
  shares: number | null;
  progress: number | null;
  isSelf: boolean;
  /** what the node takes for the active node; a survivor goes on naming the dead one */
  leaderAddress: string | null;
  /** Vault standbys only: whether they reach the active node; null = does not say */
  leaderReachable: boolean | null;
  raftAppliedIndex: number | null;
  /** the node's clock minus ours, in ms, to the second: positive = the node is ahead */
  clockSkewMs: number | null;
};

export type Settled<T> = { value: T } | { error: StrongroomError };

export type NodeAnswers = {
  health: Settled<Health & { status: number }>;
  sealStatus: Settled<SealStatus>;
  leader: Settled<Leader>;
  /** our time halfway through the health request, in ms since 1970 */
  healthAt: number;
};

/** Asks one node everything at the same time, each question for at most `timeoutMs`. Rejects only on abort. */
export async function viewNode(client: NodeClient, timeoutMs: number, signal: AbortSignal): Promise<NodeView> {
  const asked = Date.now();
  let healthAt = asked;
  const [health, sealStatus, leader] = await Promise.all([
    settle(
      client.health(signal, timeoutMs).finally(() => {
        healthAt = (asked + Date.now()) / 2;
      }),
      client.url,
    ),
    settle(client.sealStatus(signal, timeoutMs), client.url),
    settle(client.leader(signal, timeoutMs), client.url),
  ]);
  signal.throwIfAborted();
  const view = describeNode(client.url, { health, sealStatus, leader, healthAt });
  if (view.product !== 'unknown' || view.state === 'unreachable' || view.state === 'hanging') return view;
  const backend = await settle(
    client.ask({ method: 'GET', path: 'sys/seal-backend-status', signal, timeoutMs }),
    client.url,
  );
  signal.throwIfAborted();
  return 'value' in backend ? { ...view, product: detectProduct(null, null, backend.value.status) } : view;
}

/** Pure: the three answers as one view. */
export function describeNode(url: string, answers: NodeAnswers): NodeView {
  const health = valueOf(answers.health);
  const seal = valueOf(answers.sealStatus);
  const leader = valueOf(answers.leader);
  const [state, error] = stateOf(answers);
  return {
    url,
    state,
    error,
    healthStatus: health?.status ?? null,
    product: detectProduct(seal, health),
    version: seal?.version ?? health?.version ?? null,
    clusterId: filled(seal?.cluster_id) ?? filled(health?.cluster_id),
    clusterName: filled(seal?.cluster_name) ?? filled(health?.cluster_name),
    storageType: filled(seal?.storage_type),
    sealType: filled(seal?.type),
    threshold: seal?.t ?? null,
    shares: seal?.n ?? null,
    progress: seal?.progress ?? null,
    isSelf: leader?.is_self ?? false,
    leaderAddress: filled(leader?.leader_address),
    leaderReachable: health?.status === 474 ? false : (health?.ha_connection_healthy ?? null),
    raftAppliedIndex: leader?.raft_applied_index ?? null,
    // The node cuts its time to whole seconds: half a second is the mean of what is lost.
    clockSkewMs: health === null ? null : Math.round(health.server_time_utc * 1000 + 500 - answers.healthAt),
  };
}

function stateOf(answers: NodeAnswers): [NodeState, StrongroomError | null] {
  const health = valueOf(answers.health);
  const seal = valueOf(answers.sealStatus);
  const leader = valueOf(answers.leader);
  const errors = [answers.health, answers.sealStatus, answers.leader].flatMap((a) => ('error' in a ? [a.error] : []));
  const silent = errors.find((e) => e.details['reason'] === 'timeout');
  if (health === null && seal === null) {
    const first = silent ?? errors[0] ?? null;
    if (silent !== undefined) return ['hanging', silent];
    return [isError(first, 'E_VAULT_UNREACHABLE') || isError(first, 'E_VAULT_TLS') ? 'unreachable' : 'unclear', first];
  }
  if (seal?.removed_from_cluster === true || health?.removed_from_cluster === true || health?.status === 530) {
    return ['removed', null];
  }
  if (seal?.initialized === false || health?.initialized === false) return ['uninitialised', null];
  if ((seal?.sealed ?? health?.sealed) === true) return ['sealed', null];
  if (health?.status === 472) return ['dr-secondary', null];
  // Health alone proves nothing: it says 200 while everything else waits for a lock.
  if (silent !== undefined) return ['hanging', silent];
  if (health === null || leader === null) return ['unclear', errors[0] ?? null];
  if (leader.is_self || !leader.ha_enabled) return health.status === 200 ? ['active', null] : ['standby', null];
  return ['standby', null];
}

async function settle<T>(promise: Promise<T>, node: string): Promise<Settled<T>> {
  try {
    return { value: await promise };
  } catch (e) {
    return { error: networkError(e, node) };
  }
}

function valueOf<T>(settled: Settled<T>): T | null {
  return 'value' in settled ? settled.value : null;
}

function filled(text: string | undefined): string | null {
  return text === undefined || text === '' ? null : text;
}

/** A leader address in the spelling of {@link NodeView.url}; what is no bare URL as it is, null as ''. */
export function addressOrigin(address: string | null): string {
  if (address === null) return '';
  try {
    return nodeOrigin(address);
  } catch {
    return address;
  }
}
