/** What a job is. One file each in jobs/; every door starts it by {@link runJob}. */
import type { App } from '../app.ts';
import type { RunRecord } from '../catalogue/record-types.ts';
import type { ClusterName, RunId, SnapshotId } from '../core/ids.ts';

export const JOB_NAMES = ['backup', 'verify', 'replicate', 'prune', 'report'] as const;
export type JobName = (typeof JOB_NAMES)[number];

export type Request = {
  door: RunRecord['door'];
  /** the due time that the run is for; null = it was not scheduled */
  dueAt: Date | null;
  /** after an error that may pass it is started again, by whoever started it; default false */
  hasMoreTries?: boolean;
  /** whoever asked for it by name */
  askedBy?: string;
};

export type JobOutcome = {
  /** lines for people, the verdict first */
  summary: readonly string[];
  /** JSON for programs */
  result: unknown;
  /** promises that were not kept although the job ended; anything here ends the process with 3 */
  missing: readonly string[];
  /** the snapshot that was made */
  snapshot?: SnapshotId;
  /** milliseconds by stage */
  timings?: Readonly<Record<string, number>>;
};

/** One thing that runs on a schedule. */
export type Job = {
  /** the file's name */
  name: JobName;
  summary: string;
  run(app: App, cluster: ClusterName, run: RunId, signal: AbortSignal): Promise<JobOutcome>;
};
