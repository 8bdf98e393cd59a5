/** Sinks that fail, and what that must not do: block, throw, forget what is open, or go unnoticed. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NotifierOptions } from '../../src/notify/notifier.ts';
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

function hook(to: SinkServer, name = 'hook', timeoutMs = 4_000): NotifierOptions['sinks'][number] {
  const options = { ...httpOptions, name, timeoutMs };
  const sink = new WebhookSink({ ...options, url: fixed(to.url), secret: fixed('k'), clock });
  return { sink, minSeverity: 'info', clusters: null };
}

function toldTo(from: SinkServer): string[][] {
  return from.received.map(({ body }) => {
    const { events } = JSON.parse(body) as { events: { key: string; state: string }[] };
    return events.map(({ key, state }) => `${state} ${key}`);
  });
}

describe('a sink that fails for a while', () => {
  it.each([[{ status: 500 }], ['hang'], ['reset']] as const)('is asked again after %j', async (fault) => {
    server.next.push(fault, fault);
    const { notifier, told } = await startTestNotifier({
      sinks: [hook(server, 'hook', fault === 'hang' ? 1_500 : 4_000)],
    });
    await using _ = notifier;
    notifier.notify(event());
    await notifier.flush(soon());
    expect(server.received).toHaveLength(3);
    expect(told.failed).toHaveLength(2);
    expect(told.failed.every(({ sink, waitMs }) => sink === 'hook' && waitMs !== null)).toBe(true);
    expect(told.delivered).toEqual([{ sink: 'hook', events: 1 }]);
    expect(notifier.saved()[0]?.owed).toEqual([]);
  });

  it('is left alone for as long as it asks, also when somebody is in a hurry', async () => {
    server.next.push({ status: 429, headers: { 'retry-after': '1' } });
    const { notifier, told } = await startTestNotifier({ sinks: [hook(server)] });
    await using _ = notifier;
    notifier.notify(event());
    await until('it asked for time', async () => told.failed.length === 1 || undefined, { everyMs: 5 });
    await notifier.flush(soon());
    const [first, second] = server.received;
    expect(told.failed).toMatchObject([{ code: 'E_NOTIFY_THROTTLED', waitMs: 1_000 }]);
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(950);
  });

  it('is asked ever more rarely', async () => {
    server.usual = { status: 503 };
    const { notifier, told } = await startTestNotifier({ sinks: [hook(server)], backoff: { baseMs: 8, maxMs: 60 } });
    await using _ = notifier;
    notifier.notify(event());
    await server.requests(6);
    const waits = told.failed.slice(0, 5).map(({ waitMs }) => waitMs ?? 0);
    for (const [index, full] of [8, 16, 32, 60, 60].entries()) {
      expect(waits[index]).toBeGreaterThanOrEqual(full / 2);
      expect(waits[index]).toBeLessThanOrEqual(full);
    }
  });

  it('holds up nobody: its caller goes on, and the others hear of everything', async () => {
    server.usual = 'hang';
    const { notifier } = await startTestNotifier({ sinks: [hook(server, 'dead'), hook(other, 'alive')] });
    await using _ = notifier;
    const began = performance.now();
    for (let i = 0; i < 1_000; i += 1) notifier.notify(event({ key: `k${i}` }));
    expect(performance.now() - began).toBeLessThan(5_000);
    await until('the other has them all', async () => new Set(toldTo(other).flat()).size === 1_000 || undefined);
    expect(server.received.length).toBeLessThanOrEqual(1);
  });

  it('keeps the newest of each key, no more than its limit, and the worst of those', async () => {
    server.usual = { status: 503 };
    const { notifier, told } = await startTestNotifier({
      sinks: [hook(server)],
      queueLimit: 10,
      backoff: { baseMs: 60_000, maxMs: 60_000 },
    });
    await using _ = notifier;
    notifier.notify(event({ key: 'first' }));
    await server.requests(1);
    for (let i = 0; i < 20; i += 1) notifier.notify(event({ key: 'same', state: 'update', title: `${i}` }));
    for (let i = 0; i < 30; i += 1) notifier.notify(event({ key: `w${i}`, severity: 'warning' }));
    for (let i = 0; i < 5; i += 1) notifier.notify(event({ key: `c${i}` }));
    expect(notifier.waiting()).toEqual({ hook: 10 });
    expect(told.dropped.every(({ why, events }) => why === 'full' && events === 1)).toBe(true);
    // 37 keys for 10 places.
    expect(told.dropped).toHaveLength(27);
    server.usual = { status: 200 };
    server.received.length = 0;
    await notifier.flush(soon());
    const [first] = toldTo(server);
    expect(first).toEqual([
      'open first',
      'update same',
      'open w27',
      'open w28',
      'open w29',
      ...[0, 1, 2, 3, 4].map((i) => `open c${i}`),
    ]);
    // What is still open and was dropped is told once there is room again.
    const told2 = toldTo(server).flat();
    expect(new Set(told2).size).toBe(37);
    expect(told2).toHaveLength(37);
    expect(server.received[0]?.body).toContain('"title":"19"');
  });

  it('is told of to the others, and so is its return', async () => {
    server.usual = { status: 503 };
    const { notifier } = await startTestNotifier({ sinks: [hook(server, 'ops'), hook(other, 'mail')] });
    await using _ = notifier;
    notifier.notify(event());
    const has = (line: string) => async () => toldTo(other).flat().includes(line) || undefined;
    await until('its absence is told', has('open notifications/ops'));
    expect(other.received.map(({ body }) => body).join()).toContain('answers 503');
    server.usual = { status: 200 };
    await until('its return is told', has('resolved notifications/ops'));
    expect(
      toldTo(server)
        .flat()
        .some((line) => line.includes('notifications/')),
    ).toBe(false);
    expect(
      toldTo(other)
        .flat()
        .filter((line) => line.includes('notifications/')),
    ).toHaveLength(2);
  });
});

describe('a sink that says no for good', () => {
  it('is not asked again, is told of at once, and hears of what is open when it takes something', async () => {
    server.usual = { status: 404 };
    const { notifier, told } = await startTestNotifier({ sinks: [hook(server, 'ops'), hook(other, 'mail')] });
    await using _ = notifier;
    notifier.notify(event({ key: 'a' }));
    await notifier.flush(soon());
    expect(server.received).toHaveLength(1);
    expect(told.failed).toMatchObject([{ sink: 'ops', code: 'E_NOTIFY_REFUSED', waitMs: null }]);
    expect(told.dropped).toEqual([{ sink: 'ops', events: 1, why: 'refused' }]);
    await until('it is told of', async () => toldTo(other).flat().includes('open notifications/ops') || undefined);
    server.usual = { status: 200 };
    notifier.notify(event({ key: 'b' }));
    await notifier.flush(soon());
    expect(toldTo(server)).toEqual([['open a'], ['open b'], ['open a']]);
  });

  it('to one message, is not sent that again and again', async () => {
    server.next.push({ status: 400 });
    const { notifier } = await startTestNotifier({ sinks: [hook(server)] });
    await using _ = notifier;
    notifier.notify(event({ key: 'bad' }));
    await notifier.flush(soon());
    notifier.notify(event({ key: 'good' }));
    await notifier.flush(soon());
    expect(toldTo(server)).toEqual([['open bad'], ['open good']]);
  });
});

describe('the end of the process', () => {
  it('waits for a flush only as long as it is told to', async () => {
    server.usual = 'hang';
    const { notifier } = await startTestNotifier({ sinks: [hook(server)] });
    await using _ = notifier;
    notifier.notify(event());
    await server.requests(1);
    const reason = new Error('no more time');
    const stop = new AbortController();
    const flushed = notifier.flush(stop.signal);
    stop.abort(reason);
    await expect(flushed).rejects.toBe(reason);
    await expect(notifier.flush(AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it('cuts waits short once, breaks off what hangs, and says what was lost', async () => {
    server.usual = { status: 500 };
    const backoff = { baseMs: 60_000, maxMs: 60_000 };
    const { notifier, told } = await startTestNotifier({ sinks: [hook(server)], backoff });
    notifier.notify(event());
    await server.requests(1);
    await until('it waits', async () => told.failed.length === 1 || undefined);
    server.usual = 'hang';
    const flushed = notifier.flush(soon());
    await server.requests(2);
    await Promise.all([notifier[Symbol.asyncDispose](), flushed]);
    expect(told.dropped).toEqual([{ sink: 'hook', events: 1, why: 'closed' }]);
    expect(notifier.saved()).toMatchObject([{ key: 'prod-eu-1/backup', owed: ['hook'] }]);
    notifier.notify(event({ key: 'later' }));
    expect(told.dropped).toHaveLength(2);
    await until('no connection is left', async () => server.open === 0 || undefined);
  });

  it('is no worse for an observer that throws', async () => {
    const boom = (): never => {
      throw new Error('a defect in the metrics');
    };
    const observer = { delivered: boom, failed: boom, dropped: boom, changed: boom, restoreFailed: boom };
    server.next.push({ status: 500 });
    const { notifier } = await startTestNotifier({ sinks: [hook(server)], observer });
    await using _ = notifier;
    notifier.notify(event());
    await notifier.flush(soon());
    expect(toldTo(server)).toHaveLength(2);
  });
});
