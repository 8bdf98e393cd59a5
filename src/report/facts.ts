/** What the destinations tell of one month of one cluster. Nothing is judged here, and nothing is asked of a queue. */
import type { Catalogue, VerifiedManifest } from '../catalogue/catalogue.ts';
import { readHolds } from '../catalogue/holds.ts';
import type { HoldRecord, RunRecord } from '../catalogue/record-types.ts';
import type { Records, RunName } from '../catalogue/records.ts';
import { isError } from '../core/errors.ts';
import { type RunId, type SnapshotId, snapshotTime } from '../core/ids.ts';
import { proofTime } from '../snapshots/choose-copies.ts';
import { copyKey, newestBelievable, proofsByCopy } from '../snapshots/proofs.ts';
import type { Month } from './month.ts';

/** One good backup: of its manifest where that is still there, else of the record of the run that made it. */
export type BackupFact = { snapshot: SnapshotId; at: Date; bytes: number | null; records: number | null };

export type CopyFact = {
  snapshot: SnapshotId;
  destination: string;
  /** the newest reading that can be believed; null = it was not read since it was stored */
  proof: { verdict: 'good' | 'bad'; at: Date } | null;
};

export type MonthFacts = {
  cluster: string;
  month: Month;
  /** when they were read */
  now: Date;
  /** that began in the month, oldest first */
  runs: RunRecord[];
  /** oldest first, the last one before the month included */
  backups: BackupFact[];
  /** copies that there are now */
  copies: CopyFact[];
  /** in force now */
  holds: HoldRecord[];
  /** what could not be read or believed: the report lacks it */
  lacks: string[];
};

/** A backup older than this before the month is found by its manifest or not at all, in milliseconds. */
const LOOK_BACK_MS = 32 * 86_400_000;
/** Small objects asked for at the same time. */
const AT_ONCE = 8;

/**
 * Reads the facts. Requests: the listings of each destination, a manifest for each snapshot of the month that is left, a record
 * for each run of it and for each copy. Rejects when no destination answers; with one that is away, or what cannot be believed, in `lacks`.
 */
export async function readMonth(
  { catalogue, records }: { catalogue: Catalogue; records: Records },
  month: Month,
  now: Date,
  signal: AbortSignal,
): Promise<MonthFacts> {
  const lacks: string[] = [];
  const { entries, failures } = await catalogue.list(signal);
  for (const { message } of failures) lacks.push(message);
  const runs = await readRuns(records, month, lacks, signal);
  const facts: MonthFacts = {
    cluster: catalogue.cluster,
    month,
    now,
    runs: runs.filter(({ startedAt }) => isWithin(month, new Date(startedAt))),
    backups: [],
    copies: [],
    holds: await holdsNow(records, now, lacks, signal),
    lacks,
  };
  const ids = entries.map(({ snapshot }) => snapshot).filter((id) => snapshotTime(id) < month.to);
  facts.backups = merge(await readBackups(catalogue, ids, month, lacks, signal), runs, month);
  const proofs = proofsByCopy((await records.proofs(signal)).names);
  const copies = entries.flatMap(({ snapshot, destinations }) =>
    destinations.map((destination) => ({ snapshot, destination })),
  );
  facts.copies = await eachOf(copies, async (copy): Promise<CopyFact> => {
    const names = proofs.get(copyKey(copy)) ?? [];
    const record = await told(lacks, signal, () => newestBelievable(records, names, signal));
    if (record === null || record.level === 'checksum') return { ...copy, proof: null };
    return { ...copy, proof: { verdict: record.verdict, at: proofTime(record.proof as RunId) } };
  });
  return facts;
}

/** Those of the month, and before them the newest run that made a backup. */
async function readRuns(records: Records, month: Month, lacks: string[], signal: AbortSignal): Promise<RunRecord[]> {
  const { names } = await records.runs(new Date(month.from.getTime() - LOOK_BACK_MS), signal);
  const read = (name: RunName) => told(lacks, signal, () => records.readRun(name, signal));
  const inMonth = names.filter(({ run }) => proofTime(run) >= month.from && proofTime(run) < month.to);
  const found = (await eachOf(inMonth, read)).filter((record) => record !== null);
  for (const name of names.filter(({ run, job }) => job === 'backup' && proofTime(run) < month.from).toReversed()) {
    const before = await read(name);
    if (before !== null && before.outcome !== 'failed' && before.snapshot !== null) return [before, ...found];
  }
  return found;
}

/** Manifests of the month, and the newest good one before it. */
async function readBackups(
  catalogue: Catalogue,
  ids: readonly SnapshotId[],
  month: Month,
  lacks: string[],
  signal: AbortSignal,
): Promise<VerifiedManifest[]> {
  const isBackup = (found: VerifiedManifest | null): found is VerifiedManifest =>
    found !== null && found.manifest.purpose === 'backup';
  const inMonth = ids.filter((id) => snapshotTime(id) >= month.from);
  const read = (id: SnapshotId) => told(lacks, signal, () => catalogue.read(id, signal));
  const found = (await eachOf(inMonth, read)).filter(isBackup);
  for (const id of ids.filter((earlier) => snapshotTime(earlier) < month.from).toReversed()) {
    const before = await read(id);
    if (isBackup(before)) return [before, ...found];
  }
  return found;
}

/** Retention may have removed a snapshot since: that its backup was good when it ended is still true. */
function merge(manifests: readonly VerifiedManifest[], runs: readonly RunRecord[], month: Month): BackupFact[] {
  const facts = new Map<SnapshotId, BackupFact>();
  for (const { job, outcome, snapshot } of runs) {
    if (job !== 'backup' || outcome === 'failed' || snapshot === null) continue;
    const id = snapshot as SnapshotId;
    const at = snapshotTime(id);
    if (at < month.to) facts.set(id, { snapshot: id, at, bytes: null, records: null });
  }
  for (const { manifest } of manifests) {
    const id = manifest.snapshot as SnapshotId;
    const { bytes, state } = manifest.archive;
    facts.set(id, { snapshot: id, at: snapshotTime(id), bytes, records: state.records });
  }
  const sorted = [...facts.values()].sort((a, b) => a.at.getTime() - b.at.getTime());
  const first = sorted.findIndex(({ at }) => at >= month.from);
  return first === -1 ? sorted.slice(-1) : sorted.slice(Math.max(0, first - 1));
}

/** In force now, oldest first. What cannot be believed, and who does not answer, is in `lacks`. */
async function holdsNow(records: Records, now: Date, lacks: string[], signal: AbortSignal): Promise<HoldRecord[]> {
  const found = await told(lacks, signal, () => readHolds(records, now, signal));
  if (found === null) return [];
  const { holds, refused, failures } = found;
  for (const { message } of [...refused, ...failures]) lacks.push(message);
  return [...holds.values()].toSorted((a, b) => (a.snapshot < b.snapshot ? -1 : 1));
}

function isWithin({ from, to }: Month, time: Date): boolean {
  return time >= from && time < to;
}

/** null = not readable or not believable, which is in `lacks` then; what nobody has is just not there. */
async function told<T>(lacks: string[], signal: AbortSignal, read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    if (e.code !== 'E_NOT_FOUND') lacks.push(e.message);
    return null;
  }
}

async function eachOf<T, R>(items: readonly T[], ask: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  const queue = items.entries();
  const asker = async (): Promise<void> => {
    for (const [i, item] of queue) answers[i] = await ask(item);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, asker));
  return answers;
}
