import type { App } from '../src/app.ts';
import type { ClusterName } from '../src/core/ids.ts';

export type JobOutcome = {
  /** lines for people, the verdict first */
  summary: readonly string[];
  /** JSON for programs */
  result: unknown;
  /** promises that were not kept although the job ended; anything here ends the process with 3 */
  missing: readonly string[];
};

/** One thing that runs on a schedule. The CronJob door, `strongroom job run`, calls `run` itself. */
export type Job = {
  /** the file's name */
  name: string;
  summary: string;
  run(app: App, cluster: ClusterName, signal: AbortSignal): Promise<JobOutcome>;
};
