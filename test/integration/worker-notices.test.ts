/** What a worker tells real receivers of its events, without its queue and its runs. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Config, parseConfig } from '../../src/config/load.ts';
import { StrongroomError } from '../../src/core/errors.ts';
import { createLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import { scheduledJobs } from '../../src/queue/plan.ts';
import type { JobReturn } from '../../src/queue/queues.ts';
import type { Work } from '../../src/queue/worker.ts';
import { WorkerNotices } from '../../src/worker/worker-notices.ts';
import { type SinkServer, startSinkServer } from '../support/sink-server.ts';
import { ToldSinks } from '../support/told-sinks.ts';
import { until } from '../support/until.ts';
import { SAMPLE } from '../unit/config/sample.ts';

const KEY = 'prod-eu-1/backup';
const denied = new StrongroomError('E_VAULT_DENIED', 'the login was refused');
const away = new StrongroomError('E_QUEUE_UNREACHABLE', 'nothing listens there');
let told: ToldSinks;
let other: SinkServer;
let notices: WorkerNotices;

beforeEach(async () => {
  told = await ToldSinks.start();
  other = await startSinkServer();
  notices = await start();
  await until('the start', async () => (told.paged('worker/config').length === 1 ? true : undefined));
});
afterEach(async () => {
  await notices[Symbol.asyncDispose]();
  await Promise.all([told, other].map((one) => one[Symbol.asyncDispose]()));
});

function config(change: (text: string) => string = (same) => same): Config {
  const text = `${SAMPLE}    schedule: { backup: { cron: "0 * * * *" } }\nnotifications: ${JSON.stringify(told.config)}\n`;
  const env = { ...told.env, OTHER: other.url, HOME: '/home/sr' };
  return parseConfig(change(text), '/etc/sr/strongroom.yaml', { env });
}

async function start(queuePatienceMs = 200): Promise<WorkerNotices> {
  const options = { config: config(), clock: systemClock, log: createLog('silent'), queuePatienceMs };
  return await WorkerNotices.start(options, new AbortController().signal);
}

function work(change: Partial<Work> = {}): Work {
  return { cluster: 'prod-eu-1', job: 'backup', dueAt: new Date(), isCatchUp: false, isLastTry: false, ...change };
}

function fails(error: unknown = denied, willRetry = false): void {
  notices.onEvent({ kind: 'failed', work: work(), error, willRetry });
}

function ends(result: JobReturn, of: Work = work()): void {
  notices.onEvent({ kind: 'ended', work: of, result });
}

const good: JobReturn = { run: '01K0', outcome: 'done' };

/** Waits for one more problem that opens and ends: whatever was told before it has arrived. */
async function settled(): Promise<void> {
  const before = told.states('worker/config').length;
  const more = (count: number) =>
    until('the next', async () => (told.states('worker/config').length >= before + count ? true : undefined));
  notices.onRefusal(denied);
  await more(1);
  notices.onRefusal(null);
  await more(2);
}

describe('a run', () => {
  it('is told when it will not be tried again, and when no other run speaks for itself', async () => {
    fails(denied, true);
    fails(new StrongroomError('E_LOCKED', 'another run is at work'));
    await settled();
    expect([told.states(KEY), told.pings]).toEqual([[], []]);
    fails();
    await told.untilPaged(KEY, 'trigger');
    ends({ run: '01K1', outcome: 'partly', missing: ['copy in vaulted'] });
    // Less bad than what was told, and still not good.
    const update = await told.untilTold(KEY, 'update');
    expect(update).toMatchObject({ severity: 'warning', text: expect.stringContaining('copy in vaulted') as string });
    ends(good);
    await told.untilPaged(KEY, 'resolve');
    await until('three pings', async () => (told.pings.length >= 3 ? true : undefined));
    expect(told.pings.toSorted()).toEqual(['/prod-eu-1', '/prod-eu-1/fail', '/prod-eu-1/fail']);
  });

  it('that somebody else made is not pinged, and resolves only where its record is the last word, and good', async () => {
    fails();
    await told.untilTold(KEY, 'open');
    const [unknown, known] = [work(), work()];
    notices.before(unknown, { bad: [], isWhole: false });
    ends({ doneBy: '01K2' }, unknown);
    ends({ doneBy: '01K2' });
    await settled();
    expect(told.states(KEY)).toEqual(['open']);
    notices.before(known, { bad: [], isWhole: true });
    ends({ doneBy: '01K3' }, known);
    await told.untilTold(KEY, 'resolved');
    await settled();
    expect(told.pings).toEqual(['/prod-eu-1/fail']);
  });

  it('that is gone from the config has no problem any more; another one keeps its own', async () => {
    fails();
    notices.onEvent({ kind: 'failed', work: work({ job: 'verify' }), error: denied, willRetry: false });
    await told.untilTold('prod-eu-1/verify', 'open');
    const same = config();
    notices.reconfigure(same, scheduledJobs(same.clusters, ['backup', 'verify']));
    await told.untilTold('prod-eu-1/verify', 'resolved');
    await settled();
    expect(told.states(KEY)).toEqual(['open']);
  });
});

describe('a change of the config', () => {
  it('takes what is open to the new address of a sink, and holds nothing back meanwhile', async () => {
    fails();
    await told.untilTold(KEY, 'open');
    const next = config((text) => text.replace('env:TOLD_HOOK', 'env:OTHER'));
    notices.reconfigure(next, scheduledJobs(next.clusters, ['backup']));
    ends(good);
    expect(await told.untilTold(KEY, 'resolved', other)).toMatchObject({ title: 'the backup is good again' });
    expect([told.states(KEY), told.states(KEY, other)]).toEqual([['open'], ['resolved']]);
    await told.untilPaged(KEY, 'resolve');
  });
});

describe('Redis', () => {
  it('that blinks is no news; that stays away is, and so is its end', async () => {
    const since = new Date();
    notices.onRedis({ state: 'away', since, why: away });
    notices.onRedis({ state: 'ready', since, why: null });
    await settled();
    expect(told.states('worker/queue')).toEqual([]);
    notices.onRedis({ state: 'away', since: new Date(), why: away });
    expect(await told.untilTold('worker/queue', 'open')).toMatchObject({ severity: 'critical' });
    notices.onRedis({ state: 'ready', since: new Date(), why: null });
    await told.untilTold('worker/queue', 'resolved');
    await told.untilPaged('worker/queue', 'resolve');
  });
});

describe('the metrics of the sinks', () => {
  it('count what was taken, refused and waits, from zero on', async () => {
    const value = (name: string, sink?: string): number | undefined =>
      notices.metrics.samples().find((one) => one.name === name && one.labels['sink'] === sink)?.value;
    expect(value('strongroom_notify_failures_total', 'hook')).toBe(0);
    expect(value('strongroom_notify_up', 'hook')).toBeUndefined();
    told.hook.usual = { status: 403 };
    fails();
    await until('the refusal', async () => (value('strongroom_notify_up', 'hook') === 0 ? true : undefined));
    expect(value('strongroom_notify_failures_total', 'hook')).toBe(1);
    // The pager is told of critical ones only, and not of the ailing sink, which is a warning.
    expect(value('strongroom_problems_open')).toBe(2);
    told.hook.usual = { status: 200 };
    ends(good);
    await until('the recovery', async () => (value('strongroom_notify_up', 'hook') === 1 ? true : undefined));
    expect(value('strongroom_problems_open')).toBe(0);
    expect(value('strongroom_notify_waiting', 'hook')).toBe(0);
    expect(value('strongroom_notify_delivered_total', 'alive')).toBeGreaterThanOrEqual(1);
  });
});
