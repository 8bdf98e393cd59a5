/** E-mail over real SMTP dialogues: TLS before anything else, logins, refusals, and servers that fall silent. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EmailSink } from '../../src/notify/email.ts';
import { fixed, notice } from '../support/notices.ts';
import { type Certificate, createPki, type Pki } from '../support/pki.ts';
import { type SmtpServer, startSmtpServer } from '../support/smtp-server.ts';
import { startTcp } from '../support/tcp-server.ts';
import { until } from '../support/until.ts';

const never = new AbortController().signal;
const PASSWORD = 'planted-hunter2';
const login = { username: 'strongroom', password: PASSWORD };
let folder: string;
let pki: Pki;
let otherPki: Pki;
let certificate: Certificate;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'notify-mail-'));
  [pki, otherPki] = await Promise.all([createPki(join(folder, 'pki')), createPki(join(folder, 'other'))]);
  certificate = await pki.issue({ name: 'mail' });
});
afterAll(() => rm(folder, { recursive: true }));

function sink(port: number, change: Partial<ConstructorParameters<typeof EmailSink>[0]> = {}): EmailSink {
  return new EmailSink({
    name: 'mail',
    host: '127.0.0.1',
    port,
    security: 'starttls',
    auth: { username: 'strongroom', password: fixed(PASSWORD) },
    ca: { resolve: () => Promise.resolve(pki.caPem) },
    from: 'strongroom <sr@example.com>',
    to: ['ops@example.com', 'night@example.com'],
    timeoutMs: 10_000,
    ...change,
  });
}

const secured = (): Promise<SmtpServer> => startSmtpServer({ certificate, security: 'starttls', login });

describe('a mail', () => {
  it.each(['PLAIN', 'LOGIN'] as const)('goes over STARTTLS with a login by %s', async (mechanism) => {
    await using server = await startSmtpServer({ certificate, security: 'starttls', login, mechanism });
    await sink(server.port).send([notice({ title: 'x\r\nBcc: evil@example.com', text: 'line\n.\nend' })], never);
    const [mail] = server.mails;
    expect(mail).toMatchObject({
      from: 'sr@example.com',
      to: ['ops@example.com', 'night@example.com'],
      isSecure: true,
      user: 'strongroom',
    });
    expect(mail?.data).toContain('Subject: [strongroom] CRITICAL prod-eu-1: x Bcc: evil@example.com');
    expect(mail?.data).toMatch(/\r\n\r\nline\r\n\.\r\nend\r\n/);
    expect(mail?.data).toContain('Auto-Submitted: auto-generated');
    expect(mail?.data).toMatch(/X-Priority: 1/);
    // Nothing but the greeting and the wish for TLS was said in the clear.
    const clear = server.lines.filter(({ isSecure }) => !isSecure).map(({ text }) => text.split(' ')[0]);
    expect(clear).toEqual(['EHLO', 'STARTTLS']);
  });

  it('goes over TLS from the first byte', async () => {
    await using server = await startSmtpServer({ certificate, security: 'tls', login });
    await sink(server.port, { security: 'tls' }).send([notice()], never);
    expect(server.mails).toMatchObject([{ isSecure: true, user: 'strongroom' }]);
    expect(server.lines.every(({ isSecure }) => isSecure)).toBe(true);
  });

  it('of one problem is one thread', async () => {
    await using server = await secured();
    const one = notice();
    for (const it of [one, { ...one, state: 'resolved' as const }, notice({ key: 'other' })]) {
      await sink(server.port).send([it], never);
    }
    const threads = server.mails.map(({ data }) => /References: (\S+)/.exec(data)?.[1]);
    expect(threads[0]).toMatch(/^<[0-9a-f]{32}@strongroom>$/);
    expect(threads[1]).toBe(threads[0]);
    expect(threads[2]).not.toBe(threads[0]);
  });

  it('goes in the clear only where that is said, and never with a login', async () => {
    await using server = await startSmtpServer({ security: 'none' });
    await expect(sink(server.port, { security: 'none' }).send([notice()], never)).rejects.toMatchObject({
      code: 'E_CONFIG_INVALID',
    });
    const open = new EmailSink({
      name: 'mail',
      host: '127.0.0.1',
      port: server.port,
      security: 'none',
      from: 'sr@example.com',
      to: ['ops@example.com'],
      timeoutMs: 10_000,
    });
    expect(server.lines).toEqual([]);
    await open.send([notice()], never);
    expect(server.mails).toMatchObject([{ isSecure: false, user: null }]);
  });
});

describe('nothing is sent', () => {
  it('to a server without STARTTLS', async () => {
    await using server = await startSmtpServer({ security: 'none', login });
    const error = await failure(sink(server.port).send([notice()], never));
    expect(error).toMatchObject({ code: 'E_NOTIFY_REFUSED', retryable: false });
    expect(server.lines.map(({ text }) => text.split(' ')[0])).not.toContain('AUTH');
    expect(server.mails).toEqual([]);
  });

  it.each(['starttls', 'tls'] as const)('to a server that the CA does not vouch for (%s)', async (security) => {
    await using server = await startSmtpServer({ certificate, security, login });
    const wrong = { security, ca: { resolve: () => Promise.resolve(otherPki.caPem) } };
    const error = await failure(sink(server.port, wrong).send([notice()], never));
    expect(error).toMatchObject({ code: 'E_NOTIFY_UNREACHABLE', retryable: false });
    expect(String(error)).toContain('not signed by a CA that is trusted here');
    expect(server.lines.filter(({ text }) => /^(AUTH|MAIL)/.test(text))).toEqual([]);
  });

  it('without the login that was configured', async () => {
    await using server = await startSmtpServer({ certificate, security: 'starttls' });
    const error = await failure(sink(server.port).send([notice()], never));
    expect(error).toMatchObject({ code: 'E_NOTIFY_REFUSED', retryable: false });
    expect(server.mails).toEqual([]);
  });
});

describe('a mail server that says no', () => {
  it('to the login, is not asked again, and its echo of the password is not repeated', async () => {
    await using server = await secured();
    const wrong = { auth: { username: 'strongroom', password: fixed('planted-wrong') } };
    const error = await failure(sink(server.port, wrong).send([notice()], never));
    expect(error).toMatchObject({ code: 'E_NOTIFY_REFUSED', retryable: false });
    expect(String(error)).toMatch(
      /notification sink mail \(127\.0\.0\.1:\d+\) answers 535 5\.7\.8 no such login \(\[secret\]\)/,
    );
    expect(inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error)).not.toContain('planted');
  });

  it('to one recipient, has not taken the message', async () => {
    await using server = await secured();
    const some = sink(server.port, { to: ['ops@example.com', 'nobody@example.com'] });
    const error = await failure(some.send([notice()], never));
    expect(error).toMatchObject({ code: 'E_NOTIFY_REFUSED', retryable: false });
    expect(String(error)).toContain('refuses 1 of 2 recipients');
    expect(server.mails).toHaveLength(1);
    const none = await failure(sink(server.port, { to: ['nobody@example.com'] }).send([notice()], never));
    expect(none).toMatchObject({ code: 'E_NOTIFY_REFUSED', retryable: false });
    expect(server.mails).toHaveLength(1);
  });

  it.each([
    ['MAIL', '451 4.7.1 greylisted', 'E_NOTIFY_UNREACHABLE', true],
    ['MESSAGE', '452 4.3.1 disk full', 'E_NOTIFY_UNREACHABLE', true],
    ['AUTH', '454 4.7.0 try later', 'E_NOTIFY_UNREACHABLE', true],
    ['GREETING', '421 4.3.2 busy', 'E_NOTIFY_UNREACHABLE', true],
    ['MAIL', '550 5.7.1 not you', 'E_NOTIFY_REFUSED', false],
    ['MESSAGE', '554 5.6.0 spam', 'E_NOTIFY_REFUSED', false],
  ])('to %s with %s is %s', async (verb, answer, code, retryable) => {
    await using server = await secured();
    server.next.push({ verb, answer });
    const error = await failure(sink(server.port).send([notice()], never));
    expect(error).toMatchObject({ code, retryable });
    expect(server.mails.length === 0 || verb === 'MESSAGE').toBe(true);
  });

  it.each(['GREETING', 'EHLO', 'AUTH', 'MESSAGE'])(
    'by silence or a reset after %s, may be asked again',
    async (verb) => {
      await using server = await secured();
      server.next.push({ verb, answer: 'hang' });
      const hung = await failure(sink(server.port, { timeoutMs: 400 }).send([notice()], never));
      expect(hung).toMatchObject({ code: 'E_NOTIFY_UNREACHABLE', retryable: true });
      server.next.push({ verb, answer: 'reset' });
      const lost = await failure(sink(server.port).send([notice()], never));
      expect(lost).toMatchObject({ code: 'E_NOTIFY_UNREACHABLE', retryable: true });
      await sink(server.port).send([notice()], never);
    },
  );

  it('by not being there, or by not speaking SMTP, may be asked again', async () => {
    const gone = await secured();
    const { port } = gone;
    await gone[Symbol.asyncDispose]();
    expect(await failure(sink(port).send([notice()], never))).toMatchObject({ retryable: true });
    await using web = await startTcp((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    expect(await failure(sink(web.port).send([notice()], never))).toMatchObject({ code: 'E_NOTIFY_UNREACHABLE' });
  });

  it('does not matter after an abort, which gives its reason and closes the connection', async () => {
    await using server = await secured();
    server.next.push({ verb: 'MAIL', answer: 'hang' });
    const stop = new AbortController();
    const sent = sink(server.port).send([notice()], stop.signal);
    await until(
      'the dialogue has begun',
      async () => server.lines.some(({ text }) => text.startsWith('MAIL')) || undefined,
    );
    const reason = new Error('enough');
    stop.abort(reason);
    await expect(sent).rejects.toBe(reason);
  });
});

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => expect.unreachable('it did not fail'),
    (e: unknown) => e,
  );
}
