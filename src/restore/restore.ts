/**
 * The way back: verify the whole archive to nowhere, install it on the active node, open the cluster, and prove that
 * it holds what the snapshot says. `204` is an answer, not a proof.
 */
import { join } from 'node:path';
import { isError, StrongroomError } from '../core/errors.ts';
import { measure } from '../core/flow.ts';
import { newRunId } from '../core/ids.ts';
import { takeLock } from '../spool/lock.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import { installSnapshot } from '../vault/install.ts';
import type { RestoreDeps, RestoreOptions } from './options.ts';
import { describePlan, planRestore, type RestorePlan } from './plan.ts';
import { compareRestored, type RestoreProof, unproven } from './prove.ts';
import { type Expected, settle } from './settle.ts';
import { openSource, type RestoreSource } from './source.ts';

export type RestoreResult = {
  snapshot: string | null;
  label: string;
  openedWith: string;
  raftIndex: number;
  plan: RestorePlan;
  proof: RestoreProof;
  warnings: string[];
  /** milliseconds by stage; `total` is from the first step to the proof */
  timings: { fetch: number; install: number; settle: number; prove: number; total: number };
};

/**
 * Restores one snapshot into the cluster behind `deps.target` and proves it.
 *
 * `confirm` is called once, with the plan, after everything that can be checked beforehand was checked; when it rejects,
 * nothing has happened. After it, every error says in which state the cluster is: E_INSTALL_REFUSED = untouched,
 * E_INSTALL_UNKNOWN = look before trying again, E_UNSEAL and E_PROOF_FAILED = installed.
 */
export async function restore(
  deps: RestoreDeps,
  options: RestoreOptions,
  confirm: (plan: RestorePlan, lines: readonly string[]) => Promise<void>,
  signal: AbortSignal,
): Promise<RestoreResult> {
  const start = performance.now();
  const run = newRunId(deps.clock.now());
  await using _lock = await takeLock(join(deps.spool.directory, deps.cluster, 'lock'), run, deps.clock.now());
  const active = await deps.target.active(signal);
  await using source = await openSource(deps, options.snapshot, signal);
  const planned = planRestore({
    cluster: deps.cluster,
    target: {
      activeNode: active.url,
      clusterId: active.view.clusterId,
      product: active.view.product,
      version: active.view.version,
      sealType: active.view.sealType ?? 'unknown',
      threshold: active.view.threshold ?? 0,
      raftAppliedIndex: active.view.raftAppliedIndex,
    },
    report: source.report,
    manifest: source.manifest,
    now: deps.clock.now(),
    force: options.force,
  });
  // What the source leaves in doubt belongs before the confirmation, not after it.
  const plan = { ...planned, warnings: [...source.warnings, ...planned.warnings] };
  const fetched = performance.now();
  await confirm(plan, describePlan(plan, source.label));

  await install(deps, active, source, plan, signal);
  const installed = performance.now();
  const expect = {
    clusterId: source.manifest?.source.clusterId ?? null,
    clusterIdBefore: active.view.clusterId,
    sealType: source.report.seal.type,
    threshold: source.report.seal.threshold,
    sharesNeeded: plan.sharesNeeded,
  };
  const after = settleAndProve(deps, options, source, { expect, installed }, signal).catch((e: unknown) => {
    if (signal.aborted) deps.log.warn({ cluster: deps.cluster }, 'stopped after the install: nothing is proven');
    throw e;
  });
  const { restored, proof, settled } = await after;
  const end = performance.now();
  return {
    snapshot: source.manifest?.snapshot ?? null,
    label: source.label,
    openedWith: source.openedWith,
    raftIndex: source.report.raft.index,
    plan,
    proof,
    warnings: [...source.warnings, ...(await afterwards(deps, restored, plan, signal))],
    timings: {
      fetch: fetched - start,
      install: installed - fetched,
      settle: settled - installed,
      prove: end - settled,
      total: end - start,
    },
  };
}

async function install(
  deps: RestoreDeps,
  before: ActiveNode,
  source: RestoreSource,
  plan: RestorePlan,
  signal: AbortSignal,
): Promise<void> {
  // The human took time to confirm: whoever is active now gets the snapshot, and only if it is the node of the plan.
  const active = await deps.target.active(signal);
  if (active.url !== before.url) {
    throw new StrongroomError(
      'E_PRECONDITION',
      `the active node changed from ${before.url} to ${active.url} meanwhile`,
      {
        hint: 'nothing was installed; run the restore again',
      },
    );
  }
  const watch = measure((bytes) => deps.onProgress({ stage: 'install', bytes, totalBytes: source.bytes }));
  const readTimeoutMs = await listenerReadTimeout(active, signal);
  const answer = await installSnapshot(active, watch(source.plain(signal)), {
    bytes: source.bytes,
    force: plan.force,
    ...(readTimeoutMs === null ? {} : { readTimeoutMs }),
    signal,
  });
  // The snapshot brought its own tokens: those of before are gone, also from where they could be revoked.
  await Promise.all([deps.target.session.forget(), deps.restored.session.forget()]);
  if (answer.outcome === 'unknown') {
    deps.log.warn(
      { cluster: deps.cluster, reason: answer.reason },
      'the answer to the install was lost, looking for its effect',
    );
    deps.onProgress({ stage: 'install', message: `the answer was lost (${answer.reason}): looking for the effect` });
  }
}

/** What the listener allows for the upload; null where the login may not read it, as with most. */
async function listenerReadTimeout(active: ActiveNode, signal: AbortSignal): Promise<number | null> {
  try {
    return await active.listenerReadTimeoutMs(signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return null;
  }
}

/**
 * Waits for the cluster and compares, again and again until it fits or the time is over: between the answer and the
 * effect the old state is still served, and a difference seen then is not yet a verdict.
 */
async function settleAndProve(
  deps: RestoreDeps,
  options: RestoreOptions,
  source: RestoreSource,
  { expect, installed }: { expect: Expected; installed: number },
  signal: AbortSignal,
): Promise<{ restored: ActiveNode; proof: RestoreProof; settled: number }> {
  const deadline = installed + options.settleTimeoutMs;
  let proof: RestoreProof | null = null;
  let problem: unknown = null;
  do {
    const timeoutMs = Math.max(deadline - performance.now(), 1000);
    const restored = await settle(deps, expect, { since: installed, timeoutMs }, signal);
    const settled = performance.now();
    try {
      proof = await compareRestored(deps, restored, source, signal);
      if (proof.unexpectedCount === 0) return { restored, proof, settled };
      problem = null;
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e) || !e.retryable) throw e;
      problem = e;
    }
  } while (performance.now() < deadline);
  if (proof !== null && problem === null) throw unproven(proof);
  throw problem;
}

/**
 * Standbys of OpenBao keep the old mount table until they start anew, and a node that stayed unsealed keeps raft's old TLS
 * keys. Seen on 2.6.2 and 2.7.2: a restarted or joining node and it do not understand each other ("tls: unrecognized name").
 */
async function afterwards(
  deps: RestoreDeps,
  node: ActiveNode,
  plan: RestorePlan,
  signal: AbortSignal,
): Promise<string[]> {
  const { nodes } = await deps.restored.survey(signal);
  const sealed = nodes.filter(({ state }) => state === 'sealed').map(({ url }) => `${url} is sealed: unseal it`);
  if (node.view.product !== 'openbao') return sealed;
  if ((await memberCount(node, signal)) === 1) {
    return plan.force ? ['OpenBao keeps the old raft keys: restart this node before others join it'] : [];
  }
  const last = plan.force ? ', and the active node last' : '';
  return [
    ...sealed,
    `OpenBao nodes keep parts of the old state in memory: restart every standby${last}, before clients use them`,
  ];
}

/** null = the login may not know: no reason to fail a restore that is proven. */
async function memberCount(node: ActiveNode, signal: AbortSignal): Promise<number | null> {
  try {
    return (await node.raftConfiguration(signal)).length;
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return null;
  }
}
