/** The one step that changes the target, and the note around it. */
import { isError, StrongroomError } from '../core/errors.ts';
import { measure } from '../core/flow.ts';
import type { RunId } from '../core/ids.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import { installSnapshot } from '../vault/install.ts';
import { forgetHandover, type Handover, noteHandover, stateHash } from './handover.ts';
import type { RestoreDeps } from './options.ts';
import type { RestorePlan } from './plan.ts';
import type { RestoreSource } from './source.ts';

/**
 * Hands the archive to the node of the plan. Resolves when it was accepted, or when that cannot be known; rejects only
 * where nothing was applied for certain, and then no note is left.
 */
export async function install(
  deps: RestoreDeps,
  run: RunId,
  plan: RestorePlan,
  source: RestoreSource,
  { folder, safety, readTimeoutMs }: { folder: string; safety: string | null; readTimeoutMs: number | null },
  signal: AbortSignal,
): Promise<Handover> {
  // The human took time to confirm: whoever is active now gets the snapshot, and only if it is the node of the plan.
  const active = await deps.target.active(signal).catch((e: unknown) => {
    throw untouched(e);
  });
  if (active.url !== plan.target) throw leaderChanged(plan.target, active.url);
  const sending: Handover = {
    run,
    state: stateHash(source.report),
    at: deps.clock.now().toISOString(),
    stage: 'sending',
    node: active.url,
    clusterIdBefore: active.view.clusterId,
    force: plan.force,
    sharesNeeded: plan.sharesNeeded,
    safety,
  };
  await noteHandover(folder, sending).catch((e: unknown) => {
    throw untouched(e);
  });
  await send(deps, active, plan, source, readTimeoutMs, signal).catch(async (e: unknown) => {
    await forgetHandover(folder);
    throw untouched(e);
  });
  const sent: Handover = { ...sending, at: deps.clock.now().toISOString(), stage: 'sent' };
  await noteHandover(folder, sent).catch((e: unknown) => {
    // The first note stays, and says enough: it is the restore that must go on now.
    deps.log.warn({ cluster: deps.into, err: String(e) }, 'the note of this restore could not be renewed');
  });
  // The snapshot brought its own tokens: those of before are gone, also from where they could be revoked.
  await Promise.all([deps.target.session.forget(), deps.restored.session.forget()]);
  return sent;
}

async function send(
  deps: RestoreDeps,
  active: ActiveNode,
  plan: RestorePlan,
  source: RestoreSource,
  readTimeoutMs: number | null,
  signal: AbortSignal,
): Promise<void> {
  const watch = measure((bytes) => deps.onProgress({ stage: 'install', bytes, totalBytes: source.bytes }));
  const answer = await installSnapshot(active, watch(source.plain(signal)), {
    bytes: source.bytes,
    force: plan.force,
    ...(readTimeoutMs === null ? {} : { readTimeoutMs }),
    signal,
  });
  if (answer.outcome === 'accepted') return;
  const { reason } = answer;
  deps.log.warn({ cluster: deps.into, reason }, 'the answer to the install was lost, looking for its effect');
  deps.onProgress({ stage: 'install', message: `the answer was lost (${reason}): looking for the effect` });
}

/** The server's own sentences do not say what became of the target. */
function untouched(e: unknown): unknown {
  if (!isError(e) || e.code === 'E_INTERRUPTED' || /nothing was applied/.test(`${e.message} ${e.hint ?? ''}`)) return e;
  return new StrongroomError(e.code, e.message, {
    hint: `nothing was installed${e.hint === undefined ? '' : `; ${e.hint}`}`,
    details: e.details,
    retryable: e.retryable,
    cause: e,
  });
}

function leaderChanged(before: string, now: string): StrongroomError {
  return new StrongroomError('E_PRECONDITION', `the active node changed from ${before} to ${now} meanwhile`, {
    hint: 'nothing was installed; run the restore again',
  });
}

/** What the listener allows for the upload; null where the login may not read it, as with most. */
export async function listenerReadTimeout(active: ActiveNode, signal: AbortSignal): Promise<number | null> {
  try {
    return await active.listenerReadTimeoutMs(signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return null;
  }
}
