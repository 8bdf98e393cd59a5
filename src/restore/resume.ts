/** What became of an install that an earlier run began: looked up, never assumed. */
import { isError, StrongroomError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { ClusterView } from '../vault/cluster.ts';
import type { Handover } from './handover.ts';
import type { RestoreDeps } from './options.ts';
import { compareRestored, type RestoreProof } from './prove.ts';
import { credentialsOfSnapshot, describeNodes, type Expected, isSource, pause, QUIET_MS } from './settle.ts';
import type { RestoreSource } from './source.ts';

/**
 * `locked`: no node serves; the data may be in place and waiting for shares or for a leader. `absent`: the target serves
 * something else, `notice` says what. `proven`: it serves the snapshot, compared record by record.
 */
export type Whereabouts =
  | { outcome: 'locked'; notice: string }
  | { outcome: 'absent'; notice: string }
  | { outcome: 'proven'; notice: string; proof: RestoreProof };

/**
 * Changes nothing. Waits until an accepted archive would have taken effect. `lockedAt` (performance.now()) is when the run
 * that handed it over had certainly ended.
 *
 * Rejects where nobody can tell, such as without room for the comparison, or when it fails for `timeoutMs`: to take that
 * for `absent` would be a second install.
 */
export async function whatBecameOf(
  deps: RestoreDeps,
  handover: Handover,
  source: RestoreSource,
  { lockedAt, timeoutMs }: { lockedAt: number; timeoutMs: number },
  signal: AbortSignal,
): Promise<Whereabouts> {
  const sinceMs = deps.clock.now().getTime() - Date.parse(handover.at);
  const when = `run ${handover.run} handed this snapshot to ${handover.node} ${formatDuration(sinceMs)} ago`;
  deps.onProgress({ stage: 'look', message: `${when}: looking what became of it` });
  // An upload of which only the beginning is known may have ended with the very last breath of its run.
  const quietMs = handover.stage === 'sent' ? sinceMs : performance.now() - lockedAt;
  // A clock that was set back must not make anybody wait for long.
  if (quietMs < QUIET_MS) await pause(signal, Math.min(QUIET_MS, QUIET_MS - quietMs));
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await lookOnce(deps, handover, source, when, signal);
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      if (!e.retryable || e.code === 'E_SPACE' || performance.now() >= deadline) throw cannotTell(when, e);
    }
    await pause(signal);
  }
}

async function lookOnce(
  deps: RestoreDeps,
  handover: Handover,
  source: RestoreSource,
  when: string,
  signal: AbortSignal,
): Promise<Whereabouts> {
  const view = await deps.restored.survey(signal);
  const serving = view.nodes.find(({ state, isSelf }) => state === 'active' && isSelf);
  if (serving === undefined) return { outcome: 'locked', notice: `${when}: ${describeNodes(view)}` };
  const { clusterIdBefore } = handover;
  const expected = { clusterId: source.manifest?.source.clusterId ?? null, clusterIdBefore };
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
    if (!isError(e, 'E_VAULT_LOGIN') && !isError(e, 'E_VAULT_DENIED')) throw e;
    // A cluster that became the source's has taken it, whoever may log in there.
    if (isChanged(expected)) throw credentialsOfSnapshot(e, expected);
    return { outcome: 'absent', notice: `${when}, and it does not serve it: ${e.message}` };
  }
}

function isChanged({ clusterId, clusterIdBefore }: Pick<Expected, 'clusterId' | 'clusterIdBefore'>): boolean {
  return clusterId !== null && clusterIdBefore !== null && clusterId !== clusterIdBefore;
}

function cannotTell(when: string, e: StrongroomError): StrongroomError {
  return new StrongroomError(e.code, `${when}, and whether it was applied cannot be told: ${e.message}`, {
    hint: `${e.hint === undefined ? '' : `${e.hint}; `}then run the same command again: it looks once more before it does anything, and this run has installed nothing`,
    details: e.details,
    retryable: e.retryable,
    cause: e,
  });
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
