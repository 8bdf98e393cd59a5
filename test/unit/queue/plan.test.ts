/** What a config wants to run against what a queue has. */
import type { JobSchedulerJson } from 'bullmq';
import { describe, expect, it } from 'vitest';
import { changesTo, type ScheduledJob, scheduledJobs } from '../../../src/queue/plan.ts';
import { backoffMs, type JobData } from '../../../src/queue/queues.ts';

const now = new Date('2026-11-22T12:00:00Z');
const hour = 3_600_000;
const config = {
  prod: {
    schedule: { timeZone: 'Europe/Berlin', backup: { cron: '0 * * * *', jitter: 60_000 }, verify: { cron: '@daily' } },
  },
  test: { schedule: { timeZone: 'UTC', backup: { cron: '30 3 * * *' } } },
  byHand: {},
};
const wanted = scheduledJobs(config, ['backup', 'verify']);

/** What Redis gives back for a schedule that was set. */
function found({ id, cluster, schedule }: ScheduledJob): JobSchedulerJson<JobData> {
  return {
    key: id,
    name: id,
    pattern: schedule.cron,
    tz: schedule.timeZone,
    next: now.getTime() + hour,
    template: { data: { cluster, jitterMs: schedule.jitterMs } },
  };
}

describe('scheduledJobs', () => {
  it('are those that the clusters name, in the queue of their kind', () => {
    expect(wanted.map(({ id, queue }) => [id, queue])).toEqual([
      ['prod.backup', 'backup'],
      ['prod.verify', 'upkeep'],
      ['test.backup', 'backup'],
    ]);
    expect(wanted[0]?.schedule).toEqual({
      cron: '0 * * * *',
      timeZone: 'Europe/Berlin',
      jitterMs: 60_000,
      key: 'prod backup',
    });
  });

  it('leaves out a job that does not exist', () => {
    expect(scheduledJobs(config, ['backup']).map(({ id }) => id)).toEqual(['prod.backup', 'test.backup']);
  });
});

describe('changesTo', () => {
  it('sets all in an empty queue, and nothing in one that is right', () => {
    expect(changesTo(wanted, [], now)).toEqual({ set: wanted, remove: [] });
    expect(changesTo(wanted, wanted.map(found), now)).toEqual({ set: [], remove: [] });
  });

  it('removes what no config wants any more', () => {
    const [first, ...rest] = wanted;
    if (first === undefined) throw new Error('no job');
    expect(changesTo(rest, wanted.map(found), now)).toEqual({ set: [], remove: [first.id] });
  });

  const changes: [string, (scheduler: JobSchedulerJson<JobData>) => JobSchedulerJson<JobData>][] = [
    ['another time', (s) => ({ ...s, pattern: '5 * * * *' })],
    ['another zone', (s) => ({ ...s, tz: 'UTC' })],
    ['another jitter', (s) => ({ ...s, template: { data: { cluster: 'prod', jitterMs: 1 } } })],
    ['another cluster', (s) => ({ ...s, template: { data: { cluster: 'other', jitterMs: 60_000 } } })],
    ['no next time', (s) => Object.fromEntries(Object.entries(s).filter(([key]) => key !== 'next')) as typeof s],
    ['a next time that is long over', (s) => ({ ...s, next: now.getTime() - hour })],
  ];
  it.each(changes)('sets one again that has %s', (_what, change) => {
    const there = wanted
      .map(found)
      .map((scheduler) => (scheduler.key === 'prod.backup' ? change(scheduler) : scheduler));
    expect(changesTo(wanted, there, now).set.map(({ id }) => id)).toEqual(['prod.backup']);
  });

  it('leaves a run alone that waits for a free worker', () => {
    const there = wanted.map(found).map((scheduler) => ({ ...scheduler, next: now.getTime() - 60_000 }));
    expect(changesTo(wanted, there, now).set).toEqual([]);
  });
});

describe('backoffMs', () => {
  it('doubles up to its end, and is shortened by up to half', () => {
    expect([1, 2, 3, 4, 5, 6, 20].map((made) => backoffMs(made, () => 0))).toEqual([
      30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000,
    ]);
    expect(backoffMs(1, () => 1)).toBe(15_000);
  });
});
