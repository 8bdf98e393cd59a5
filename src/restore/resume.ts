/** What became of an install that an earlier run began: looked up, never assumed. */
import { isError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { ClusterView } from '../vault/cluster.ts';
import type { Handover } from './handover.ts';
import type { RestoreDeps } from './options.ts';
import { compareRestored, type RestoreProof } from './prove.ts';
import { describeNodes, isSource, pause, QUIET_MS } from './settle.ts';
import type { RestoreSource } from './source.ts';

/**
 * `locked`: no node serves; the data may be in place and waiting for shares or for a leader. `absent`: the target serves
 * something else, `notice` says what. `proven`: it serves the snapshot, compared record by record.
 */
export type Whereabouts =
  | { outcome: 'locked'; notice: string }
  | { outcome: 'absent'; notice: string }
  | { outcome: 'proven'; notice: string; proof: RestoreProof };

/** Changes nothing. Waits until an accepted archive would have taken effect. */
export async function whatBecameOf(
  deps: RestoreDeps,
  handover: Handover,
  source: RestoreSource,
  signal: AbortSignal,
): Promise<Whereabouts> {
  const sinceMs = deps.clock.now().getTime() - Date.parse(handover.at);
  const when = `run ${handover.run} handed this snapshot to ${handover.node} ${formatDuration(sinceMs)} ago`;
  deps.onProgress({ stage: 'look', message: `${when}: looking what became of it` });
  // A clock that was set back must not make anybody wait for long.
  if (sinceMs < QUIET_MS) await pause(signal, Math.min(QUIET_MS, QUIET_MS - sinceMs));
  const view = await deps.restored.survey(signal);
  const serving = view.nodes.find(({ state, isSelf }) => state === 'active' && isSelf);
  if (serving === undefined) return { outcome: 'locked', notice: `${when}: ${describeNodes(view)}` };
  const expected = { clusterId: source.manifest?.source.clusterId ?? null };
  if (!isSource(expected, serving.clusterId)) {
    return {
      outcome: 'absent',
      notice: `${when}, and it was not applied: ${serving.url} is still the cluster of before`,
    };
  }
  try {
    const proof = await compareRestored(deps, await deps.restored.active(signal), source, signal);
    if (proof.unexpectedCount === 0) return { outcome: 'proven', notice: when, proof };
    const shown = proof.unexpected.slice(0, 3).join(', ');
    return {
      outcome: 'absent',
      notice: `${when}: either it was not applied, or somebody has written since, for ${proof.unexpectedCount} records differ (${shown})`,
    };
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return { outcome: 'absent', notice: `${when}, and it does not serve it: ${e.message}` };
  }
}

/** Where no note tells: as much as the nodes themselves say. */
export function handoverUnknown(view: ClusterView, run: string, state: string, now: Date): Handover {
  const sealed = view.nodes.filter((node) => node.state === 'sealed');
  return {
    run,
    state,
    at: now.toISOString(),
    stage: 'sent',
    node: sealed[0]?.url ?? view.nodes[0]?.url ?? 'unknown',
    clusterIdBefore: null,
    force: true,
    sharesNeeded: Math.max(
      0,
      ...sealed.map(({ threshold, sealType }) => (sealType === 'shamir' ? (threshold ?? 0) : 0)),
    ),
    safety: null,
  };
}
