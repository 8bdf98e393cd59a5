/** After the install: wait until the cluster serves again, and open what sealed itself. 204 proved nothing yet. */
import { setTimeout as delay } from 'node:timers/promises';
import { isError, StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import { formatDuration } from '../core/units.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import type { ClusterView, NodeView } from '../vault/cluster.ts';
import { resetUnseal, unseal } from '../vault/seal.ts';
import type { RestoreDeps } from './options.ts';

const POLL_MS = 500;
/**
 * The server sleeps 5 s between applying a snapshot and loading its keys (restoreOpDelayDuration in its raft backend),
 * and until then answers as if nothing had happened. An answer that comes earlier says nothing.
 */
const QUIET_MS = 6_000;
const OTHER_SHARES = 'it takes the shares of the cluster that the snapshot was taken from';

export type Expected = {
  /** of the source; null when nothing signed says it */
  clusterId: string | null;
  /** of the target before the install */
  clusterIdBefore: string | null;
  sealType: string;
  threshold: number;
  /** of the plan: 0 = the nodes keep their keys */
  sharesNeeded: number;
};

/**
 * Polls every node until one is active and answers an authenticated read with credentials of the snapshot. Sealed
 * Shamir nodes are given the shares of `deps.nextShare`, each asked for once and used for every node.
 * `wait.since` is when the archive was handed over (performance.now()), `wait.timeoutMs` the longest wait from now on.
 * Rejects with E_INSTALL_UNKNOWN naming the state of each node when that passes, with E_UNSEAL when the shares do not
 * open a node, with E_VAULT_LOGIN when the configured login is refused since the install.
 */
export async function settle(
  deps: RestoreDeps,
  expect: Expected,
  wait: { since: number; timeoutMs: number },
  signal: AbortSignal,
): Promise<ActiveNode> {
  const deadline = performance.now() + wait.timeoutMs;
  const shares: Secret<string>[] = [];
  let last = 'no answer yet';
  deps.onProgress({ stage: 'settle' });
  while (performance.now() < deadline) {
    await pause(signal);
    const view = await deps.restored.survey(signal);
    last = describeNodes(view);
    deps.onProgress({ stage: 'settle', message: last });
    const serving = view.nodes.find(({ state, isSelf }) => state === 'active' && isSelf);
    if (performance.now() - wait.since < QUIET_MS) continue;
    if (expect.sealType === 'shamir' && (shares.length > 0 || isLocked(view, expect))) {
      await unsealAll(deps, view, shares, expect.threshold, signal);
    }
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
      hint: 'look at the log of the active node for "restored user snapshot" and at the seal of each node before trying again',
    },
  );
}

/** Is it time to ask for shares? A node that was sealed before the restore is no reason, while others keep their keys. */
function isLocked({ nodes }: ClusterView, { sharesNeeded }: Expected): boolean {
  if (sharesNeeded > 0) return !nodes.some(({ state, isSelf }) => state === 'active' && isSelf);
  return nodes.every(({ state }) => state === 'sealed' || state === 'unreachable');
}

function isSource(expect: Expected, clusterId: string | null): boolean {
  return expect.clusterId === null || expect.clusterId === clusterId;
}

/** Gives every sealed node of a Shamir cluster its shares. Rejects with E_UNSEAL when there are too few or they do not fit. */
async function unsealAll(
  deps: RestoreDeps,
  view: ClusterView,
  shares: Secret<string>[],
  threshold: number,
  signal: AbortSignal,
): Promise<void> {
  for (const node of view.nodes.filter(({ state }) => state === 'sealed')) {
    try {
      await unsealNode(deps, node, shares, threshold, signal);
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      // A node that is busy or gone for the moment is looked at again in the next round.
      if (e.retryable && e.code !== 'E_INTERRUPTED') continue;
      throw stillSealed(e, node.url);
    }
  }
}

async function unsealNode(
  deps: RestoreDeps,
  node: NodeView,
  shares: Secret<string>[],
  threshold: number,
  signal: AbortSignal,
): Promise<void> {
  // A node initialised with more shares than the source keeps asking for its own number: it gets that many.
  const needed = Math.max(threshold, node.threshold ?? 0);
  const target = { client: deps.restored.node(node.url) };
  if ((node.progress ?? 0) > 0) await resetUnseal(target, signal);
  for (let given = 0; given < needed; given += 1) {
    const share = shares[given] ?? (await deps.nextShare({ node: node.url, progress: given, threshold: needed }));
    if (share === null) {
      throw new StrongroomError(
        'E_UNSEAL',
        `${node.url} needs ${needed} unseal key shares and only ${given} were given`,
        { hint: OTHER_SHARES },
      );
    }
    shares[given] = share;
    const answer = await unseal(target, share, signal);
    // A joiner answers nothing until it has joined: the next survey tells.
    if (answer.outcome === 'blocked' || !answer.status.sealed) return;
    // The server counts a share once, however often it is given.
    if (answer.status.progress > 0 && answer.status.progress <= given) {
      throw new StrongroomError('E_UNSEAL', `${node.url} needs ${needed} different shares, and was given one twice`, {
        hint: OTHER_SHARES,
      });
    }
  }
}

/** The data are in place already, whatever the shares do: who reads this must not think of a failed install. */
function stillSealed(e: StrongroomError, node: string): StrongroomError {
  return new StrongroomError(e.code, `the snapshot is installed, but ${node} stays sealed: ${e.message}`, {
    hint: `${e.hint === undefined ? '' : `${e.hint}; `}do not install it again: unseal each node by hand (bao|vault operator unseal), then compare`,
    details: e.details,
    retryable: false,
    cause: e,
  });
}

function describeNodes(view: ClusterView): string {
  return view.nodes.map(({ url, state }) => `${url} ${state}`).join(', ');
}

function credentialsOfSnapshot(e: StrongroomError, expect: Expected): StrongroomError {
  // Only a cluster that became another one has certainly taken the snapshot.
  const isCertain = expect.clusterId !== null && expect.clusterId !== expect.clusterIdBefore;
  const what = isCertain ? 'the snapshot is installed, but' : 'the snapshot was accepted, and since then';
  return new StrongroomError(e.code, `${what} the configured login does not work: ${e.message}`, {
    hint: 'the restored cluster has the tokens, users and roles of the snapshot: configure credentials that existed then',
    cause: e,
  });
}

async function pause(signal: AbortSignal): Promise<void> {
  try {
    await delay(POLL_MS, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}
