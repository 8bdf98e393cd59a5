/** The cluster that is backed up: its nodes, its login, its members. Its snapshot is never asked for. */
import { compareMembers } from '../catalogue/members.ts';
import type { ClusterConfig } from '../config/cluster-config.ts';
import { isError } from '../core/errors.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import type { ClusterView, VaultCluster } from '../vault/cluster.ts';
import { type Outcome, ok, problem, unknown, warning } from './finding.ts';
import { certificateOutcomes, nodeOutcomes } from './node-checks.ts';
import { attempt, type Check } from './run-checks.ts';
import { lifeOf, rightsOf } from './token-checks.ts';

/** A survey, a login, and half a dozen questions, each with its own limit. */
const LIMIT_MS = 90_000;

/** `open` gives the cluster; whoever gave it closes it. */
export function vaultChecks(
  clusters: readonly ClusterConfig[],
  open: (cluster: ClusterConfig, signal: AbortSignal) => Promise<VaultCluster>,
  now: Date,
): Check[] {
  return clusters.map((cluster) => ({
    area: 'vault',
    what: `cluster ${cluster.name}`,
    limitMs: LIMIT_MS,
    run: async (signal) => {
      const outcomes = await tryCluster(await open(cluster, signal), cluster, now, signal);
      return clusters.length === 1
        ? outcomes
        : outcomes.map((one) => ({ ...one, what: `${cluster.name}, ${one.what}` }));
    },
  }));
}

async function tryCluster(
  vault: VaultCluster,
  cluster: ClusterConfig,
  now: Date,
  signal: AbortSignal,
): Promise<Outcome[]> {
  let view: ClusterView | null = null;
  let active: ActiveNode | null = null;
  const nodes = await attempt('nodes', signal, async (limited) => {
    view = await vault.survey(limited);
    return [...nodeOutcomes(view), ...(await certificateOutcomes(view.nodes, cluster, now))];
  });
  const serving = ((view as ClusterView | null)?.nodes ?? []).filter(
    ({ state }) => state === 'active' || state === 'standby',
  );
  const name = `login to ${cluster.name}`;
  if (serving.length === 0) {
    return [
      ...nodes,
      unknown(
        name,
        'no node serves, so neither login nor rights were tried',
        'first correct what is said of the nodes',
      ),
    ];
  }
  const login = await attempt(name, signal, async (limited) => {
    active = await vault.active(limited);
    return ok(name, `${cluster.auth.method}; ${active.url} is active and answers`);
  });
  const found = active as ActiveNode | null;
  if (found === null) return [...nodes, ...login];
  return [
    ...nodes,
    ...login,
    ...(await attempt('policy', signal, (limited) => rightsOf(found, cluster, limited))),
    ...(await attempt('token life', signal, (limited) => lifeOf(found, cluster, limited))),
    ...(await attempt('members', signal, (limited) => membersOf(found, cluster, limited))),
    ...(await attempt('autopilot', signal, (limited) => autopilotOf(found, limited))),
    unknown(
      `snapshot of ${cluster.name}`,
      'not asked for: it is the whole database; the right to it is told above',
      `strongroom backup --cluster ${cluster.name}`,
    ),
  ];
}

async function membersOf(active: ActiveNode, cluster: ClusterConfig, signal: AbortSignal): Promise<Outcome[]> {
  try {
    const members = await active.raftConfiguration(signal);
    const servers = members.map(({ node_id: id, address }) => ({ id, address }));
    const strange = compareMembers(servers, cluster.members, null);
    const fix = `correct clusters.${cluster.name}.members, or remove the stranger: bao operator raft remove-peer <id>`;
    if (strange.length > 0) return strange.map((line) => problem('members', line, fix));
    const names = servers.map(({ id, address }) => `${id} at ${address}`).join(', ');
    if (cluster.members.length > 0) return [ok('members', `as in the inventory: ${names}`)];
    return [
      warning('members', `no inventory to compare with: ${names}`, `write them into clusters.${cluster.name}.members`),
    ];
  } catch (e) {
    if (!isError(e, 'E_VAULT_DENIED')) throw e;
    return [unknown('members', 'the token may not read them', e.hint ?? null)];
  }
}

async function autopilotOf(active: ActiveNode, signal: AbortSignal): Promise<Outcome> {
  try {
    const state = await active.autopilotState(signal);
    if (state === null) return unknown('autopilot', 'it is off, or the active node is too young to tell');
    if (state.healthy) return ok('autopilot', `healthy; ${state.failure_tolerance} node(s) may fail`);
    const ill = Object.values(state.servers ?? {}).filter(({ healthy }) => !healthy);
    const names = ill.map(({ id, status }) => `${id} (${status})`).join(', ');
    return problem(
      'autopilot',
      `not healthy: ${names === '' ? 'it does not say who' : names}`,
      'bao operator raft autopilot state',
    );
  } catch (e) {
    if (!isError(e, 'E_VAULT_DENIED')) throw e;
    return unknown(
      'autopilot',
      'the token may not ask, and a backup need not',
      'path "sys/storage/raft/autopilot/state" { capabilities = ["read"] }',
    );
  }
}
