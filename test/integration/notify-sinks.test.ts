/** What each sink sends over HTTP, and what it makes of what comes back. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect, promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../src/core/errors.ts';
import { PagerDutySink } from '../../src/notify/pagerduty.ts';
import { PingSink } from '../../src/notify/ping.ts';
import { SlackSink } from '../../src/notify/slack.ts';
import { WebhookSink } from '../../src/notify/webhook.ts';
import { AT, fixed, httpOptions, notice } from '../support/notices.ts';
import { createPki, type Pki } from '../support/pki.ts';
import { type SinkServer, startSinkServer } from '../support/sink-server.ts';
import { startTlsFront } from '../support/tls-front.ts';

const never = new AbortController().signal;
const PLANTED = 'planted-B0123456789';
let server: SinkServer;
let folder: string;
let pki: Pki;
let otherPki: Pki;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'notify-'));
  [pki, otherPki] = await Promise.all([createPki(join(folder, 'pki')), createPki(join(folder, 'other'))]);
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  server = await startSinkServer();
});
afterEach(() => server[Symbol.asyncDispose]());

function slack(change: Partial<ConstructorParameters<typeof SlackSink>[0]> = {}): SlackSink {
  return new SlackSink({ ...httpOptions, url: fixed(`${server.url}/services/T0/${PLANTED}`), ...change });
}

async function failureOf(promise: Promise<unknown>): Promise<StrongroomError> {
  try {
    await promise;
  } catch (e) {
    if (e instanceof StrongroomError) return e;
    throw e;
  }
  throw new Error('it did not fail');
}

const lastBody = (): unknown => JSON.parse(server.received.at(-1)?.body ?? '');

describe('a Slack-compatible webhook', () => {
  it('gets text and blocks, with nothing in them that calls somebody', async () => {
    await slack().send(
      [notice({ title: 'x <!channel> & @here *b*', text: 'see <https://evil|here>\u202e @all' })],
      never,
    );
    expect(server.received[0]).toMatchObject({ method: 'POST', path: `/services/T0/${PLANTED}` });
    expect(server.received[0]?.headers['content-type']).toMatch(/^application\/json/);
    const body = server.received[0]?.body ?? '';
    expect(body).toContain('CRITICAL prod-eu-1: x &lt;!channel&gt; &amp; @\u200bhere *b*');
    expect(body).toContain('see &lt;https://evil|here&gt; @\u200ball');
    expect(body).not.toMatch(/<|>|@all|@here|\u202e/);
    expect(lastBody()).toMatchObject({
      blocks: [{ type: 'section', text: { type: 'mrkdwn', verbatim: true } }, { type: 'section' }],
    });
  });

  it('stays below the limits of the API, with no character cut in half', async () => {
    // Both places where a cut may fall.
    for (const start of ['', 'x']) {
      await slack().send([notice({ title: `${start}${'😀'.repeat(900)}`, text: '' })], never);
      expect((lastBody() as { text: string }).text.isWellFormed()).toBe(true);
      await slack().send([notice({ text: `${start}${'😀'.repeat(5_000)}` })], never);
      expect((lastBody() as { text: string }).text.isWellFormed()).toBe(true);
      expect(server.received.at(-1)?.body).not.toMatch(/\\ud83d(?!\\ude00)/);
    }
    await slack().send([notice({ text: '&😀'.repeat(5_000) })], never);
    const { text, blocks } = lastBody() as { text: string; blocks: { text: { text: string } }[] };
    for (const one of [text, ...blocks.map((block) => block.text.text)]) {
      expect(one.isWellFormed()).toBe(true);
      expect(one).not.toMatch(/&(?!amp;)/);
    }
    expect(blocks.every((block) => block.text.text.length <= 3_000)).toBe(true);
  });

  it('lists several in one message, the worst first', async () => {
    const some = [
      notice({ severity: 'info', title: 'small' }),
      notice({ key: 'b', state: 'resolved', title: 'over' }),
      notice({ key: 'c', cluster: 'prod-us-1', title: 'big' }),
    ];
    await slack().send(some, never);
    const { text } = lastBody() as { text: string };
    expect(text.split('\n')).toEqual([
      'CRITICAL 3 notifications: 1 critical, 1 info, 1 resolved',
      '- CRITICAL prod-us-1: big (2026-03-04T05:06:07Z)',
      '- INFO prod-eu-1: small (2026-03-04T05:06:07Z)',
      '- RESOLVED prod-eu-1: over (2026-03-04T05:06:07Z)',
    ]);
  });

  it('has not taken what it answers with 200 and a no', async () => {
    server.next.push({ status: 200, body: '{"success":false,"error":"no such room"}' });
    await expect(slack().send([notice()], never)).rejects.toMatchObject({
      code: 'E_NOTIFY_REFUSED',
      message: expect.stringMatching(/says no: .*no such room/) as unknown,
    });
    server.next.push({ status: 200, body: '{"success":true}' });
    await slack().send([notice()], never);
  });
});

describe('PagerDuty', () => {
  const pager = () => new PagerDutySink({ ...httpOptions, endpoint: server.url, routingKey: fixed(PLANTED) });
  const taken = { status: 202, body: '{"status":"success","dedup_key":"x"}' };

  it('triggers and resolves the incident of the key', async () => {
    server.usual = taken;
    await pager().send([notice(), notice({ state: 'resolved' })], never);
    expect(server.received.map(({ path }) => path)).toEqual(['/v2/enqueue', '/v2/enqueue']);
    const [trigger, resolve] = server.received.map(({ body }) => JSON.parse(body) as unknown);
    expect(trigger).toMatchObject({
      routing_key: PLANTED,
      event_action: 'trigger',
      dedup_key: 'strongroom/prod-eu-1/backup',
      payload: {
        summary: 'CRITICAL prod-eu-1: the backup failed',
        source: 'prod-eu-1',
        severity: 'critical',
        timestamp: AT.toISOString(),
        custom_details: { run: '01K0', text: expect.stringContaining('unseal it') as unknown },
      },
    });
    expect(resolve).toEqual({
      routing_key: PLANTED,
      event_action: 'resolve',
      dedup_key: 'strongroom/prod-eu-1/backup',
      client: 'strongroom',
    });
  });

  it('tells long keys that begin alike apart', async () => {
    server.usual = taken;
    const long = 'k'.repeat(300);
    await pager().send([notice({ key: `${long}1` }), notice({ key: `${long}2` })], never);
    const keys = server.received.map(({ body }) => (JSON.parse(body) as { dedup_key: string }).dedup_key);
    expect(new Set(keys).size).toBe(2);
    expect(keys.every((key) => key.length <= 255)).toBe(true);
  });

  it('has taken nothing without its success, and never shows the key', async () => {
    server.usual = { status: 200, body: `<html>welcome ${PLANTED}</html>` };
    const error = await failureOf(pager().send([notice()], never));
    expect(error).toMatchObject({ code: 'E_NOTIFY_REFUSED', retryable: false });
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(PLANTED);
  });
});

describe('a webhook', () => {
  const KEY = 'correct horse';
  const hook = () =>
    new WebhookSink({
      ...httpOptions,
      url: fixed(`${server.url}/hook?token=${PLANTED}`),
      secret: fixed(KEY),
      clock: { now: () => new Date() },
    });

  it('gets every event in one document', async () => {
    await hook().send([notice(), notice({ key: 'b', cluster: null, state: 'resolved' })], never);
    expect(server.received[0]?.path).toBe(`/hook?token=${PLANTED}`);
    expect(lastBody()).toMatchObject({
      version: 1,
      source: 'strongroom',
      events: [
        { id: 'prod-eu-1/backup@2026-03-04T05:06:07.000Z#open', key: 'prod-eu-1/backup', severity: 'critical' },
        { key: 'b', cluster: null, state: 'resolved', openedAt: AT.toISOString(), fields: { run: '01K0' } },
      ],
    });
  });

  it('is verified by the code of the documentation, and by nothing else', async () => {
    await hook().send([notice({ text: 'ünïcode' })], never);
    const body = server.received[0]?.body ?? '';
    const header = String(server.received[0]?.headers['x-strongroom-signature']);
    expect(header).toMatch(/^t=\d{10},v1=[0-9a-f]{64}$/);
    const page = await readFile(join(import.meta.dirname, '../../docs/notifications.md'), 'utf8');
    const snippet = /```js\n(.*?)```/s.exec(page)?.[1] ?? '';
    const file = join(folder, 'verify.mjs');
    const ask = `${snippet}\nconst [b, h, s] = JSON.parse(process.argv[2]);\nconsole.log(isFromStrongroom(b, h, s));`;
    await writeFile(file, ask);
    const isTaken = async (text: string, signature: string, secret: string): Promise<string> => {
      const args = [file, JSON.stringify([text, signature, secret])];
      return (await promisify(execFile)(process.execPath, args)).stdout.trim();
    };
    const flipped = body.replace('critical', 'criticaL');
    expect(flipped).not.toBe(body);
    const seconds = Number(/t=(\d+)/.exec(header)?.[1]);
    const later = header.replace(String(seconds), String(seconds + 1));
    const mac = header.slice(-64);
    const otherMac = `${mac.startsWith('0') ? '1' : '0'}${mac.slice(1)}`;
    expect(
      await Promise.all([isTaken(body, header, KEY), isTaken(flipped, header, KEY), isTaken(body, later, KEY)]),
    ).toEqual(['true', 'false', 'false']);
    const others = [header.replace(mac, otherMac), `t=${seconds},v1=`, '', 'nonsense'];
    expect(await Promise.all(others.map((signature) => isTaken(body, signature, KEY)))).toEqual(
      others.map(() => 'false'),
    );
    expect(await isTaken(body, header, 'another')).toBe('false');
    // An old body with its good signature, sent again.
    const { signBody } = await import('../../src/notify/signature.ts');
    const old = signBody(body, await fixed(KEY).resolve(never), new Date(Date.now() - 3_600_000));
    expect(await isTaken(body, old, KEY)).toBe('false');
  });
});

describe('a dead-man ping', () => {
  const run = { cluster: 'prod-eu-1', job: 'backup', isKept: true, at: AT, text: 'two copies\nproven' };
  const options = { ...httpOptions, method: 'POST', path: '{cluster}', failPath: 'fail', testPath: 'log' } as const;

  it('has a path for each cluster, and another for a run that failed', async () => {
    const sink = new PingSink({ ...options, url: fixed(`${server.url}/${PLANTED}/`) });
    await sink.ping(run, never);
    await sink.ping({ ...run, isKept: false, text: 'a copy is missing' }, never);
    await sink.test('prod-eu-1', 'backup', AT, never);
    expect(server.received.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `POST /${PLANTED}/prod-eu-1`,
      `POST /${PLANTED}/prod-eu-1/fail`,
      `POST /${PLANTED}/prod-eu-1/log`,
    ]);
    expect(server.received[1]?.body).toBe('a copy is missing');
  });

  it('asks with GET where that is wanted, and keeps a query at the end', async () => {
    const sink = new PingSink({ ...options, method: 'GET', path: '', url: fixed(`${server.url}/up/x?k=${PLANTED}`) });
    await sink.ping(run, never);
    await sink.ping({ ...run, isKept: false }, never);
    expect(server.received.map(({ method, path, body }) => `${method} ${path}${body}`)).toEqual([
      `GET /up/x?k=${PLANTED}`,
      `GET /up/x/fail?k=${PLANTED}`,
    ]);
  });
});

describe('what comes back', () => {
  it.each([
    [500, 'E_NOTIFY_UNREACHABLE', true],
    [503, 'E_NOTIFY_UNREACHABLE', true],
    [408, 'E_NOTIFY_UNREACHABLE', true],
    [429, 'E_NOTIFY_THROTTLED', true],
    [302, 'E_NOTIFY_REFUSED', false],
    [400, 'E_NOTIFY_REFUSED', false],
    [401, 'E_NOTIFY_REFUSED', false],
    [404, 'E_NOTIFY_REFUSED', false],
    [410, 'E_NOTIFY_REFUSED', false],
  ])('%i is %s, retryable: %s', async (status, code, retryable) => {
    server.usual = { status, body: `no_service /services/T0/${PLANTED}`, headers: { location: `${server.url}/x` } };
    const error = await failureOf(slack().send([notice()], never));
    expect(error).toMatchObject({ code, retryable });
    expect(error.message).toMatch(
      new RegExp(`^notification sink ops \\(127.0.0.1:${server.port}\\) answers ${status}: no_service`),
    );
    expect(inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error)).not.toContain(PLANTED);
    expect(server.received).toHaveLength(1);
  });

  it.each([
    ['7', 7_000],
    [new Date(Date.now() + 90_000).toUTCString(), 90_000],
    ['86400', 900_000],
    ['-1', undefined],
    ['soon', undefined],
  ])('Retry-After: %s', async (value, ms) => {
    server.usual = { status: 429, headers: { 'retry-after': value } };
    const { details } = await failureOf(slack().send([notice()], never));
    if (ms === undefined) expect(details['retryAfterMs']).toBeUndefined();
    else expect(Math.abs(Number(details['retryAfterMs']) - ms)).toBeLessThan(30_000);
  });

  it('that is nothing ends with the time-out, a reset at once', async () => {
    server.next.push('hang', 'reset');
    const hung = await failureOf(slack({ timeoutMs: 200 }).send([notice()], never));
    expect(hung).toMatchObject({ code: 'E_NOTIFY_UNREACHABLE', retryable: true });
    expect(hung.message).toMatch(/no answer within 200 ms$/);
    const lost = await failureOf(slack().send([notice()], never));
    expect(lost).toMatchObject({ code: 'E_NOTIFY_UNREACHABLE', retryable: true });
    expect(lost.message).toMatch(/the connection was lost$/);
    for (const error of [hung, lost]) expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(PLANTED);
  });

  it('of a port where nothing listens, and of a name that is none, says so', async () => {
    const gone = await startSinkServer();
    const url = `${gone.url}/${PLANTED}`;
    await gone[Symbol.asyncDispose]();
    const refused = await failureOf(slack({ url: fixed(url) }).send([notice()], never));
    expect(refused.message).toMatch(/nothing listens there$/);
    const unnamed = await failureOf(slack({ url: fixed(`https://none.invalid/${PLANTED}`) }).send([notice()], never));
    expect(unnamed).toMatchObject({ code: 'E_NOTIFY_UNREACHABLE', retryable: true });
    for (const error of [refused, unnamed]) {
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(PLANTED);
    }
  });

  it('does not matter after an abort, which gives its reason', async () => {
    server.usual = 'hang';
    const stop = new AbortController();
    const sent = slack().send([notice()], stop.signal);
    await server.requests(1);
    const reason = new Error('enough');
    stop.abort(reason);
    await expect(sent).rejects.toBe(reason);
  });
});

describe('TLS', () => {
  it('goes to whom the CA vouches for, and to nobody else', async () => {
    const certificate = await pki.issue({ name: 'sink' });
    await using front = await startTlsFront(server.url, certificate);
    const url = fixed(`${front.url}/${PLANTED}`);
    const ca = (pem: string) => ({ ca: { resolve: () => Promise.resolve(pem) } });
    await slack({ url, ...ca(pki.caPem) }).send([notice()], never);
    expect(server.received).toHaveLength(1);
    for (const wrong of [ca(otherPki.caPem), {}]) {
      const error = await failureOf(slack({ url, ...wrong }).send([notice()], never));
      expect(error).toMatchObject({ code: 'E_NOTIFY_UNREACHABLE', retryable: false });
      expect(error.message).toMatch(/not signed by a CA that is trusted here$/);
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(PLANTED);
    }
    expect(server.received).toHaveLength(1);
    await using other = await startTlsFront(server.url, await pki.issue({ name: 'else', hosts: ['else.example'] }));
    const named = await failureOf(slack({ url: fixed(other.url), ...ca(pki.caPem) }).send([notice()], never));
    expect(named.message).toMatch(/its certificate is for another name$/);
  });

  it.each([
    ['http://sink.example/planted-B0123456789', /would cross the network to sink.example in the clear/],
    ['https://u:planted-B0123456789@sink.example/', /holds a user name or a password/],
    ['planted-B0123456789', /its URL is none/],
    ['file:///planted-B0123456789', /its URL is none/],
  ])('is needed: %s is not asked', async (url, message) => {
    const error = await failureOf(slack({ url: fixed(url) }).send([notice()], never));
    expect(error.code).toBe('E_CONFIG_INVALID');
    expect(error.message).toMatch(message);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(PLANTED);
  });
});
