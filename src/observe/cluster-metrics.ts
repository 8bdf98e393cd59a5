/** The metrics of one cluster, from its last status, counted now. */
import type { ClusterStatus, DestinationStatus, JobStatus } from './cluster-status.ts';
import type { Sample } from './exposition.ts';
import { driftOf } from './membership.ts';
import type { CLUSTER_METRICS } from './metrics.ts';
import { judge, LEVELS, type Limits, UNDECLARED } from './verdict.ts';

type Name = keyof typeof CLUSTER_METRICS;
type Add = (name: Name, labels: Record<string, string>, value: number | null) => void;

/** `since` = when watching began: the status is as old as that while there is none. What is null is left out. */
export function clusterSamples(
  { status, since }: { status: ClusterStatus; since: Date },
  limits: Limits,
  now: Date,
): Sample[] {
  const { cluster } = status;
  const samples: Sample[] = [];
  const add: Add = (name, labels, value) => {
    if (value !== null) samples.push({ name, labels: { cluster, ...labels }, value });
  };
  const age = (from: Date | null): number | null => (from === null ? null : (now.getTime() - from.getTime()) / 1000);
  const verdict = judge(status, limits, now);
  add('strongroom_recovery_point_age_seconds', {}, age(status.newestWhole?.at ?? null));
  add('strongroom_recovery_point_limit_seconds', {}, inSeconds(limits.maxAgeMs));
  add('strongroom_proof_age_limit_seconds', {}, inSeconds(limits.maxProofAgeMs));
  add('strongroom_status_age_seconds', {}, age(status.readAt ?? since));
  for (const level of LEVELS) add('strongroom_verdict', { level }, Number(level === verdict.level));
  add('strongroom_snapshot_bytes', {}, status.newest?.bytes ?? null);
  add('strongroom_snapshot_records', {}, status.newest?.records ?? null);
  if (status.readAt !== null) {
    add('strongroom_whole_known', {}, Number(status.isWholeKnown));
    add('strongroom_backups_from_the_future', {}, status.fromTheFuture.length);
  }
  const drift = driftOf(status.members, limits.membership ?? UNDECLARED, now);
  add('strongroom_membership_drift', {}, drift === null ? null : Number(drift.length > 0));
  for (const destination of status.destinations) addDestination(destination, now, add);
  for (const [job, runs] of Object.entries(status.jobs ?? {})) addJob(job, runs, add);
  return samples;
}

function addDestination(destination: DestinationStatus, now: Date, add: Add): void {
  const { name, away, newest, locks } = destination;
  const labels = { destination: name };
  add('strongroom_destination_up', labels, Number(away === null));
  add('strongroom_destination_problems', labels, away === null ? destination.problems.length : null);
  add('strongroom_newest_backup_timestamp_seconds', labels, timestamp(newest?.at));
  add('strongroom_newest_backup_bytes', labels, newest?.storedBytes ?? null);
  add('strongroom_copies_missing', labels, destination.copiesMissing);
  add('strongroom_copies_bad', labels, destination.badCopies);
  add('strongroom_last_proof_timestamp_seconds', labels, timestamp(destination.lastProofAt));
  if (locks === null || locks.length === 0) return;
  const covered = locks.filter((until) => until !== null && until > now).length;
  add('strongroom_lock_coverage_ratio', labels, covered / locks.length);
}

function addJob(job: string, { last, lastDone, failuresSince }: JobStatus, add: Add): void {
  const labels = { job };
  add('strongroom_last_run_timestamp_seconds', labels, timestamp(new Date(last.startedAt)));
  add(
    'strongroom_last_success_timestamp_seconds',
    labels,
    lastDone === null ? null : timestamp(new Date(lastDone.startedAt)),
  );
  add('strongroom_last_run_failed', labels, Number(last.outcome !== 'done'));
  add('strongroom_run_failures_since_success', labels, failuresSince);
  for (const [stage, ms] of Object.entries(last.timings)) {
    add('strongroom_stage_duration_seconds', { job, stage }, ms / 1000);
  }
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

function timestamp(time: Date | null | undefined): number | null {
  return time === null || time === undefined ? null : time.getTime() / 1000;
}
