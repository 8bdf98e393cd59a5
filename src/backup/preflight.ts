/** Everything that can be known to fail before Vault is asked for a byte. */
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { compareMembers } from '../catalogue/members.ts';
import { describeError, isError, StrongroomError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { Secret } from '../core/secret.ts';
import { formatBytes, formatDuration } from '../core/units.ts';
import { checkRecipients } from '../crypt/policy.ts';
import { checkRoom } from '../spool/spool.ts';
import { kindPrefix } from '../store/layout.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import type { ClusterView } from '../vault/cluster.ts';
import { quorumOf } from '../vault/quorum.ts';
import type { BackupDeps, BackupOptions } from './options.ts';
import { lockOf } from './upload.ts';

export type Check = {
  name: string;
  status: 'ok' | 'warning' | 'failed' | 'not checked';
  /** one sentence */
  detail: string;
  error?: StrongroomError;
};

export type Preflight = {
  checks: Check[];
  /** null when no node is active: then the checks say why */
  active: ActiveNode | null;
  view: ClusterView | null;
  previous: VerifiedManifest | null;
  /** names of destinations that may be written to */
  writable: string[];
};

/** Room to ask for when there is no earlier snapshot to go by, in bytes. The spool's own limits hold in any case. */
const FIRST_SNAPSHOT_BYTES = 64 * 2 ** 20;
/** A snapshot may have grown since the last one. */
const GROWTH = 1.25;
/** Signatures of S3 requests fail at 15 minutes; tokens and certificates suffer earlier. */
const SKEW_WARNING_MS = 30_000;
const SHOWN_MESSAGES = 5;

/**
 * Runs every check, also after a failed one, so that one look shows all that is wrong.
 * Rejects only with the abort reason or a defect.
 */
export async function preflight(deps: BackupDeps, options: BackupOptions, signal: AbortSignal): Promise<Preflight> {
  const checks: Check[] = [];
  const result: Preflight = { checks, active: null, view: null, previous: null, writable: [] };
  const check = async (name: string, run: () => Promise<Omit<Check, 'name'>>): Promise<void> => {
    try {
      checks.push({ name, ...(await run()) });
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      checks.push({ name, status: 'failed', detail: e.message, error: e });
    }
  };

  await check('catalogue', async () => {
    const { newest, skipped, failures } = await deps.catalogue.latest(signal);
    // What a restore overwrites need not continue anything.
    if (options.purpose === 'backup') result.previous = newest;
    const trouble = [...skipped, ...failures].map((e) => e.message);
    const ahead =
      newest === null ? 0 : snapshotTime(newest.manifest.snapshot as SnapshotId).getTime() - deps.clock.now().getTime();
    if (newest !== null && ahead > SKEW_WARNING_MS) {
      trouble.push(
        `the newest snapshot ${newest.manifest.snapshot} was made at ${newest.manifest.createdAt}, ${formatDuration(ahead)} ahead of this machine's clock: until then no other will be the latest; a clock is or was wrong`,
      );
    }
    if (trouble.length > 0) return { status: 'warning', detail: shortened(trouble).join('; ') };
    if (newest === null) return { status: 'ok', detail: 'no snapshot yet: this is the first' };
    return { status: 'ok', detail: `last good snapshot ${newest.manifest.snapshot} of ${newest.manifest.createdAt}` };
  });
  await check('active node', async () => {
    result.view = await deps.vault.survey(signal);
    result.active = await deps.vault.active(signal);
    return {
      status: 'ok',
      detail: `${result.active.url}, ${result.active.view.product} ${result.active.view.version ?? ''}`,
    };
  });
  const { active, view } = result;
  const previous = result.previous?.manifest ?? null;
  if (active !== null && view !== null) {
    await check('cluster identity', async () => identityCheck(active, previous?.source.clusterId ?? null, options));
    await check('raft', async () => await raftCheck(active, view, previous, options, signal));
    await check(
      'members',
      async () => await membersCheck(deps, active, previous?.archive.raft.servers ?? null, signal),
    );
    await check('clock', async () => clockCheck(view));
    await check('seal', async () => await sealCheck(deps, active, signal));
  }
  await check('recipients', async () => {
    const sealKeyIds = [
      ...(previous?.archive.seal.keyIds ?? []),
      ...(deps.sealKms === null ? [] : [deps.sealKms.keyId]),
    ];
    const keys = { kms: deps.kms, breakGlass: deps.breakGlass, sealKeyIds };
    const { cautions } = await checkRecipients(deps.recipientPolicy, keys, signal);
    if (cautions.length > 0) return { status: 'warning', detail: cautions.join('; ') };
    return {
      status: 'ok',
      detail: `${deps.kms.length} KMS key(s), ${deps.breakGlass.length} break-glass recipient(s)`,
    };
  });
  await check('spool', async () => {
    const needed = previous === null ? FIRST_SNAPSHOT_BYTES : Math.ceil(previous.ciphertext.bytes * GROWTH);
    const { freeBytes } = await checkRoom(deps.spool, needed);
    return { status: 'ok', detail: `about ${formatBytes(needed)} needed, ${formatBytes(freeBytes)} free` };
  });
  await check('destinations', async () => await destinationsCheck(deps, result, signal));
  return result;
}

/** A hundred refusals have one reason, and the detail becomes a line of the manifest. */
function shortened(messages: readonly string[]): string[] {
  const more = messages.length - SHOWN_MESSAGES;
  return more <= 0 ? [...messages] : [...messages.slice(0, SHOWN_MESSAGES), `and ${more} more`];
}

/** The error that a failed preflight means for a backup, or null when it may go on. */
export function preflightFailure(checks: readonly Check[]): StrongroomError | null {
  return checks.find((check) => check.error !== undefined)?.error ?? null;
}

/**
 * Is the seal's key usable? While it is not, the server answers 200 with a truncated archive and says that it is
 * healthy; only an Encrypt of our own on that key tells.
 */
export async function probeSeal(
  deps: BackupDeps,
  active: ActiveNode,
  signal: AbortSignal,
): Promise<StrongroomError | null> {
  const refuse = (why: string, cause?: unknown): StrongroomError =>
    new StrongroomError('E_SEAL_UNHEALTHY', `the seal's key cannot be used, so no valid snapshot is possible: ${why}`, {
      hint: 'bring the KMS key back first, and do not restart or reschedule any unsealed node until then',
      cause,
    });
  if (deps.sealKms !== null) {
    try {
      await deps.sealKms.check(signal);
      await deps.sealKms.wrap(new Secret('probe'), { cluster: deps.cluster, snapshot: 'seal-probe' }, signal);
    } catch (e) {
      signal.throwIfAborted();
      return refuse(describeError(e), e);
    }
    return null;
  }
  const backend = await active.sealBackendStatus(signal);
  return backend !== null && !backend.healthy ? refuse(`${active.url} reports its seal backend as unhealthy`) : null;
}

async function sealCheck(deps: BackupDeps, active: ActiveNode, signal: AbortSignal): Promise<Omit<Check, 'name'>> {
  const error = await probeSeal(deps, active, signal);
  if (error !== null) return { status: 'failed', detail: error.message, error };
  if (active.view.sealType === 'shamir') return { status: 'ok', detail: 'shamir: no KMS involved' };
  if (deps.sealKms === null) {
    return {
      status: 'not checked',
      detail: `seal ${active.view.sealType ?? 'unknown'}: set sealKms to have its key probed (the server itself cannot tell)`,
    };
  }
  return { status: 'ok', detail: `encrypted with ${deps.sealKms.keyId}` };
}

function identityCheck(active: ActiveNode, before: string | null, options: BackupOptions): Omit<Check, 'name'> {
  const { clusterId } = active.view;
  if (before === null || clusterId === null || clusterId === before) {
    return { status: 'ok', detail: `cluster id ${clusterId ?? 'unknown'}` };
  }
  const detail = `the cluster id is ${clusterId}, but that of the last good snapshot is ${before}`;
  if (options.newLineage) return { status: 'warning', detail };
  const error = new StrongroomError('E_PRECONDITION', detail, {
    hint: 'check the configured nodes; if the cluster was made anew on purpose, run the backup once with --new-lineage',
  });
  return { status: 'failed', detail, error };
}

/** Quorum with what is reachable now, and an index that continues the last good snapshot's. */
async function raftCheck(
  active: ActiveNode,
  view: ClusterView,
  previous: Manifest | null,
  options: BackupOptions,
  signal: AbortSignal,
): Promise<Omit<Check, 'name'>> {
  const voters = (await active.raftConfiguration(signal)).filter(({ voter }) => voter).length;
  const alive = view.nodes.filter(({ state }) => state === 'active' || state === 'standby').length;
  const quorum = quorumOf(voters);
  const index = active.view.raftAppliedIndex;
  const before = previous?.archive.raft.index ?? null;
  if (index !== null && before !== null && index < before) {
    const detail = `the node is at index ${index}, but snapshot ${previous?.snapshot ?? ''} was taken at ${before}`;
    if (options.newLineage) return { status: 'warning', detail };
    const error = new StrongroomError('E_SNAPSHOT_STALE', detail, {
      hint: 'if an older state was restored on purpose, run the backup once with --new-lineage',
      retryable: false,
    });
    return { status: 'failed', detail, error };
  }
  const detail = `index ${index ?? 'unknown'}, ${alive} of ${voters} voter(s) answer, quorum is ${quorum}`;
  // Nodes that are not configured cannot be asked: then fewer answer than live, and nothing follows from it.
  const isTight = view.nodes.length >= voters && voters > 1 && alive <= quorum;
  return isTight
    ? { status: 'warning', detail: `${detail}: one more loss stops the cluster` }
    : { status: 'ok', detail };
}

async function membersCheck(
  deps: BackupDeps,
  active: ActiveNode,
  previous: readonly { id: string; address: string }[] | null,
  signal: AbortSignal,
): Promise<Omit<Check, 'name'>> {
  const members = await active.raftConfiguration(signal);
  const servers = members.map(({ node_id: id, address }) => ({ id, address }));
  const warnings = compareMembers(servers, deps.members, previous);
  const voters = members.filter(({ voter }) => voter).length;
  if (warnings.length > 0) return { status: 'warning', detail: warnings.join('; ') };
  return { status: 'ok', detail: `${voters} voter(s): ${servers.map(({ id }) => id).join(', ')}` };
}

function clockCheck(view: ClusterView): Omit<Check, 'name'> {
  const skews = view.nodes.flatMap(({ url, clockSkewMs }) => (clockSkewMs === null ? [] : [{ url, ms: clockSkewMs }]));
  const worst = skews.reduce<(typeof skews)[number] | null>(
    (max, skew) => (max === null || Math.abs(skew.ms) > Math.abs(max.ms) ? skew : max),
    null,
  );
  if (worst === null) return { status: 'not checked', detail: 'no node told its time' };
  const detail = `${worst.url} differs by ${formatDuration(Math.abs(worst.ms))} from this machine`;
  return { status: Math.abs(worst.ms) > SKEW_WARNING_MS ? 'warning' : 'ok', detail };
}

async function destinationsCheck(
  deps: BackupDeps,
  result: Preflight,
  signal: AbortSignal,
): Promise<Omit<Check, 'name'>> {
  const failures: StrongroomError[] = [];
  await Promise.all(
    deps.destinations.map(async (destination) => {
      const { store } = destination;
      try {
        await store.probeWrite(kindPrefix(deps.cluster, 'data'), { signal, ...lockOf(destination, deps.clock.now()) });
        result.writable.push(store.name);
      } catch (e) {
        signal.throwIfAborted();
        if (!isError(e)) throw e;
        failures.push(e);
      }
    }),
  );
  const [first] = failures;
  const detail = failures.map((e) => e.message).join('; ');
  if (first === undefined) return { status: 'ok', detail: `writable: ${result.writable.join(', ')}` };
  if (result.writable.length >= deps.requiredCopies) return { status: 'warning', detail };
  return { status: 'failed', detail, error: first };
}
