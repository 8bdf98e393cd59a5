/**
 * How safe one cluster is, by what its destinations hold: read here, judged in verdict.ts. Ages are counted when they are
 * asked for, so a status that was read a while ago never makes a backup look younger than it is.
 */
import type { Catalogue, VerifiedManifest } from '../catalogue/catalogue.ts';
import type { RunRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { proofTime } from '../snapshots/choose-copies.ts';

export type DestinationStatus = {
  name: string;
  /** newest good backup whose manifest this destination itself holds; null = none */
  newest: { snapshot: SnapshotId; at: Date } | null;
  /** when a copy here was last read in full and found good; null = never since its backup */
  lastProofAt: Date | null;
  /** copies whose last reading was bad */
  badCopies: number;
  /** why it could not be asked; the rest is then as good as unknown */
  problem: StrongroomError | null;
};

export type JobStatus = {
  /** the newest run with a believable record */
  last: RunRecord | null;
  /** the newest one that kept every promise */
  lastDone: RunRecord | null;
  /** runs that failed since then */
  failuresSince: number;
};

export type ClusterStatus = {
  cluster: string;
  readAt: Date;
  /** newest good backup that any destination holds */
  newest: VerifiedManifest | null;
  /** newest good backup of the whole promise: every configured destination holds a copy */
  newestWhole: { snapshot: SnapshotId; at: Date } | null;
  /** manifests newer than `newest` that were refused: somebody should look */
  refused: StrongroomError[];
  destinations: DestinationStatus[];
  jobs: Record<string, JobStatus>;
};

export type StatusDeps = {
  catalogue: Catalogue;
  records: Records;
  /** names of the configured destinations of the cluster */
  destinations: readonly string[];
};

/** Older runs say nothing of today. */
const RUNS_OF_MS = 40 * 86_400_000;
/** A job that failed this often in a row is broken, however long already. */
const MAX_FAILURES_READ = 20;

/**
 * Reads the status. A destination that does not answer is a `problem` of it; rejects when none answers, with the error of
 * the first. Requests: for each destination a pointer, a listing and a manifest; for each job its newest runs.
 */
export async function readStatus(deps: StatusDeps, now: Date, signal: AbortSignal): Promise<ClusterStatus> {
  const { newest, skipped } = await deps.catalogue.latest(signal);
  const { names: proofs } = await deps.records.proofs(signal);
  const destinations = await Promise.all(
    deps.destinations.map(async (name) => await readDestination(deps, name, proofs, signal)),
  );
  return {
    cluster: deps.catalogue.cluster,
    readAt: now,
    newest,
    newestWhole: await newestWhole(deps, destinations, newest, signal),
    refused: skipped,
    destinations,
    jobs: await readJobs(deps.records, now, signal),
  };
}

async function readDestination(
  { catalogue }: StatusDeps,
  name: string,
  proofs: Awaited<ReturnType<Records['proofs']>>['names'],
  signal: AbortSignal,
): Promise<DestinationStatus> {
  // By snapshot and then by time: the last one of a snapshot is what counts.
  const last = new Map(
    proofs.filter(({ destination }) => destination === name).map((proof) => [proof.snapshot, proof]),
  );
  const good = [...last.values()].filter(({ verdict }) => verdict === 'good');
  const times = good.map(({ proof }) => proofTime(proof).getTime());
  const known = {
    name,
    lastProofAt: times.length === 0 ? null : new Date(Math.max(...times)),
    badCopies: last.size - good.length,
  };
  try {
    const { newest } = await catalogue.only(name).latest(signal);
    return { ...known, newest: newest === null ? null : entryOf(newest), problem: null };
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return { ...known, newest: null, problem: e };
  }
}

/** The newest backup that all destinations have by their own word; most often it is simply the newest. */
async function newestWhole(
  { catalogue, destinations: names }: StatusDeps,
  destinations: readonly DestinationStatus[],
  newest: VerifiedManifest | null,
  signal: AbortSignal,
): Promise<ClusterStatus['newestWhole']> {
  if (newest === null || destinations.some((one) => one.newest === null)) return null;
  const id = newest.manifest.snapshot;
  if (destinations.every((one) => one.newest?.snapshot === id) && isWhole(newest, names)) return entryOf(newest);
  const { entries } = await catalogue.list(signal);
  for (const { snapshot, destinations: holders } of entries.toReversed()) {
    if (!names.every((name) => holders.includes(name))) continue;
    try {
      const found = await catalogue.read(snapshot, signal);
      if (found.manifest.purpose === 'backup' && isWhole(found, names)) return entryOf(found);
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
    }
  }
  return null;
}

function isWhole({ manifest, refused }: VerifiedManifest, names: readonly string[]): boolean {
  const stored = manifest.destinations.filter(({ status }) => status === 'stored').map(({ name }) => name);
  return refused.length === 0 && names.every((name) => stored.includes(name));
}

async function readJobs(records: Records, now: Date, signal: AbortSignal): Promise<Record<string, JobStatus>> {
  const { names } = await records.runs(new Date(now.getTime() - RUNS_OF_MS), signal);
  const jobs: Record<string, JobStatus> = {};
  for (const name of names.toReversed()) {
    const status = (jobs[name.job] ??= { last: null, lastDone: null, failuresSince: 0 });
    if (status.lastDone !== null || status.failuresSince >= MAX_FAILURES_READ) continue;
    try {
      const record = await records.readRun(name, signal);
      status.last ??= record;
      if (record.outcome === 'done') status.lastDone = record;
      else status.failuresSince += 1;
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
    }
  }
  return jobs;
}

function entryOf({ manifest }: VerifiedManifest): { snapshot: SnapshotId; at: Date } {
  const snapshot = manifest.snapshot as SnapshotId;
  return { snapshot, at: snapshotTime(snapshot) };
}
