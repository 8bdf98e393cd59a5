/** `strongroom notify test`, and a notifier out of a config, against real servers. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.ts';
import { startNotifier } from '../../src/notifications.ts';
import { event } from '../support/notices.ts';
import { createPki, type Pki } from '../support/pki.ts';
import { type SinkServer, startSinkServer } from '../support/sink-server.ts';
import { type SmtpServer, startSmtpServer } from '../support/smtp-server.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { SAMPLE } from '../unit/config/sample.ts';

const PLANTED = 'planted-0123456789';
let folder: string;
let pki: Pki;
let web: SinkServer;
let pager: SinkServer;
let mail: SmtpServer;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'notify-cli-'));
  pki = await createPki(join(folder, 'pki'));
});
afterAll(() => rm(folder, { recursive: true }));
beforeEach(async () => {
  web = await startSinkServer();
  pager = await startSinkServer({ status: 202, body: '{"status":"success"}' });
  const certificate = await pki.issue({ name: 'mail' });
  mail = await startSmtpServer({ certificate, security: 'starttls', login: { username: 'sr', password: PLANTED } });
  env = {
    CHAT: `${web.url}/chat/${PLANTED}`,
    HOOK: `${web.url}/hook/${PLANTED}`,
    PING: `${web.url}/ping/${PLANTED}`,
    KEY: PLANTED,
    HOME: folder,
  };
});
afterEach(async () => {
  await Promise.all([web, pager, mail].map((server) => server[Symbol.asyncDispose]()));
});

const config = (): string => `${SAMPLE}notifications:
  burst: { events: 5, window: 20ms }
  sinks:
    chat: { type: slack, url: env:CHAT, severity: critical, clusters: [prod-eu-1] }
    hook: { type: webhook, url: env:HOOK, secret: env:KEY }
    pager: { type: pagerduty, routingKey: env:KEY, endpoint: "${pager.url}" }
    mail:
      type: email
      host: 127.0.0.1
      port: ${mail.port}
      ca: file:pki/ca.pem
      from: sr@example.com
      to: [ops@example.com]
      auth: { username: sr, password: env:KEY }
    alive: { type: ping, url: env:PING }
`;

async function notifyTest(...args: string[]): ReturnType<typeof runCli> {
  await writeFile(join(folder, 'strongroom.yaml'), config());
  return await runCli(['notify', 'test', ...args], { env, cwd: folder });
}

describe('notify test', () => {
  it('goes through every sink, leaves no incident, and pings nobody that a run was good', async () => {
    const { code, stdout, stderr } = await notifyTest('--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { sinks } = JSON.parse(stdout) as { sinks: unknown[] };
    expect(sinks).toEqual(
      [
        ['chat', 'slack'],
        ['hook', 'webhook'],
        ['pager', 'pagerduty'],
        ['mail', 'email'],
        ['alive', 'ping'],
      ].map(([name, type]) => ({ name, type, isTaken: true, error: null })),
    );
    expect(web.received.map(({ path }) => path).toSorted()).toEqual([
      `/chat/${PLANTED}`,
      `/hook/${PLANTED}`,
      `/ping/${PLANTED}/prod-eu-1/log`,
    ]);
    expect(pager.received.map(({ body }) => (JSON.parse(body) as { event_action: string }).event_action)).toEqual([
      'trigger',
      'resolve',
    ]);
    expect(mail.mails).toHaveLength(1);
    expect(stdout).not.toContain(PLANTED);
  });

  it('ends with 3 when one sink did not take it, and says which and why', async () => {
    web.usual = { status: 404, body: `no_service ${PLANTED}` };
    const { code, stdout, stderr } = await notifyTest();
    expect(code).toBe(3);
    expect(stdout).toMatch(/^pager +pagerduty +yes$/m);
    expect(stdout).toMatch(/^mail +email +yes$/m);
    expect(stdout).toMatch(
      /^chat +slack +NO +notification sink chat \(127\.0\.0\.1:\d+\) answers 404: no_service \[secret\]/m,
    );
    expect(stderr).toContain('error E_PARTIAL: 3 of 5 sinks did not take the test: chat, hook, alive');
    expect(stdout + stderr).not.toContain(PLANTED);
  });

  it('asks one sink only where one is named', async () => {
    const { code, stdout } = await notifyTest('--sink', 'mail');
    expect(code).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(2);
    expect([web.received.length, pager.received.length, mail.mails.length]).toEqual([0, 0, 1]);
    const unknown = await notifyTest('--sink', 'mial');
    expect(unknown).toMatchObject({ code: 2, stdout: '' });
    expect(unknown.stderr).toContain('did you mean mail?');
  });

  it('takes a secret that is not there for a sink that did not take it', async () => {
    delete env['CHAT'];
    const { code, stdout } = await notifyTest();
    expect(code).toBe(3);
    expect(stdout).toMatch(/^chat .*NO .*environment variable CHAT is not set/m);
    expect(web.received).toHaveLength(2);
  });

  it('is no success where there is no sink', async () => {
    await writeFile(join(folder, 'none.yaml'), SAMPLE);
    const { code, stderr } = await runCli(['notify', 'test', '-c', 'none.yaml'], { env, cwd: folder });
    expect(code).toBe(15);
    expect(stderr).toContain('has no notification sink');
  });
});

it('a notifier out of a config tells every kind of sink what concerns it', async () => {
  const parsed = parseConfig(config(), join(folder, 'strongroom.yaml'), { env });
  const ignore = (): undefined => undefined;
  const observer = { delivered: ignore, failed: ignore, dropped: ignore, restoreFailed: ignore };
  const wiring = { clock: { now: () => new Date() }, observer, restore: () => Promise.resolve([]) };
  await using notifier = await startNotifier(parsed, wiring, new AbortController().signal);
  notifier.notify(event({ key: 'w', severity: 'warning' }));
  notifier.notify(event({ key: 'c' }));
  notifier.ran({ cluster: 'prod-eu-1', job: 'backup', isKept: false, at: new Date(), text: 'a copy is missing' });
  await notifier.flush(AbortSignal.timeout(15_000));
  const paths = web.received.map(({ path }) => path.replace(PLANTED, 'x')).toSorted();
  expect(paths).toEqual(['/chat/x', '/hook/x', '/hook/x', '/ping/x/prod-eu-1/fail']);
  expect(pager.received).toHaveLength(1);
  expect(mail.mails).toHaveLength(2);
});
