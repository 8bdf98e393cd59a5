/** E-mail over SMTP. One connection for each message; nothing is sent before TLS stands, unless the config says so. */
import { createHash } from 'node:crypto';
import { createTransport } from 'nodemailer';
import { StrongroomError } from '../core/errors.ts';
import type { Notice } from './event.ts';
import { codeOf, describe, networkFailure, scrub, silent, type Where } from './failure.ts';
import type { SecretSource, Sink, TextSource } from './sink.ts';
import { bodyLines, clip, subject } from './text.ts';

export type EmailOptions = {
  name: string;
  host: string;
  port: number;
  /** `none` sends the message in the clear, and is never combined with a login */
  security: 'starttls' | 'tls' | 'none';
  auth?: { username: string; password: SecretSource };
  /** PEM of the CA certificates that may sign the server's certificate; default: those of the system */
  ca?: TextSource;
  from: string;
  to: readonly string[];
  /** for the whole delivery, in ms */
  timeoutMs: number;
};

const SUBJECT_LIMIT = 200;

export class EmailSink implements Sink {
  readonly name: string;
  readonly type = 'email';
  readonly holdsIncidents = false;
  readonly #options: EmailOptions;

  constructor(options: EmailOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async send(notices: readonly Notice[], signal: AbortSignal): Promise<void> {
    const { from, to, timeoutMs, host, port } = this.#options;
    const where: Where = { sink: this.name, host: `${host}:${port}` };
    const [ca, password] = await Promise.all([
      this.#options.ca?.resolve(signal),
      this.#options.auth?.password.resolve(signal),
    ]);
    const deadline = AbortSignal.timeout(timeoutMs);
    const transport = createTransport(this.#connection(ca, password?.reveal()));
    try {
      const { rejected } = await transport.sendMail({
        from,
        to: [...to],
        subject: clip(`[strongroom] ${subject(notices)}`, SUBJECT_LIMIT),
        text: `${bodyLines(notices).join('\n')}\n`,
        // Mail of one problem is one thread; and no holiday notice answers it.
        ...(notices.length === 1 && notices[0] !== undefined ? { references: threadOf(notices[0]) } : {}),
        headers: { 'Auto-Submitted': 'auto-generated' },
        ...(notices.some(({ severity, state }) => severity === 'critical' && state !== 'resolved')
          ? { priority: 'high' as const }
          : {}),
        disableFileAccess: true,
        disableUrlAccess: true,
        signal: AbortSignal.any([signal, deadline]),
      });
      if (rejected.length > 0) throw this.#partlyRefused(rejected.length, where);
    } catch (e) {
      if (signal.aborted) throw signal.reason;
      if (deadline.aborted) throw silent(where, timeoutMs);
      throw smtpFailure(e, where, password === undefined ? [] : [password.reveal()]);
    } finally {
      transport.close();
    }
  }

  #connection(ca: string | undefined, password: string | undefined) {
    const { host, port, security, auth, timeoutMs } = this.#options;
    if (auth !== undefined && security === 'none') {
      throw new StrongroomError(
        'E_CONFIG_INVALID',
        `notification sink ${this.name}: its password would be sent in the clear`,
        {
          hint: 'write security: starttls or tls',
        },
      );
    }
    return {
      host,
      port,
      secure: security === 'tls',
      requireTLS: security === 'starttls',
      ignoreTLS: security === 'none',
      tls: { minVersion: 'TLSv1.2' as const, rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) },
      // Without it, a server that offers no login is sent the message without one, and may drop it silently.
      ...(auth === undefined || password === undefined
        ? {}
        : { auth: { user: auth.username, pass: password }, forceAuth: true }),
      connectionTimeout: timeoutMs,
      greetingTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      socketCloseTimeout: 1_000,
    };
  }

  #partlyRefused(refused: number, where: Where): StrongroomError {
    const message = `${describe(where)} refuses ${refused} of ${this.#options.to.length} recipients`;
    // Not tried again: the others have it.
    return new StrongroomError('E_NOTIFY_REFUSED', message, {
      hint: 'correct the addresses in `to`; the other recipients have the message',
      details: { ...where, blames: 'message' },
    });
  }
}

/** What nodemailer and the mail server said, in our words. 4yz replies may be tried again, 5yz not. */
function smtpFailure(e: unknown, where: Where, secrets: readonly string[]): StrongroomError {
  if (!(e instanceof Error)) return networkFailure(e, where);
  const field = (name: string): unknown => (name in e ? (e as Error & Record<string, unknown>)[name] : undefined);
  const reply = field('responseCode');
  const response = field('response');
  const beneath = field('originalCode');
  const code = typeof beneath === 'string' ? beneath : codeOf(e);
  if (typeof reply === 'number') {
    const said = scrub(typeof response === 'string' ? response : '', secrets);
    const message = `${describe(where)} answers ${said === '' ? reply : said}`;
    const details = { ...where, status: reply, code: codeOf(e) };
    if (reply < 500)
      return new StrongroomError('E_NOTIFY_UNREACHABLE', message, { hint: 'it is tried again', details });
    return new StrongroomError('E_NOTIFY_REFUSED', message, {
      hint: SMTP_HINTS[codeOf(e)] ?? 'look at the log of the mail server',
      details: { ...details, blames: codeOf(e) === 'EMESSAGE' ? 'message' : 'sink' },
    });
  }
  if (code === 'EAUTH' || code === 'ETLS' || code === 'ENOAUTH') {
    return new StrongroomError('E_NOTIFY_REFUSED', `${describe(where)}: ${scrub(e.message, secrets)}`, {
      hint: SMTP_HINTS[code] ?? '',
      details: { ...where, code, blames: 'sink' },
    });
  }
  return networkFailure(e, where, code);
}

const SMTP_HINTS: Readonly<Record<string, string>> = {
  EAUTH: 'check username and password of the sink; some servers want a password made for this program',
  ENOAUTH: 'check username and password of the sink',
  EENVELOPE: 'check `from` and `to` of the sink, and whether the server relays for this machine',
  ETLS: 'the server does not speak STARTTLS on this port: write security: tls with port 465, or give the server TLS',
};

function threadOf({ key, openedAt }: Notice): string {
  const id = createHash('sha256').update(`${key}\n${openedAt.toISOString()}`).digest('hex').slice(0, 32);
  return `<${id}@strongroom>`;
}
