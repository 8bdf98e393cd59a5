/**
 * The way back: verify the whole archive to nowhere, show what it would do, keep what the target holds now, install it
 * on the active node, open the cluster, and prove that every node serves what the snapshot says. `204` is an answer, not a
 * proof. Stopped at any moment, the same command run again looks what became of it and goes on.
 */
import { join } from 'node:path';
import { isError, StrongroomError } from '../core/errors.ts';
import { newRunId, type RunId } from '../core/ids.ts';
import { inStage } from '../core/scope.ts';
import type { Lease } from '../lease/lease.ts';
import { removeSpoolFiles, runFolder } from '../spool/folder.ts';
import { takeLock } from '../spool/lock.ts';
import { checkRoom } from '../spool/spool.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import { beAlone, checkAlone } from './alone.ts';
import { describePlan } from './describe.ts';
import { type Finished, finish } from './finish.ts';
import { forgetHandover, type Handover, readHandover, stateHash } from './handover.ts';
import { install, listenerReadTimeout } from './install.ts';
import { lookInto } from './look.ts';
import type { RestoreDeps, RestoreOptions } from './options.ts';
import { planRestore, type RestorePlan } from './plan.ts';
import type { Installed, RestoreResult } from './result.ts';
import { handoverUnknown, whatBecameOf } from './resume.ts';
import { keepSafe } from './safety.ts';
import { openSource, type RestoreSource } from './source.ts';

/** Shows what is about to happen and asks for the go-ahead; `plan` is null where an earlier run had installed already. */
export type Confirm = (plan: RestorePlan | null, lines: readonly string[]) => Promise<void>;

/**
 * Restores one snapshot into the cluster behind `deps.target` and proves it on every node.
 *
 * `confirm` is called after everything that can be checked beforehand was checked; when it rejects, nothing has happened.
 * After it, every error says in which state the target is: E_INSTALL_REFUSED = untouched, E_INSTALL_UNKNOWN, E_UNSEAL,
 * E_PROOF_FAILED and E_INTERRUPTED say it in words. In all of them the next run of the same restore goes on from there.
 */
export async function restore(
  deps: RestoreDeps,
  options: RestoreOptions,
  confirm: Confirm,
  signal: AbortSignal,
): Promise<RestoreResult> {
  const start = performance.now();
  const run = options.run ?? newRunId(deps.clock.now());
  const folder = runFolder(deps.spool.directory, deps.into);
  // A restore that somebody suspended is his to end: it may be right before its install.
  await using _lock = await takeLock(join(folder, 'lock'), run, deps.clock.now(), { fromSilent: false }, signal);
  const { lease, notice: alone } = await inStage('lease', () => beAlone(deps, run, signal));
  await using _lease = lease;
  const lockedAt = performance.now();
  await removeSpoolFiles(folder);
  const isNoted = (await readHandover(folder, deps.log)) !== null;
  const progress: Progress = { run, lease, folder, start, lockedAt, target: isNoted ? 'unknown' : 'untouched' };
  try {
    await using source = await inStage('fetch', () => openSource(deps, options.snapshot, signal, options));
    const fetched = performance.now();
    const { notice: found, ended } = await goOn(deps, options, source, confirm, { progress, fetched }, signal);
    if (ended !== null) return ended;
    const notice = [...alone, ...found];
    return await begin(deps, options, source, confirm, { progress, fetched, notice }, signal);
  } catch (e) {
    // What an abort makes of a library's call is an error of that library.
    const failure: unknown = signal.aborted && e instanceof Error && e.name === 'AbortError' ? signal.reason : e;
    throw isError(failure, 'E_INTERRUPTED') ? interrupted(failure, progress.target) : failure;
  }
}

type Progress = {
  run: RunId;
  lease: Lease | null;
  folder: string;
  start: number;
  /** when no earlier run was at work any more (performance.now()) */
  lockedAt: number;
  /** what an interruption leaves */
  target: TargetNow;
};

/** `unknown`: an earlier run has handed something over, and this one has not found out what became of it. */
type TargetNow = 'untouched' | 'unknown' | 'handed over';

/** Where an earlier run had handed this snapshot over: what became of it, and the rest of the way where it arrived. */
async function goOn(
  deps: RestoreDeps,
  options: RestoreOptions,
  source: RestoreSource,
  confirm: Confirm,
  { progress, fetched }: { progress: Progress; fetched: number },
  signal: AbortSignal,
): Promise<{ notice: string[]; ended: RestoreResult | null }> {
  const { run, folder, start, lockedAt } = progress;
  const handover = await unfinished(deps, options, source, folder, run, signal);
  progress.target = handover === null ? 'untouched' : 'unknown';
  if (handover === null) return { notice: [], ended: null };
  const timeoutMs = options.settleTimeoutMs;
  const found = await inStage('look', () => whatBecameOf(deps, handover, source, { lockedAt, timeoutMs }, signal));
  if (found.outcome === 'absent') {
    progress.target = 'untouched';
    if (!options.resume) return { notice: [found.notice], ended: null };
    throw new StrongroomError('E_PRECONDITION', `there is nothing to go on with: ${found.notice}`, {
      hint: 'run it without --resume',
    });
  }
  await confirm(null, [
    `restore   ${source.label}`,
    `into      ${deps.into}`,
    `goes on   ${found.notice}`,
    `installs  nothing: the cluster is opened, and proven`,
  ]);
  progress.target = 'handed over';
  const sourceId = source.manifest?.source.clusterId ?? null;
  const installed: Installed = {
    expect: expected(source, handover),
    since: performance.now() - (deps.clock.now().getTime() - Date.parse(handover.at)),
    isForeign: sourceId === null || sourceId !== handover.clusterIdBefore,
  };
  const finished = await inStage('prove', () => finish(deps, options, source, installed, signal));
  const { safety } = handover;
  const times = { start, fetched, safe: fetched, installed: fetched };
  return { notice: [], ended: await conclude(deps, folder, source, { plan: null, safety, finished, times }) };
}

async function unfinished(
  deps: RestoreDeps,
  options: RestoreOptions,
  source: RestoreSource,
  folder: string,
  run: RunId,
  signal: AbortSignal,
): Promise<Handover | null> {
  const state = stateHash(source.report);
  const noted = await readHandover(folder, deps.log);
  if (noted !== null && noted.state === state) return noted;
  if (!options.resume) return null;
  return handoverUnknown(await deps.restored.survey(signal), run, state, deps.clock.now());
}

/** A restore from its plan to its proof. */
async function begin(
  deps: RestoreDeps,
  options: RestoreOptions,
  source: RestoreSource,
  confirm: Confirm,
  { progress, fetched, notice }: { progress: Progress; fetched: number; notice: readonly string[] },
  signal: AbortSignal,
): Promise<RestoreResult> {
  const { run, lease, folder, start } = progress;
  const active = await activeTarget(deps, signal);
  const readTimeoutMs = await listenerReadTimeout(active, signal);
  const contents = deps.takeSafety === null ? null : await lookInto(active, deps.onProgress, signal);
  const planned = planRestore({
    cluster: deps.cluster,
    into: deps.into,
    target: {
      activeNode: active.url,
      clusterId: active.view.clusterId,
      product: active.view.product,
      version: active.view.version,
      sealType: active.view.sealType ?? 'unknown',
      threshold: active.view.threshold ?? 0,
      raftAppliedIndex: active.view.raftAppliedIndex,
      readTimeoutMs,
    },
    report: source.report,
    manifest: source.manifest,
    contents,
    now: deps.clock.now(),
    verifyMs: fetched - start,
    force: options.force,
  });
  // What the source leaves in doubt belongs before the confirmation, not after it.
  const plan = { ...planned, warnings: [...notice, ...source.warnings, ...planned.warnings] };
  // The proof is one more file beside the fetched one: known to fail is better known now than after the install.
  await checkRoom(deps.spool, source.bytes);
  await confirm(plan, describePlan(plan, source.label));

  const confirmed = performance.now();
  const kept = await inStage('safety', () => keepSafe(deps, { run, lease }, signal));
  const safe = performance.now();
  const safety = kept?.snapshot ?? null;
  checkAlone(deps, lease);
  progress.target = 'handed over';
  const how = { folder, safety, readTimeoutMs };
  const handover = await inStage('install', () => install(deps, run, plan, source, how, signal)).catch((e: unknown) => {
    progress.target = 'untouched';
    throw e;
  });
  const installed = performance.now();
  const arrived = { expect: expected(source, handover), since: installed, isForeign: plan.isForeign };
  const finished = await inStage('prove', () => finish(deps, options, source, arrived, signal));
  // People's time is theirs: the restore took what it took without it.
  const times = { start: start + (confirmed - fetched), fetched: confirmed, safe, installed };
  return await conclude(deps, folder, source, { plan, safety, finished, times });
}

/** A target that a stopped restore has sealed has no active node: whoever finds it so is told the way on. */
async function activeTarget(deps: RestoreDeps, signal: AbortSignal): Promise<ActiveNode> {
  try {
    return await deps.target.active(signal);
  } catch (e) {
    if (!isError(e, 'E_VAULT_SEALED')) throw e;
    throw new StrongroomError(e.code, e.message, {
      hint: `${e.hint ?? 'unseal it first'}; if a restore from another machine has sealed it, add --resume: it opens the cluster and proves it`,
      details: e.details,
      cause: e,
    });
  }
}

function expected(source: RestoreSource, { clusterIdBefore, sharesNeeded }: Handover): Installed['expect'] {
  const clusterId = source.manifest?.source.clusterId ?? null;
  return { clusterId, clusterIdBefore, sealType: source.report.seal.type, sharesNeeded };
}

async function conclude(
  deps: RestoreDeps,
  folder: string,
  source: RestoreSource,
  end: {
    plan: RestorePlan | null;
    safety: string | null;
    finished: Finished;
    times: { start: number; fetched: number; safe: number; installed: number };
  },
): Promise<RestoreResult> {
  const { plan, safety, finished, times } = end;
  const complete = finished.unasked === 0 && finished.voters.every(({ proven }) => proven);
  // While a node is not proven, the next run has something to go on with.
  if (complete) await forgetHandover(folder);
  deps.log.info({ cluster: deps.into, snapshot: source.manifest?.snapshot, complete }, 'restored');
  return {
    complete,
    snapshot: source.manifest?.snapshot ?? null,
    label: source.label,
    openedWith: source.openedWith,
    raftIndex: source.report.raft.index,
    plan,
    safety,
    proof: finished.proof,
    voters: finished.voters,
    unasked: finished.unasked,
    warnings: [...source.warnings, ...finished.warnings],
    timings: {
      fetch: times.fetched - times.start,
      safety: times.safe - times.fetched,
      install: times.installed - times.safe,
      settle: finished.settledAt - times.installed,
      prove: finished.provenAt - finished.settledAt,
      total: finished.provenAt - times.start,
    },
  };
}

const ON_INTERRUPTION: Readonly<Record<TargetNow, readonly [state: string, hint: string]>> = {
  untouched: ['nothing was installed: the target is as it was', 'run it again when it suits'],
  unknown: [
    'this run has installed nothing, but an earlier one has handed a snapshot to the target',
    'run the same command again: it looks what became of that install before it does anything',
  ],
  'handed over': [
    'the snapshot is with the target, and not every node is proven to serve it',
    'run the same command again: it looks what became of the install, and goes on from there',
  ],
};

/** In which state the target is when a signal came, and what to do. */
function interrupted(e: StrongroomError, target: TargetNow): StrongroomError {
  const [state, hint] = ON_INTERRUPTION[target];
  return new StrongroomError(e.code, `${e.message}; ${state}`, { hint, cause: e });
}
