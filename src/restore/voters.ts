/** Every node of the restored cluster, asked by itself: does it serve what the active node serves? */
import { isError } from '../core/errors.ts';
import { ActiveNode } from '../vault/active-node.ts';
import type { NodeView } from '../vault/cluster.ts';
import type { RestartNeed, RestoreDeps } from './options.ts';
import { pause } from './settle.ts';

export type VoterProof = {
  node: string;
  state: NodeView['state'];
  raftIndex: number | null;
  /** the mount table as this node shows it, against that of the active node; null = the login may not read it */
  mountsAgree: boolean | null;
  /** an authenticated read was answered */
  reads: boolean;
  proven: boolean;
  /** why not, in one sentence; null when proven */
  problem: string | null;
};

type Answer = {
  proof: VoterProof;
  /** not proven, and asking again may show otherwise */
  mayHeal: boolean;
  /** it serves an older state than the active node */
  isBehind: boolean;
};

/** A standby replays what the active node has written, and reconnects to it: seconds. Vault says 307 and 474 meanwhile. */
const CATCH_UP_MS = 30_000;

/**
 * Seen on OpenBao 2.7.2, for a minute: a leader that loses its quorum during an install has the snapshot behind a gap in its
 * log. The next leader looks for a common entry one by one, in the end each ten seconds after the last one, and another
 * install changes nothing of it. With thousands of entries in the log that would be hours (computed, not waited for).
 */
const CANNOT_FOLLOW =
  'where its log says "failed to get log entry", it led when a quorum was lost and may not catch up for hours: ' +
  'remove it from the raft configuration (operator raft remove-peer), empty its storage, and let it join again';

/**
 * Asks every configured node that belongs to the cluster until all are proven or the time is over. A node in `notRestarted` is not proven, whatever it
 * answers. Rejects only on abort, or when the active node cannot be asked any more.
 */
export async function proveVoters(
  deps: RestoreDeps,
  active: ActiveNode,
  notRestarted: readonly RestartNeed[],
  signal: AbortSignal,
): Promise<VoterProof[]> {
  const deadline = performance.now() + CATCH_UP_MS;
  const mounts = await mountsOf(active, signal);
  const { raft_applied_index: index = null } = await active.client.leader(signal);
  for (;;) {
    const { nodes } = await deps.restored.survey(signal);
    // An empty node that waits to join is no part of the cluster yet.
    const members = nodes.filter(({ state }) => state !== 'uninitialised');
    const answers = await Promise.all(
      members.map(async (view): Promise<Answer> => {
        const answer = await proveNode(deps, view, { active, index, mounts }, signal);
        const need = notRestarted.find(({ url }) => url === view.url);
        if (need === undefined || answer.isBehind) return answer;
        const problem = `not seen to restart since the install: ${need.why}`;
        return { proof: { ...answer.proof, proven: false, problem }, mayHeal: false, isBehind: false };
      }),
    );
    if (!answers.some(({ mayHeal }) => mayHeal) || performance.now() >= deadline) {
      return answers.map(({ proof, isBehind }) =>
        isBehind ? { ...proof, problem: `${proof.problem ?? ''}; ${CANNOT_FOLLOW}` } : proof,
      );
    }
    const proofs = answers.map(({ proof }) => proof);
    deps.onProgress({ stage: 'voters', message: proofs.flatMap(({ problem }) => problem ?? []).join('; ') });
    await pause(signal);
  }
}

async function proveNode(
  deps: RestoreDeps,
  view: NodeView,
  expect: { active: ActiveNode; index: number | null; mounts: string | null },
  signal: AbortSignal,
): Promise<Answer> {
  const proof: VoterProof = {
    node: view.url,
    state: view.state,
    raftIndex: view.raftAppliedIndex,
    mountsAgree: null,
    reads: false,
    proven: false,
    problem: null,
  };
  const because = (problem: string): Answer => {
    const mayHeal = view.state !== 'sealed' && view.state !== 'unreachable';
    return { proof: { ...proof, problem }, mayHeal, isBehind: false };
  };
  if (view.state !== 'active' && view.state !== 'standby') return because(`it is ${view.state}`);
  const { clusterId } = expect.active.view;
  if (view.clusterId !== clusterId)
    return because(`its cluster id is ${view.clusterId ?? 'unknown'}, not ${clusterId}`);
  if (expect.index !== null && (view.raftAppliedIndex ?? 0) < expect.index) {
    const problem = `it has applied index ${view.raftAppliedIndex ?? 'unknown'} of ${expect.index}`;
    return { ...because(problem), isBehind: true };
  }
  const node = new ActiveNode(view, deps.restored.node(view.url), deps.restored.session);
  try {
    const mounts = await mountsOf(node, signal);
    if (mounts === null || expect.mounts === null) await node.lookupSelf(signal);
    else proof.mountsAgree = mounts === expect.mounts;
    proof.reads = true;
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return because(`a read through it fails: ${e.message}`);
  }
  if (proof.mountsAgree === false) return because('its mount table is not that of the active node');
  return { proof: { ...proof, proven: true }, mayHeal: false, isBehind: false };
}

/** Path, type and id of every mount, as one text to compare; null = not readable with this login. */
async function mountsOf(node: ActiveNode, signal: AbortSignal): Promise<string | null> {
  try {
    const mounts = await node.mounts(signal);
    const lines = Object.entries(mounts).map(([path, { type, uuid, accessor }]) =>
      [path, type, uuid, accessor].join(' '),
    );
    return lines.toSorted().join('\n');
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e, 'E_VAULT_DENIED')) throw e;
    return null;
  }
}
