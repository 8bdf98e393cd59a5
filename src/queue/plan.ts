/** What the config wants to run, and what the queue has: which schedules to set, and which to remove. Pure. */
import type { JobSchedulerJson } from 'bullmq';
import type { JobName } from '../run/job.ts';
import type { Schedule } from '../schedule/schedule.ts';
import { type JobData, QUEUE_OF, type QueueName } from './queues.ts';

export type ScheduledJob = {
  /** id of its scheduler, and name of its runs in the queue: `<cluster>.<job>` */
  id: string;
  cluster: string;
  job: JobName;
  queue: QueueName;
  schedule: Schedule;
};

/** The part of a cluster's config that matters here. */
export type ScheduleBlock = { timeZone: string } & Partial<
  Record<JobName, { cron: string; jitter?: number } | undefined>
>;

/** Every scheduled job of a config. `names` are the jobs that there are. */
export function scheduledJobs(
  clusters: Readonly<Record<string, { schedule?: ScheduleBlock | undefined }>>,
  names: readonly JobName[],
): ScheduledJob[] {
  return Object.entries(clusters).flatMap(([cluster, { schedule }]) =>
    names.flatMap((job): ScheduledJob[] => {
      const timing = schedule?.[job];
      if (schedule === undefined || timing === undefined) return [];
      const { cron, jitter: jitterMs = 0 } = timing;
      const key = `${cluster} ${job}`;
      const id = `${cluster}.${job}`;
      return [
        { id, cluster, job, queue: QUEUE_OF[job], schedule: { cron, timeZone: schedule.timeZone, jitterMs, key } },
      ];
    }),
  );
}

/** A run that is due waits for a free worker, not for ever, in milliseconds. */
const LOST_MS = 10 * 60_000;

export type Changes = { set: ScheduledJob[]; remove: string[] };

/** What has to be done to one queue so that it has `wanted` and nothing else. An unchanged schedule is left alone. */
export function changesTo(
  wanted: readonly ScheduledJob[],
  found: readonly JobSchedulerJson<JobData>[],
  now: Date,
): Changes {
  const there = new Map(found.map((scheduler) => [scheduler.key, scheduler]));
  const set = wanted.filter((job) => !isSame(job, there.get(job.id), now));
  const ids = new Set(wanted.map(({ id }) => id));
  return { set, remove: [...there.keys()].filter((id) => !ids.has(id)) };
}

function isSame(
  { id, cluster, schedule }: ScheduledJob,
  found: JobSchedulerJson<JobData> | undefined,
  now: Date,
): boolean {
  return (
    found !== undefined &&
    found.name === id &&
    found.pattern === schedule.cron &&
    found.tz === schedule.timeZone &&
    found.template?.data?.cluster === cluster &&
    found.template.data.jitterMs === schedule.jitterMs &&
    // One whose next time is long over has lost its run in the queue, and would never fire again.
    (found.next ?? 0) > now.getTime() - LOST_MS
  );
}
