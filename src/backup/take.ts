/** From the active node to the encrypted spool: snapshot, verify, encrypt. Repeated where that may help. */
import type { ArchiveReport } from '../archive/report.ts';
import { verifyArchive } from '../archive/verify.ts';
import { CODES, EXIT, isError, StrongroomError } from '../core/errors.ts';
import { flow, measure } from '../core/flow.ts';
import type { SnapshotId } from '../core/ids.ts';
import { retry } from '../core/retry.ts';
import { type Container, newContainer } from '../crypt/container.ts';
import { wrapIdentity } from '../crypt/keyring.ts';
import type { Sidecar } from '../crypt/sidecar.ts';
import type { SpoolFile } from '../spool/spool.ts';
import type { ActiveNode } from '../vault/active-node.ts';
import { takeSnapshot } from '../vault/snapshot.ts';
import type { BackupDeps } from './options.ts';
import { probeSeal } from './preflight.ts';

export type Taken = {
  node: ActiveNode;
  report: ArchiveReport;
  container: Container;
  sidecar: Sidecar;
  attempts: number;
};

const MAX_RETRY_WAIT_MS = 30_000;
/** How often the nodes are asked during an election: quickly at first, then once a second. */
const ELECTION_POLL = { attempts: Number.POSITIVE_INFINITY, baseMs: 250, maxMs: 1_000 };

/**
 * Fills `spool` with one verified, encrypted snapshot. A new identity for every attempt: no key ever covers two bodies.
 * Rejects with the last attempt's error, its cause named where it could be found out.
 */
export async function takeVerified(
  deps: BackupDeps,
  snapshot: SnapshotId,
  spool: SpoolFile,
  signal: AbortSignal,
): Promise<Taken> {
  let waitedInVain: unknown;
  return await retry(
    { attempts: deps.limits.attempts, baseMs: deps.limits.retryBaseMs, maxMs: MAX_RETRY_WAIT_MS },
    async (attempt) => {
      const node = await electedNode(deps, signal).catch((e: unknown) => {
        waitedInVain = e;
        throw e;
      });
      try {
        return { ...(await takeOnce(deps, snapshot, node, spool, signal)), attempts: attempt };
      } catch (e) {
        throw await explain(deps, node, e, signal);
      }
    },
    signal,
    {
      retryable: (e) => isError(e) && e.retryable && e !== waitedInVain,
      onRetry: (e, attempt, waitMs) => {
        const error = isError(e) ? e.toJSON() : String(e);
        deps.log.warn({ cluster: deps.cluster, snapshot, attempt, waitMs, error }, 'the snapshot is tried again');
        deps.onProgress({ stage: 'snapshot', message: `attempt ${attempt} failed, next in ${waitMs} ms` });
      },
    },
  );
}

/**
 * The active node, waited for through an election: a leader that died is replaced after seconds in which every question
 * is answered by "nobody". Rejects with the last answer when nobody leads within the limit.
 */
async function electedNode(deps: BackupDeps, signal: AbortSignal): Promise<ActiveNode> {
  const until = performance.now() + deps.limits.electionMs;
  const passes = (e: unknown): boolean => isError(e) && e.retryable && CODES[e.code].exit === EXIT.cluster;
  return await retry(ELECTION_POLL, () => deps.vault.active(signal), signal, {
    retryable: (e) => passes(e) && performance.now() < until,
  });
}

async function takeOnce(
  deps: BackupDeps,
  snapshot: SnapshotId,
  node: ActiveNode,
  spool: SpoolFile,
  signal: AbortSignal,
): Promise<Omit<Taken, 'attempts'>> {
  const container = await newContainer(deps.breakGlass);
  // Wrapped before Vault is asked for anything: with no key to wrap under, there is no use in a snapshot.
  const sidecar = await wrapIdentity(
    container.identity,
    { cluster: deps.cluster, snapshot },
    { kms: deps.kms, breakGlass: deps.breakGlass, policy: deps.recipientPolicy, now: deps.clock.now() },
    signal,
  );
  const verify = verifyArchive({ signal });
  const watch = measure((bytes) => deps.onProgress({ stage: 'snapshot', bytes }));
  await flow(
    takeSnapshot(node, { signal, deadlineMs: deps.limits.snapshotTimeoutMs }),
    [watch, verify.stage, container.encrypt],
    spool.write,
    signal,
  );
  return { node, report: await verify.report, container, sidecar };
}

/** A stump has many causes and one look. Asks who could know: the seal's key, and whoever is active now. */
async function explain(deps: BackupDeps, node: ActiveNode, e: unknown, signal: AbortSignal): Promise<unknown> {
  signal.throwIfAborted();
  if (!isError(e, 'E_SNAPSHOT_TRUNCATED') && !isError(e, 'E_SNAPSHOT_UNSEALED') && !isError(e, 'E_VAULT_UNREACHABLE')) {
    return e;
  }
  const sealError = await probeSeal(deps, node, signal).catch(() => null);
  signal.throwIfAborted();
  if (sealError !== null) {
    return new StrongroomError('E_SEAL_UNHEALTHY', sealError.message, { hint: sealError.hint ?? '', cause: e });
  }
  const now = await deps.vault.active(signal).catch(() => null);
  signal.throwIfAborted();
  const what = now === null ? 'no node is active now' : `the active node is now ${now.url}`;
  if (now !== null && now.url === node.url) return e;
  return new StrongroomError(e.code, `${e.message}; ${what}`, {
    ...(e.hint === undefined ? {} : { hint: e.hint }),
    details: e.details,
    retryable: true,
    cause: e,
  });
}
