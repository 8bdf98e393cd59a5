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

/**
 * Polls every node until one is active and answers an authenticated read with credentials of the snapshot. Sealed
 * Shamir nodes are given the shares of `deps.nextShare`, each asked for once and used for every node.
 * Rejects with E_INSTALL_UNKNOWN naming the state of each node when `timeoutMs` passes.
 */
export async function settle(
  deps: RestoreDeps,
  expect: { clusterId: string | null; sealType: string; threshold: number },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ActiveNode> {
  const start = performance.now();
  const shares: Secret<string>[] = [];
  let last = 'no answer yet';
  deps.onProgress({ stage: 'settle' });
  while (performance.now() - start < timeoutMs) {
    await pause(signal);
    const view = await deps.restored.survey(signal);
    last = describeNodes(view);
    deps.onProgress({ stage: 'settle', message: last });
    if (expect.sealType === 'shamir') await unsealAll(deps, view, shares, expect.threshold, signal);
    try {
      const active = await deps.restored.active(signal);
      const isNew = expect.clusterId !== null && active.view.clusterId === expect.clusterId;
      const isQuiet = performance.now() - start >= QUIET_MS;
      if (isQuiet && (isNew || expect.clusterId === null)) return active;
      if (isQuiet) last = `${active.url} is active with cluster id ${active.view.clusterId ?? 'unknown'}`;
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      // The node serves, but refuses us: no waiting will change that, and the human must know which credentials count.
      if (e.code === 'E_VAULT_LOGIN') throw credentialsOfSnapshot(e);
      last = `${last}; ${e.message}`;
    }
  }
  throw new StrongroomError(
    'E_INSTALL_UNKNOWN',
    `the cluster does not serve the snapshot ${formatDuration(timeoutMs)} after the install: ${last}`,
    {
      hint: 'look at the log of the active node for "restored user snapshot" and at the seal of each node before trying again',
    },
  );
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
    await unsealNode(deps, node, shares, threshold, signal);
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
        {
          hint: 'the snapshot is installed; unseal each node with the shares of the cluster it was taken from',
        },
      );
    }
    shares[given] = share;
    const answer = await unseal(target, share, signal);
    // A joiner answers nothing until it has joined: the next survey tells.
    if (answer.outcome === 'blocked' || !answer.status.sealed) break;
  }
}

function describeNodes(view: ClusterView): string {
  return view.nodes.map(({ url, state }) => `${url} ${state}`).join(', ');
}

function credentialsOfSnapshot(e: StrongroomError): StrongroomError {
  return new StrongroomError(
    e.code,
    `the snapshot is installed, but the configured login does not work in it: ${e.message}`,
    {
      hint: 'the restored cluster has the tokens, users and roles of the snapshot: configure credentials that existed then',
      cause: e,
    },
  );
}

async function pause(signal: AbortSignal): Promise<void> {
  try {
    await delay(POLL_MS, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}
