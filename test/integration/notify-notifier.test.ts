/** The notifier over real sinks: what is told once, again, later, together, or to somebody else. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NotifierOptions } from '../../src/notify/notifier.ts';
import { PagerDutySink } from '../../src/notify/pagerduty.ts';
import { PingSink } from '../../src/notify/ping.ts';
import { WebhookSink } from '../../src/notify/webhook.ts';
import { event, fixed, httpOptions, startTestNotifier } from '../support/notices.ts';
import { type SinkServer, startSinkServer } from '../support/sink-server.ts';
import { until } from '../support/until.ts';

const soon = (): AbortSignal => AbortSignal.timeout(15_000);
const clock = { now: () => new Date() };
let server: SinkServer;
let other: SinkServer;

beforeEach(async () => {
  [server, other] = await Promise.all([startSinkServer(), startSinkServer()]);
});
afterEach(() => Promise.all([server[Symbol.asyncDispose](), other[Symbol.asyncDispose]()]));

type Line = NotifierOptions['sinks'][number];

function hook(to: SinkServer, name = 'hook', change: Partial<Line> = {}): Line {
  const options = { ...httpOptions, name, timeoutMs: 2_000 };
  const sink = new WebhookSink({ ...options, url: fixed(to.url), secret: fixed('k'), clock });
  return { sink, minSeverity: 'info', clusters: null, ...change };
}

function pager(to: SinkServer, change: Partial<Line> = {}): Line {
  to.usual = { status: 202, body: '{"status":"success"}' };
  const options = { ...httpOptions, name: 'pager', endpoint: to.url };
  return {
    sink: new PagerDutySink({ ...options, routingKey: fixed('rk') }),
    minSeverity: 'info',
    clusters: null,
    ...change,
  };
}

/** `state key` of everything a webhook was told, message by message. */
function toldTo(from: SinkServer): string[][] {
  return from.received.map(({ body }) => {
    const { events } = JSON.parse(body) as { events: { key: string; state: string }[] };
    return events.map(({ key, state }) => `${state} ${key}`);
  });
}

function paged(): string[] {
  return server.received.map(({ body }) => {
    const { event_action: action, dedup_key: key } = JSON.parse(body) as { event_action: string; dedup_key: string };
    return `${action} ${key.replace(/burst\/.*/, 'burst')}`;
  });
}

const keys = (count: number): string[] => Array.from({ length: count }, (_, i) => `c${i}/backup`);

describe('a problem', () => {
  it('is opened once, updated when it gets worse or says so, and resolved once', async () => {
    const { notifier } = await startTestNotifier({ sinks: [hook(server)] });
    await using _ = notifier;
    const steps = [
      event({ severity: 'warning' }),
      event({ severity: 'warning', title: 'the backup failed again' }),
      event({ severity: 'critical' }),
      event({ state: 'update' }),
      event(),
      event({ state: 'resolved' }),
      event({ state: 'resolved' }),
      event({ key: 'never/opened', state: 'resolved' }),
    ];
    for (const step of steps) {
      notifier.notify(step);
      await notifier.flush(soon());
    }
    const key = 'prod-eu-1/backup';
    expect(toldTo(server)).toEqual([[`open ${key}`], [`update ${key}`], [`update ${key}`], [`resolved ${key}`]]);
    expect(notifier.saved()).toEqual([]);
  });

  it('is told again as long as it stays, and not after its end', async () => {
    const { notifier } = await startTestNotifier({ sinks: [hook(server)], repeatAfterMs: 60 });
    await using _ = notifier;
    notifier.notify(event());
    await server.requests(3);
    expect(toldTo(server).slice(0, 3)).toEqual([
      ['open prod-eu-1/backup'],
      ['update prod-eu-1/backup'],
      ['update prod-eu-1/backup'],
    ]);
    notifier.notify(event({ state: 'resolved' }));
    await notifier.flush(soon());
    expect(toldTo(server).at(-1)).toEqual(['resolved prod-eu-1/backup']);
    const count = server.received.length;
    notifier.notify(event({ key: 'later' }));
    await server.requests(count + 3);
    expect(
      toldTo(server)
        .slice(count)
        .flat()
        .some((line) => line.endsWith('prod-eu-1/backup')),
    ).toBe(false);
  });

  it('is told to whom it concerns, and to those to the end', async () => {
    const { notifier } = await startTestNotifier({
      sinks: [hook(server, 'critical', { minSeverity: 'critical' }), hook(other, 'us', { clusters: ['prod-us-1'] })],
    });
    await using _ = notifier;
    notifier.notify(event({ key: 'a' }));
    notifier.notify(event({ key: 'b', severity: 'warning' }));
    notifier.notify(event({ key: 'c', cluster: 'prod-us-1', severity: 'info' }));
    notifier.notify(event({ key: 'd', cluster: null }));
    await notifier.flush(soon());
    notifier.notify(event({ key: 'a', severity: 'info' }));
    await notifier.flush(soon());
    notifier.notify(event({ key: 'a', severity: 'info', state: 'resolved' }));
    await notifier.flush(soon());
    expect(toldTo(server).flat()).toEqual(['open a', 'open d', 'update a', 'resolved a']);
    expect(toldTo(other).flat()).toEqual(['open c', 'open d']);
  });
});

describe('a burst', () => {
  it('is one message that lists them all; a few are told one by one', async () => {
    const { notifier } = await startTestNotifier({ sinks: [hook(server)], burst: { events: 5, windowMs: 60_000 } });
    await using _ = notifier;
    for (const key of keys(5)) notifier.notify(event({ key }));
    await notifier.flush(soon());
    expect(toldTo(server)).toEqual(keys(5).map((key) => [`open ${key}`]));
    server.received.length = 0;
    for (const key of keys(6)) notifier.notify(event({ key, state: 'resolved' }));
    for (const key of ['x', 'y']) notifier.notify(event({ key }));
    await notifier.flush(soon());
    expect(toldTo(server)).toEqual([[...keys(5).map((key) => `resolved ${key}`), 'open x', 'open y']]);
  });

  it('gathers for its window, and then goes by itself', async () => {
    const { notifier } = await startTestNotifier({ sinks: [hook(server)], burst: { events: 1, windowMs: 50 } });
    await using _ = notifier;
    notifier.notify(event({ key: 'a' }));
    notifier.notify(event({ key: 'b' }));
    await server.requests(1);
    expect(toldTo(server)).toEqual([['open a', 'open b']]);
  });

  it('is one incident, which ends with the last of them, also across a restart and a lost answer', async () => {
    const sinks = [pager(server)];
    const burst = { events: 2, windowMs: 60_000 };
    const first = await startTestNotifier({ sinks, burst });
    server.next.push('reset');
    for (const key of keys(4)) first.notifier.notify(event({ key, severity: 'warning' }));
    await first.notifier.flush(soon());
    expect(paged()).toEqual(['trigger strongroom/burst', 'trigger strongroom/burst']);
    const dedup = server.received.map(({ body }) => (JSON.parse(body) as { dedup_key: string }).dedup_key);
    expect(new Set(dedup).size).toBe(1);
    expect(server.received[1]?.body).toContain('c3/backup');
    first.notifier.notify(event({ key: 'c0/backup', state: 'resolved' }));
    await first.notifier.flush(soon());
    expect(paged()).toHaveLength(2);
    const saved = first.notifier.saved();
    await first.notifier[Symbol.asyncDispose]();

    const restore = () => Promise.resolve(JSON.parse(JSON.stringify(saved)) as typeof saved);
    const { notifier } = await startTestNotifier({ sinks, burst, restore });
    await using _ = notifier;
    // Worse than what the incident said: one of its own.
    notifier.notify(event({ key: 'c1/backup', severity: 'critical' }));
    for (const key of ['c2/backup', 'c3/backup']) notifier.notify(event({ key, state: 'resolved' }));
    await notifier.flush(soon());
    notifier.notify(event({ key: 'c1/backup', state: 'resolved' }));
    await notifier.flush(soon());
    expect(paged().slice(2)).toEqual([
      'trigger strongroom/c1/backup',
      'resolve strongroom/burst',
      'resolve strongroom/c1/backup',
    ]);
    const ended = server.received.map(({ body }) => JSON.parse(body) as { event_action: string; dedup_key: string });
    expect(ended.find(({ event_action: action }) => action === 'resolve')?.dedup_key).toBe(dedup[0]);
  });

  it('leaves nobody with an incident that opened alone, ended, and opened again in the burst', async () => {
    const { notifier } = await startTestNotifier({ sinks: [pager(server)], burst: { events: 2, windowMs: 0 } });
    await using _ = notifier;
    notifier.notify(event({ key: 'c0/backup' }));
    await notifier.flush(soon());
    notifier.notify(event({ key: 'c0/backup', state: 'resolved' }));
    for (const key of keys(4)) notifier.notify(event({ key }));
    await notifier.flush(soon());
    for (const key of keys(4)) notifier.notify(event({ key, state: 'resolved' }));
    await notifier.flush(soon());
    const open = new Set<string>();
    for (const line of paged()) {
      const [action = '', key = ''] = line.split(' ');
      if (action === 'trigger') open.add(key);
      else open.delete(key);
    }
    expect([...open]).toEqual([]);
    expect(paged().filter((line) => line.startsWith('trigger'))).toHaveLength(3);
  });
});

describe('a restart', () => {
  it('opens nothing again, ends what was open, and tells what was not told yet', async () => {
    const ailing = 'open notifications/away';
    const first = await startTestNotifier({ sinks: [hook(server), hook(other, 'away')] });
    other.usual = { status: 503 };
    first.notifier.notify(event({ key: 'a' }));
    first.notifier.notify(event({ key: 'b' }));
    const settled = async (): Promise<true | undefined> =>
      first.notifier.saved().every(({ owed }) => !owed?.includes('hook')) || undefined;
    await until('the sink that works has both', settled);
    first.notifier.notify(event({ key: 'b', state: 'resolved' }));
    await until('and the end of one', settled);
    await until('the other is known to be away', async () => toldTo(server).flat().includes(ailing) || undefined);
    await until('and that is settled, too', settled);
    const saved = first.notifier.saved();
    await first.notifier[Symbol.asyncDispose]();
    expect(first.told.dropped.at(-1)).toMatchObject({ sink: 'away', why: 'closed' });
    expect(saved.map(({ key, state, owed }) => ({ key, state, owed }))).toEqual([
      { key: 'a', state: 'open', owed: ['away'] },
      { key: 'b', state: 'resolved', owed: ['away'] },
      { key: 'notifications/away', state: 'open', owed: [] },
    ]);

    other.usual = { status: 200 };
    const before = [server.received.length, other.received.length];
    const restore = () => Promise.resolve(JSON.parse(JSON.stringify(saved)) as typeof saved);
    const { notifier } = await startTestNotifier({ sinks: [hook(server), hook(other, 'away')], restore });
    await using _ = notifier;
    notifier.notify(event({ key: 'a' }));
    await notifier.flush(soon());
    expect(toldTo(other).slice(before[1])).toEqual([['open a'], ['resolved b']]);
    await until('the end of its absence is told', async () => server.received.length > Number(before[0]) || undefined);
    notifier.notify(event({ key: 'a', state: 'resolved' }));
    await notifier.flush(soon());
    expect(toldTo(server).slice(before[0])).toEqual([['resolved notifications/away'], ['resolved a']]);
    expect(notifier.saved()).toEqual([]);
  });

  it('knows what the caller found open by itself, and reminds of it in time', async () => {
    const at = new Date(Date.now() - 3_600_000).toISOString();
    const known = { ...event(), at, openedAt: at };
    const restore = () => Promise.resolve([known]);
    const { notifier } = await startTestNotifier({ sinks: [hook(server)], restore, repeatAfterMs: 1_800_000 });
    await using _ = notifier;
    notifier.notify(event());
    await server.requests(1);
    expect(toldTo(server)).toEqual([['update prod-eu-1/backup']]);
  });

  it('ends the trouble of a sink that is no longer in the config, and forgets what was owed to it', async () => {
    const at = new Date().toISOString();
    const gone = { ...event({ key: 'notifications/gone', cluster: null }), at, openedAt: at };
    const over = { ...event({ key: 'b', state: 'resolved' }), at, openedAt: at, told: ['gone'], owed: ['gone'] };
    const restore = () => Promise.resolve([gone, over]);
    const { notifier } = await startTestNotifier({ sinks: [hook(server)], restore });
    await using _ = notifier;
    await notifier.flush(soon());
    expect(toldTo(server)).toEqual([['resolved notifications/gone']]);
    expect(notifier.saved()).toEqual([]);
  });

  it('that finds nothing out tells everything anew, and says so', async () => {
    const heard: unknown[] = [];
    const observer = {
      delivered: () => undefined,
      failed: () => undefined,
      dropped: () => undefined,
      restoreFailed: (e: unknown) => heard.push(e),
    };
    const restore = () => Promise.reject(new Error('the store is away'));
    const { notifier } = await startTestNotifier({ sinks: [hook(server)], restore, observer });
    await using _ = notifier;
    notifier.notify(event());
    await notifier.flush(soon());
    expect(toldTo(server)).toEqual([['open prod-eu-1/backup']]);
    expect(heard).toHaveLength(1);
  });
});

describe('a dead-man ping', () => {
  const options = {
    ...httpOptions,
    name: 'alive',
    method: 'POST',
    path: '{cluster}',
    failPath: 'fail',
    testPath: 'log',
  } as const;
  const run = (cluster: string, isKept: boolean, at = new Date()) => ({
    cluster,
    job: 'backup',
    isKept,
    at,
    text: 'x',
  });
  const pings = () => [
    { sink: new PingSink({ ...options, url: fixed(server.url) }), clusters: ['a', 'b', 'c'], jobs: ['backup'] },
  ];

  it('goes out for the runs it is for, good or not', async () => {
    const { notifier } = await startTestNotifier({ sinks: [], pings: pings() });
    await using _ = notifier;
    notifier.ran(run('a', true));
    notifier.ran(run('b', false));
    notifier.ran(run('other', true));
    notifier.ran({ ...run('c', true), job: 'verify' });
    await notifier.flush(soon());
    expect(server.received.map(({ path }) => path)).toEqual(['/a', '/b/fail']);
  });

  it('is never late for a good run; a failed one is told whenever it can be', async () => {
    const { notifier, told } = await startTestNotifier({ sinks: [], pings: pings() });
    await using _ = notifier;
    const old = new Date(Date.now() - 121_000);
    notifier.ran(run('a', true, old));
    notifier.ran(run('b', false, old));
    notifier.ran(run('c', true));
    await notifier.flush(soon());
    expect(server.received.map(({ path }) => path)).toEqual(['/b/fail', '/c']);
    expect(told.dropped).toEqual([{ sink: 'alive', events: 1, why: 'stale' }]);
  });
});
