/** The queues and what is in them. Never more than what the config and the destinations could tell again. */
import type { JobsOptions } from 'bullmq';
import type { JobName } from '../run/job.ts';

/** A backup never waits behind a reading of gigabytes. */
export const QUEUE_OF = {
  backup: 'backup',
  verify: 'upkeep',
  replicate: 'upkeep',
  prune: 'upkeep',
  report: 'upkeep',
} as const satisfies Record<JobName, string>;

export type QueueName = (typeof QUEUE_OF)[JobName];
export const QUEUES = ['backup', 'upkeep'] as const satisfies readonly QueueName[];

export type JobData = {
  cluster: string;
  /** of the schedule, so that a change of it is noticed */
  jitterMs?: number;
  /** the due time that a missed run is made up for; a scheduled run knows it by its own time */
  missedAt?: string;
  /** tells of several workers that noticed a missed run at once which of them asked for it */
  foundBy?: string;
  /** whoever asked for it by hand */
  askedBy?: string;
};

/** What a finished job leaves in the queue: for whoever looks at the queue; the record of the run is in the destinations. */
export type JobReturn =
  | { run: string; outcome: 'done' | 'partly'; snapshot?: string; missing?: readonly string[] }
  | { doneBy: string };

const ATTEMPTS = 5;
const FIRST_WAIT_MS = 30_000;
const LONGEST_WAIT_MS = 10 * 60_000;

export const JOB_OPTIONS = {
  attempts: ATTEMPTS,
  backoff: { type: 'custom' },
  removeOnComplete: { age: 7 * 86_400, count: 5_000 },
  removeOnFail: { age: 30 * 86_400, count: 5_000 },
} as const satisfies JobsOptions;

/** Of a schedule: each run makes the next one, and without this all of them, for years, would be one trace. */
export const SCHEDULED_OPTIONS = { ...JOB_OPTIONS, telemetry: { omitContext: true } } as const satisfies JobsOptions;

/**
 * The wait before try `made + 1`, in milliseconds: 30 s, 60 s, 2 min … 10 min, shortened by up to half: many clusters that
 * failed for one reason do not come back in the same second.
 */
export function backoffMs(made: number, random: () => number = Math.random): number {
  const full = Math.min(FIRST_WAIT_MS * 2 ** (made - 1), LONGEST_WAIT_MS);
  return Math.round(full * (1 - random() / 2));
}
