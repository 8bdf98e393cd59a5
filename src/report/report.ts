/** The month as numbers: from the facts, and from nothing else. Pure. */
import type { RunRecord } from '../catalogue/record-types.ts';
import type { BackupFact, MonthFacts } from './facts.ts';

export type JobCounts = { job: string; done: number; partly: number; failed: number };

/** A time without a good backup, in milliseconds. */
export type Gap = { from: string; to: string; ms: number };

export type Size = { snapshot: string; at: string; bytes: number; records: number };

export type Report = {
  cluster: string;
  month: string;
  from: string;
  to: string;
  /** false = the month still runs, and the numbers are those up to `to` */
  isOver: boolean;
  /** worst first */
  jobs: JobCounts[];
  /** share of the backup runs that kept the whole promise, 0 to 1; null = none ran */
  backupSuccess: number | null;
  /** good backups that began in the month */
  backups: number;
  /** between two good backups, or since the last one: the measured RPO; null = there was never one before the end of the month */
  longestGap: Gap | null;
  /** of the newest good backup when the month ended, or now, in milliseconds; null = there was none */
  age: number | null;
  sizes: { start: Size | null; end: Size | null };
  copies: { proven: number; unproven: number; bad: { snapshot: string; destination: string; at: string }[] };
  /** what failed most, the most frequent first */
  failures: { job: string; code: string; count: number; last: string; message: string }[];
  holds: { snapshot: string; who: string; why: string; until: string | null }[];
  next: { job: string; due: string }[];
  lacks: string[];
};

/** Codes that are told; a month in which more went wrong has one cause or needs more than a page. */
const MAX_FAILURES = 10;

/** `next` are the due times of the configured jobs after `facts.now`. */
export function composeReport(facts: MonthFacts, next: readonly { job: string; due: Date }[]): Report {
  const { month, runs, backups, copies } = facts;
  const jobs = countByJob(runs);
  const backup = jobs.find(({ job }) => job === 'backup');
  const all = backup === undefined ? 0 : backup.done + backup.partly + backup.failed;
  const newest = backups.at(-1);
  const bad = copies.filter(({ proof }) => proof?.verdict === 'bad');
  return {
    cluster: facts.cluster,
    month: month.name,
    from: month.from.toISOString(),
    to: month.to.toISOString(),
    isOver: month.isOver,
    jobs,
    backupSuccess: backup === undefined ? null : backup.done / all,
    backups: backups.filter(({ at }) => at >= month.from).length,
    longestGap: longestGap(backups, month.to),
    age: newest === undefined ? null : month.to.getTime() - newest.at.getTime(),
    sizes: sizesOf(backups),
    copies: {
      proven: copies.filter(({ proof }) => proof?.verdict === 'good').length,
      unproven: copies.filter(({ proof }) => proof === null).length,
      bad: bad.map(({ snapshot, destination, proof }) => ({
        snapshot,
        destination,
        at: proof?.at.toISOString() ?? '',
      })),
    },
    failures: failuresOf(runs),
    holds: facts.holds.map(({ snapshot, who, why, until }) => ({ snapshot, who, why, until })),
    next: next
      .toSorted((a, b) => a.due.getTime() - b.due.getTime())
      .map(({ job, due }) => ({ job, due: due.toISOString() })),
    lacks: [...new Set(facts.lacks)],
  };
}

function countByJob(runs: readonly RunRecord[]): JobCounts[] {
  const jobs = new Map<string, JobCounts>();
  for (const { job, outcome } of runs) {
    const counts = jobs.get(job) ?? { job, done: 0, partly: 0, failed: 0 };
    counts[outcome] += 1;
    jobs.set(job, counts);
  }
  const kept = ({ done, partly, failed }: JobCounts): number => done / (done + partly + failed);
  return [...jobs.values()].sort((a, b) => kept(a) - kept(b) || (a.job < b.job ? -1 : 1));
}

/** Before the first backup that ever was there is no gap; behind the last one there is, up to `end`. */
function longestGap(backups: readonly BackupFact[], end: Date): Gap | null {
  let longest: Gap | null = null;
  for (const [i, { at }] of backups.entries()) {
    const to = backups[i + 1]?.at ?? end;
    const ms = to.getTime() - at.getTime();
    if (longest === null || ms > longest.ms) longest = { from: at.toISOString(), to: to.toISOString(), ms };
  }
  return longest;
}

/** The backup before the month is what it began with. Where the manifest is gone the size is not known. */
function sizesOf(backups: readonly BackupFact[]): Report['sizes'] {
  const sizes = backups.flatMap(({ snapshot, at, bytes, records }): Size[] =>
    bytes === null || records === null ? [] : [{ snapshot, at: at.toISOString(), bytes, records }],
  );
  return { start: sizes[0] ?? null, end: sizes.at(-1) ?? null };
}

function failuresOf(runs: readonly RunRecord[]): Report['failures'] {
  const failures = new Map<string, Report['failures'][number]>();
  for (const { job, outcome, error, missing, startedAt } of runs) {
    if (outcome === 'done') continue;
    const code = error?.code ?? 'E_PARTIAL';
    const key = `${job} ${code}`;
    const count = (failures.get(key)?.count ?? 0) + 1;
    failures.set(key, { job, code, count, last: startedAt, message: error?.message ?? missing.join('; ') });
  }
  return [...failures.values()].sort((a, b) => b.count - a.count || (a.last < b.last ? 1 : -1)).slice(0, MAX_FAILURES);
}
