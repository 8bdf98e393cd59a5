/** After the install: wait until the cluster serves again, and open what sealed itself. 204 proved nothing yet. */
import { setTimeout as delay } from 'node:timers/promises';
import { isError, StrongroomError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import type { ClusterView } from '../vault/cluster.ts';
import type { Opener } from './open.ts';
import type { RestoreDeps } from './options.ts';

const POLL_MS = 500;
/**
 * The server sleeps 5 s between applying a snapshot and loading its keys (restoreOpDelayDuration in its raft backend),
 * and until then answers as if nothing had happened. An answer that comes earlier says nothing.
 */
export const QUIET_MS = 6_000;

export type Expected = {
  /** of the source; null when nothing signed says it */
  clusterId: string | null;
  /** of the target before the install; null when it is not known */
  clusterIdBefore: string | null;
  sealType: string;
  /** of the plan: 0 = the nodes keep their keys */
  sharesNeeded: number;
};

export type Wait = {
  /** when the archive was handed over (performance.now()) */
  since: number;
  /** the longest wait from now on, and again from whenever people were waited for, in milliseconds */
  timeoutMs: number;
  /** the longest wait for people to restart a node, in milliseconds; 0 = they are not asked */
  restartMs: number;
};

/**
 * Polls every node until one is active and answers an authenticated read with credentials of the snapshot. Sealed
 * Shamir nodes are opened by `opener`. `onView` is told of every look at the nodes.
 *
 * Rejects with E_INSTALL_UNKNOWN naming the state of each node when the time is over, with E_UNSEAL when the shares do not
 * open a node or it must be restarted before they can, with E_VAULT_LOGIN when the configured login is refused since the
 * install.
 */
export async function settle(
  deps: RestoreDeps,
  opener: Opener,
  expect: Expected,
  wait: Wait,
  onView: (view: ClusterView) => void,
  signal: AbortSignal,
): Promise<ActiveNode> {
  let deadline = performance.now() + wait.timeoutMs;
  const asked = new Set<string>();
  let last = 'no answer yet';
  deps.onProgress({ stage: 'settle' });
  while (performance.now() < deadline) {
    await pause(signal);
    const view = await deps.restored.survey(signal);
    onView(view);
    last = describeNodes(view);
    deps.onProgress({ stage: 'settle', message: last });
    if (performance.now() - wait.since < QUIET_MS) continue;
    refuseMisfit(view, expect);
    if (expect.sealType === 'shamir' && (opener.hasShares || isLocked(view, expect))) {
      if (askForRestarts(deps, opener, view, wait, asked)) deadline = performance.now() + wait.restartMs;
      // Whoever typed shares took time for it.
      if (await opener.openAll(view, signal)) deadline = Math.max(deadline, performance.now() + wait.timeoutMs);
    }
    const serving = view.nodes.find(({ state, isSelf }) => state === 'active' && isSelf);
    if (serving !== undefined && !isSource(expect, serving.clusterId)) {
      // Not yet, or never: a login there would be one into the cluster of before.
      last = `${serving.url} is active with cluster id ${serving.clusterId ?? 'unknown'}, the snapshot has ${expect.clusterId}`;
      continue;
    }
    try {
      const active = await deps.restored.active(signal);
      if (isSource(expect, active.view.clusterId)) return active;
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      // The node serves, but refuses us: no waiting will change that, and the human must know which credentials count.
      if (e.code === 'E_VAULT_LOGIN') throw credentialsOfSnapshot(e, expect);
      last = `${last}; ${e.message}`;
    }
  }
  throw new StrongroomError(
    'E_INSTALL_UNKNOWN',
    `the cluster does not serve the snapshot ${formatDuration(performance.now() - wait.since)} after the install: ${last}`,
    {
      hint:
        'look at the log of the node that took it for "restored user snapshot" and for why it did not go on ("failed to ' +
        'setup audit table": no audit device of the snapshot can be opened there), and at the seal of each node; then run the same ' +
        'command again: it looks what became of this install before it does anything',
    },
  );
}

/**
 * Throws E_UNSEAL when no node is open and one is configured for another seal than its data: no share and no waiting will
 * open it, but its config can be changed, and nothing is lost.
 */
function refuseMisfit({ nodes }: ClusterView, { sealType }: Expected): void {
  if (nodes.some(({ state }) => state !== 'sealed' && state !== 'unreachable')) return;
  const misfit = nodes.find((node) => node.state === 'sealed' && node.sealType !== null && node.sealType !== sealType);
  if (misfit === undefined) return;
  const cure =
    sealType === 'shamir'
      ? `remove the seal "${misfit.sealType}" stanza from its config`
      : `put the seal "${sealType}" stanza of the source into its config`;
  throw new StrongroomError(
    'E_UNSEAL',
    `${misfit.url} stays sealed: it is configured for seal ${misfit.sealType}, and the data of this snapshot are of seal ${sealType}`,
    {
      hint: `do not install it again: ${cure}, start the process anew, and run the same command again: it goes on from here`,
      details: { node: misfit.url, configured: misfit.sealType, data: sealType },
    },
  );
}

/** True when there is somebody to wait for. Rejects with E_UNSEAL where nobody is asked: shares would be refused. */
function askForRestarts(
  deps: RestoreDeps,
  opener: Opener,
  view: ClusterView,
  { restartMs }: Wait,
  asked: Set<string>,
): boolean {
  const stale = opener.staleNodes(view).filter(({ url }) => !asked.has(url));
  const [first] = stale;
  if (first === undefined) return false;
  if (restartMs === 0) {
    throw new StrongroomError(
      'E_UNSEAL',
      `the snapshot is installed, but ${first.url} still counts shares as before (${first.threshold ?? 0}) and would refuse the right ones`,
      { hint: "restart this node's process, then run the same command again: it goes on from here" },
    );
  }
  for (const { url } of stale) asked.add(url);
  deps.askRestart(
    stale.map(({ url, threshold }) => ({
      url,
      why: `it still counts shares as before (${threshold ?? 0}) and would refuse the right ones`,
    })),
  );
  return true;
}

/** Is it time to ask for shares? A node that was sealed before the restore is no reason, while others keep their keys. */
function isLocked({ nodes }: ClusterView, { sharesNeeded }: Expected): boolean {
  if (sharesNeeded > 0) return !nodes.some(({ state, isSelf }) => state === 'active' && isSelf);
  return nodes.every(({ state }) => state === 'sealed' || state === 'unreachable');
}

/** Does a cluster with this id hold the snapshot, as far as an id can tell? */
export function isSource(expect: Pick<Expected, 'clusterId'>, clusterId: string | null): boolean {
  return expect.clusterId === null || expect.clusterId === clusterId;
}

export function describeNodes(view: ClusterView): string {
  return view.nodes.map(({ url, state }) => `${url} ${state}`).join(', ');
}

/** Who reads this must not think that nothing happened. */
export function credentialsOfSnapshot(
  e: StrongroomError,
  expect: Pick<Expected, 'clusterId' | 'clusterIdBefore'>,
): StrongroomError {
  // Only a cluster that became another one has certainly taken the snapshot.
  const isCertain = expect.clusterId !== null && expect.clusterId !== expect.clusterIdBefore;
  const what = isCertain ? 'the snapshot is installed, but' : 'the snapshot was accepted, and since then';
  return new StrongroomError(e.code, `${what} the configured login does not work: ${e.message}`, {
    hint: 'the restored cluster has the tokens, users and roles of the snapshot: configure credentials that existed then, and run the same command again: it goes on from here',
    cause: e,
  });
}

/** One poll interval; rejects with the abort reason. */
export async function pause(signal: AbortSignal, ms = POLL_MS): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}
