/** Which node to work with, judged by what all of them said. Pure. */
import { StrongroomError } from '../core/errors.ts';
import { noActiveNode } from './no-active.ts';
import { addressOrigin, type NodeView } from './node-view.ts';

export type ClusterView = {
  name: string;
  nodes: readonly NodeView[];
  /** sentences for people; each one deserves a look */
  warnings: readonly string[];
};

/** What deserves a look although work can go on. Pure. */
export function warningsOf(nodes: readonly NodeView[]): string[] {
  const warnings: string[] = [];
  const actives = nodes.filter((node) => node.isSelf);
  // A node's own idea of its address (a pod's IP, say) may differ from the one it is configured under.
  const ours = new Set([...nodes.map(({ url }) => url), ...actives.map((node) => addressOrigin(node.leaderAddress))]);
  for (const { url, leaderAddress } of nodes) {
    if (leaderAddress !== null && !ours.has(addressOrigin(leaderAddress))) {
      warnings.push(
        `${url} names ${leaderAddress} as the active node, which is not one of the configured nodes; it is never contacted`,
      );
    }
  }
  const ids = new Set(nodes.flatMap(({ clusterId }) => (clusterId === null ? [] : [clusterId])));
  if (ids.size > 1) warnings.push(`the nodes belong to ${ids.size} different clusters: ${[...ids].join(', ')}`);
  return warnings;
}

/** The one node to work with. Throws what stands against it, the most fundamental reason first. */
export function pickActive(view: ClusterView): NodeView {
  const foreign = view.nodes.find(
    ({ storageType, state }) => storageType !== null && storageType !== 'raft' && state !== 'uninitialised',
  );
  if (foreign !== undefined) {
    throw new StrongroomError('E_VAULT_NOT_RAFT', `the storage of ${foreign.url} is ${foreign.storageType}, not raft`, {
      hint: 'strongroom copies clusters on integrated (raft) storage only; look at the `storage` stanza of the server',
      details: { node: foreign.url, storage: foreign.storageType },
    });
  }
  const active = view.nodes.filter(({ state, isSelf }) => state === 'active' && isSelf);
  if (active.length > 1) {
    const names = active.map(({ url }) => url);
    throw new StrongroomError(
      'E_NO_ACTIVE_NODE',
      `no single node of ${view.name} is active: ${names.join(' and ')} both say they are`,
      {
        hint: 'a change of leader lasts seconds; if it stays so, two clusters with the same data are running: stop the wrong one before any work',
        details: { nodes: names, clusterIds: active.map(({ clusterId }) => clusterId) },
      },
    );
  }
  const [one] = active;
  if (one !== undefined) return one;
  throw noActiveNode(view.name, view.nodes);
}
