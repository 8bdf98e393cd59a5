/** From the install to the proof: serve again, compare record by record, restart what must be restarted, ask every node. */
import { isError, StrongroomError } from '../core/errors.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import { Opener } from './open.ts';
import type { RestoreDeps, RestoreOptions } from './options.ts';
import { compareRestored, type RestoreProof, unproven } from './prove.ts';
import { awaitRestarts, Reloads, restartsNeeded } from './restarts.ts';
import type { Installed } from './result.ts';
import { settle } from './settle.ts';
import type { RestoreSource } from './source.ts';
import { proveVoters, type VoterProof } from './voters.ts';

export type Finished = {
  proof: RestoreProof;
  voters: VoterProof[];
  /** members of the cluster that are not among the configured nodes */
  unasked: number;
  warnings: string[];
  /** when it served again, and when it was proven (performance.now()) */
  settledAt: number;
  provenAt: number;
};

/**
 * Rejects as {@link settle} does, and with E_PROOF_FAILED when the active node does not hold what the snapshot says. Whatever
 * else stands in the way of the proof says that the snapshot is with the target.
 */
export async function finish(
  deps: RestoreDeps,
  options: RestoreOptions,
  source: RestoreSource,
  installed: Installed,
  signal: AbortSignal,
): Promise<Finished> {
  const { seal } = source.report;
  const opener = new Opener(deps, seal.type === 'shamir' ? seal.threshold : 0);
  const reloads = new Reloads();
  const run = { options, source, installed, opener, reloads };
  const first = await settleAndProve(deps, run, signal);
  const { active } = first;
  const { nodes } = await orNotProven(deps.restored.survey(signal));
  const members = await memberCount(active, nodes.length, signal);
  const needs = restartsNeeded(active.view, nodes, { isForeign: installed.isForeign, members });
  const waitMs = options.restartWaitMs;
  const notRestarted = await awaitRestarts(deps, needs, { opener, reloads, waitMs }, signal);
  const isRestarted = needs.some(({ url }) => url === active.url && !notRestarted.some((need) => need.url === url));
  // Another process serves now than the one that was compared.
  const last = isRestarted ? await settleAndProve(deps, run, signal) : first;
  const voters = await orNotProven(proveVoters(deps, last.active, notRestarted, signal));
  const alone = installed.isForeign && active.view.product === 'openbao' && members === 1;
  return {
    proof: last.proof,
    voters,
    unasked: Math.max(0, members - voters.length),
    warnings: alone ? ['OpenBao keeps the old raft keys: restart this node before others join it'] : [],
    settledAt: first.settledAt,
    provenAt: performance.now(),
  };
}

type Run = {
  options: RestoreOptions;
  source: RestoreSource;
  installed: Installed;
  opener: Opener;
  reloads: Reloads;
};

/**
 * Waits for the cluster and compares, again and again until it fits or the time is over: between the answer and the
 * effect the old state is still served, and a difference seen then is not yet a verdict.
 */
async function settleAndProve(
  deps: RestoreDeps,
  { options, source, installed, opener, reloads }: Run,
  signal: AbortSignal,
): Promise<{ active: ActiveNode; proof: RestoreProof; settledAt: number }> {
  const deadline = performance.now() + options.settleTimeoutMs;
  let proof: RestoreProof | null = null;
  let problem: unknown = null;
  do {
    const wait = {
      since: installed.since,
      timeoutMs: Math.max(deadline - performance.now(), 1000),
      restartMs: options.restartWaitMs,
    };
    const active = await settle(deps, opener, installed.expect, wait, (view) => reloads.note(view), signal);
    const settledAt = performance.now();
    try {
      proof = await compareRestored(deps, active, source, signal);
      if (proof.unexpectedCount === 0) return { active, proof, settledAt };
      problem = null;
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      // Nobody makes room while a run waits for it.
      if (!e.retryable || e.code === 'E_SPACE') throw notProven(e);
      problem = notProven(e);
    }
  } while (performance.now() < deadline);
  if (proof !== null && problem === null) throw unproven(proof);
  throw problem;
}

async function orNotProven<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (e) {
    throw isError(e) && e.code !== 'E_INTERRUPTED' ? notProven(e) : e;
  }
}

function notProven(e: StrongroomError): StrongroomError {
  return new StrongroomError(e.code, `the snapshot was handed over, but it is not proven: ${e.message}`, {
    hint: `${e.hint === undefined ? '' : `${e.hint}; `}then run the same command again: it goes on with the proof, and installs nothing`,
    details: e.details,
    retryable: e.retryable,
    cause: e,
  });
}

/** The login may not know: then as many as are configured, no reason to fail a restore that is proven. */
async function memberCount(node: ActiveNode, configured: number, signal: AbortSignal): Promise<number> {
  try {
    return (await node.raftConfiguration(signal)).length;
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return configured;
  }
}
