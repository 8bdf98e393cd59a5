import type { Job } from '../src/run/job.ts';
import { backupJob } from './backup.ts';
import { pruneJob } from './prune.ts';
import { replicateJob } from './replicate.ts';
import { reportJob } from './report.ts';
import { verifyJob } from './verify.ts';

/** Every job there is. */
export const jobs: readonly Job[] = [backupJob, verifyJob, replicateJob, pruneJob, reportJob];
