/**
 * How safe one cluster is, by what its destinations hold: read here, judged in verdict.ts. Ages are counted when they are
 * asked for, so a status that was read a while ago never makes a backup look younger than it is.
 */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { BackupFact, ClusterStatus, JobStatus, StatusDeps } from './cluster-status.ts';
import { readDestination } from './destination-status.ts';
import { readJobs } from './job-status.ts';
import { readMembers } from './membership.ts';
import { type ProofStatus, readProofs } from './proof-status.ts';
import { RecordMemory } from './record-memory.ts';
import { findWhole } from './whole.ts';

/**
 * Reads the status. A destination that does not answer is `away`; when none answers everything is unknown. Rejects on
 * abort, and with a defect. `memory` keeps records that were read before: they never change. Requests, for each
 * destination: pointer, listing and manifest of the newest; a HEAD for each of its objects; listings of runs and proofs. Of
 * all together: the manifests of a few backups before the newest, for their members.
 */
export async function readStatus(
  deps: StatusDeps,
  now: Date,
  signal: AbortSignal,
  memory: RecordMemory = new RecordMemory(),
): Promise<ClusterStatus> {
  const read = await Promise.all(deps.stores.map((store) => readDestination(deps, store, now, signal)));
  const answering = read.filter(({ status }) => status.away === null).map(({ status }) => status.name);
  const status: ClusterStatus = {
    cluster: deps.catalogue.cluster,
    readAt: answering.length === 0 ? null : now,
    newest: latestOf(read.map(({ status }) => status.newest)),
    newestWhole: null,
    isWholeKnown: false,
    fromTheFuture: [...new Set(read.flatMap(({ fromTheFuture }) => fromTheFuture))],
    destinations: read.map(({ status }) => status),
    members: [],
    jobs: null,
    recordsProblem: null,
  };
  if (answering.length === 0) return status;
  const [whole, records, members] = await Promise.all([
    answering.length === deps.stores.length ? findWhole(deps, status.destinations, now, signal) : null,
    readRecords(deps, answering, now, signal, memory),
    readMembers(deps, answering, status.newest, memory.members, signal),
  ]);
  if (whole !== null) {
    status.isWholeKnown = whole.isKnown;
    status.newestWhole = whole.newestWhole;
  }
  for (const destination of status.destinations) {
    const { name } = destination;
    destination.away ??= whole?.away.get(name) ?? null;
    destination.problems.push(...(whole?.problems.get(name) ?? []));
    destination.copiesMissing = whole?.missing.get(name) ?? null;
    const proof = records.proofs?.get(name);
    if (proof === undefined) continue;
    destination.lastProofAt = proof.lastGoodAt;
    destination.badCopies = proof.badCopies;
  }
  return { ...status, members, jobs: records.jobs, recordsProblem: records.problem };
}

async function readRecords(
  { records, catalogue, stores }: StatusDeps,
  answering: readonly string[],
  now: Date,
  signal: AbortSignal,
  memory: RecordMemory,
): Promise<{
  proofs: Map<string, ProofStatus> | null;
  jobs: Record<string, JobStatus> | null;
  problem: StrongroomError | null;
}> {
  // Records are written everywhere, and each read of one that is away would cost a minute.
  const known = memory.over(records.only(...answering));
  const names = stores.map(({ name }) => name);
  const [proofs, jobs] = await Promise.allSettled([
    readProofs(known, catalogue.only(...answering), names, now, signal),
    readJobs(known, now, signal),
  ]);
  signal.throwIfAborted();
  let problem: StrongroomError | null = null;
  for (const result of [proofs, jobs]) {
    if (result.status === 'fulfilled') continue;
    if (!isError(result.reason)) throw result.reason;
    problem ??= result.reason;
  }
  return {
    proofs: proofs.status === 'fulfilled' ? proofs.value : null,
    jobs: jobs.status === 'fulfilled' ? jobs.value : null,
    problem,
  };
}

function latestOf(backups: readonly (BackupFact | null)[]): BackupFact | null {
  return backups.reduce(
    (best, one) => (one !== null && (best === null || one.snapshot > best.snapshot) ? one : best),
    null,
  );
}
