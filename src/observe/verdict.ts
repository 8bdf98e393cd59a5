/** What a status means: good, to be watched, or bad, and why. Pure. */
import { formatDuration } from '../core/units.ts';
import { type ClusterStatus, type DestinationStatus, type JobStatus, PUBLISHING_MS } from './cluster-status.ts';
import { driftOf, type MembershipRules } from './membership.ts';

/** `unknown` = there is nothing to judge by; worse than a warning, for nobody knows how bad it is. */
export const LEVELS = ['ok', 'warning', 'unknown', 'critical'] as const;
export type Level = (typeof LEVELS)[number];

export type Reason = { level: Exclude<Level, 'ok'>; text: string };

export type Verdict = {
  level: Level;
  /** age of the newest backup of the whole promise, in milliseconds; null = there is none, or nobody knows */
  ageMs: number | null;
  /** worst first, each one sentence; empty = all is well */
  reasons: Reason[];
};

export type Limits = {
  /** older than this is critical, in milliseconds; null = nobody said how old a backup may be */
  maxAgeMs: number | null;
  /** a last proof older than this is a warning, in milliseconds; null = proofs are not asked for */
  maxProofAgeMs: number | null;
  /** what was read longer ago says nothing of now, in milliseconds; null = it was read just now */
  maxStatusAgeMs: number | null;
  /** who may be a raft member; absent = what changed between backups is undeclared */
  membership?: MembershipRules;
};

/** Nobody said anything about the members. */
export const UNDECLARED: MembershipRules = { inventory: [], windows: [] };

/**
 * The backup counts whose copies are in all destinations. One that is newer and not whole is worth a warning, and does not
 * make the cluster look safer than it is. What is unknown is never taken for good.
 */
export function judge(status: ClusterStatus, limits: Limits, now: Date): Verdict {
  const ageMs = status.newestWhole === null ? null : now.getTime() - status.newestWhole.at.getTime();
  const reasons = [
    ...judgeReading(status, limits, now),
    ...judgeAge(status, ageMs, limits),
    ...judgeNewer(status, now),
    ...judgeMembers(status, limits, now),
    ...status.destinations.flatMap((destination) => judgeDestination(destination, limits, now)),
    ...Object.entries(status.jobs ?? {}).flatMap(([job, runs]) => judgeJob(job, runs)),
  ];
  reasons.sort((a, b) => LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level));
  return { level: reasons[0]?.level ?? 'ok', ageMs, reasons };
}

/** The worst of several; `ok` for none. */
export function worst(levels: readonly Level[]): Level {
  return levels.reduce<Level>((bad, one) => (LEVELS.indexOf(one) > LEVELS.indexOf(bad) ? one : bad), 'ok');
}

function judgeReading({ readAt, recordsProblem }: ClusterStatus, limits: Limits, now: Date): Reason[] {
  const reasons: Reason[] = [];
  if (readAt === null) reasons.push({ level: 'critical', text: 'no destination has answered' });
  const age = readAt === null ? 0 : now.getTime() - readAt.getTime();
  if (limits.maxStatusAgeMs !== null && age > limits.maxStatusAgeMs) {
    reasons.push({ level: 'critical', text: `its destinations were last read ${formatDuration(age)} ago` });
  }
  if (recordsProblem !== null) {
    reasons.push({ level: 'warning', text: `runs or proofs cannot be read: ${recordsProblem.message}` });
  }
  return reasons;
}

function judgeAge(status: ClusterStatus, ageMs: number | null, { maxAgeMs }: Limits): Reason[] {
  if (ageMs === null) {
    if (status.isWholeKnown) {
      const text = status.newest === null ? 'there is no backup' : 'no backup is whole in every destination';
      return [{ level: 'critical', text }];
    }
    return [{ level: 'critical', text: 'nobody can say which backup is whole: not every destination answers' }];
  }
  if (maxAgeMs === null) {
    return [{ level: 'unknown', text: 'nobody said how old a backup may be; set limits.maxAge or schedule.backup' }];
  }
  if (ageMs <= maxAgeMs) return [];
  const text = `the newest whole backup is ${formatDuration(ageMs)} old, ${formatDuration(maxAgeMs)} at most`;
  return [{ level: 'critical', text }];
}

function judgeNewer({ newest, newestWhole, isWholeKnown, fromTheFuture }: ClusterStatus, now: Date): Reason[] {
  const reasons: Reason[] = fromTheFuture.map((snapshot) => ({
    level: 'warning',
    text: `${snapshot} is dated in the future and counts for nothing: look at the clocks`,
  }));
  if (newest === null || newestWhole === null || !isWholeKnown || newest.snapshot === newestWhole.snapshot)
    return reasons;
  if (now.getTime() - newest.finishedAt.getTime() <= PUBLISHING_MS) return reasons;
  return [...reasons, { level: 'warning', text: `${newest.snapshot} is newer, and not whole in every destination` }];
}

function judgeMembers({ members }: ClusterStatus, { membership }: Limits, now: Date): Reason[] {
  return (driftOf(members, membership ?? UNDECLARED, now) ?? []).map((text) => ({ level: 'critical', text }));
}

function judgeDestination(
  { name, away, problems, badCopies, lastProofAt, newest }: DestinationStatus,
  { maxProofAgeMs }: Limits,
  now: Date,
): Reason[] {
  const reasons: Reason[] = [];
  if (away !== null) reasons.push({ level: 'critical', text: `${name} cannot be read: ${away.message}` });
  for (const error of problems) reasons.push({ level: 'critical', text: `${name}: ${error.message}` });
  if (badCopies !== null && badCopies > 0) {
    reasons.push({
      level: 'critical',
      text: `${badCopies} ${badCopies === 1 ? 'copy' : 'copies'} in ${name} read as bad`,
    });
  }
  // Where nothing is, or nothing is known, there is nothing to prove.
  if (maxProofAgeMs === null || badCopies === null || newest === null) return reasons;
  const age = lastProofAt === null ? null : now.getTime() - lastProofAt.getTime();
  if (age === null) reasons.push({ level: 'warning', text: `no copy in ${name} was ever read again and found good` });
  else if (age > maxProofAgeMs) {
    const text = `the last proof in ${name} is ${formatDuration(age)} old, ${formatDuration(maxProofAgeMs)} at most`;
    reasons.push({ level: 'warning', text });
  }
  return reasons;
}

function judgeJob(job: string, { last, failuresSince }: JobStatus): Reason[] {
  if (last.outcome === 'done') return [];
  const how = last.outcome === 'failed' ? (last.error?.message ?? 'failed') : `lacks ${last.missing.join(', ')}`;
  const which = failuresSince === 1 ? 'the last run' : `the last ${failuresSince} runs`;
  return [{ level: 'warning', text: `${which} of ${job} did not keep the promise: ${how}` }];
}
