/** A small mail server: EHLO, STARTTLS, AUTH PLAIN and LOGIN, MAIL, RCPT, DATA. Keeps what it was given; relays nothing. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { Certificate } from './pki.ts';
import { resetSocket } from './reset-socket.ts';

export type SmtpOptions = {
  /** needed for `starttls` and `tls` */
  certificate?: Certificate;
  security: 'starttls' | 'tls' | 'none';
  /** the only login it takes; default: AUTH is not offered */
  login?: { username: string; password: string };
  /** offers only this mechanism */
  mechanism?: 'PLAIN' | 'LOGIN';
};

export type Mail = { from: string; to: string[]; data: string; isSecure: boolean; user: string | null };

/** Listens on a free port of 127.0.0.1. Disposing destroys all connections. */
export async function startSmtpServer(options: SmtpOptions): Promise<SmtpServer> {
  const { certificate } = options;
  const tls =
    certificate === undefined
      ? null
      : { cert: await readFile(certificate.certFile, 'utf8'), key: await readFile(certificate.keyFile, 'utf8') };
  const server = new SmtpServer(options, tls);
  await server.listen();
  return server;
}

export class SmtpServer implements AsyncDisposable {
  readonly mails: Mail[] = [];
  /** every line of a client with whether it came over TLS, DATA left out */
  readonly lines: { text: string; isSecure: boolean }[] = [];
  /** answers for the next times that a verb comes, instead of its own; `hang` and `reset` are no answers */
  readonly next: { verb: string; answer: string }[] = [];
  readonly #options: SmtpOptions;
  readonly #tls: { cert: string; key: string } | null;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(options: SmtpOptions, tls: { cert: string; key: string } | null) {
    this.#options = options;
    this.#tls = tls;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => this.#sockets.delete(socket));
      if (options.security === 'tls') this.#serve(socket, this.#secure(socket), true);
      else this.#serve(socket, null, true);
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #secure(socket: Socket): TLSSocket {
    if (this.#tls === null) throw new Error('a certificate is needed');
    const secured = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(this.#tls) });
    // A client that refuses the certificate: its own words are what a test looks at.
    secured.on('error', () => undefined);
    return secured;
  }

  /** `secured` = the TLS over `raw`, once there is one. */
  #serve(raw: Socket, secured: TLSSocket | null, isNew: boolean): void {
    const isSecure = secured !== null;
    const socket = secured ?? raw;
    const session = new Session(this.#options, isSecure);
    let buffered = '';
    const write = (text: string): void => {
      if (text !== '') socket.write(`${text}\r\n`);
    };
    if (isNew) this.#reply('GREETING', '220 test ESMTP', raw, write);
    const onData = (chunk: Buffer): void => {
      buffered += chunk.toString('utf8');
      for (let end = buffered.indexOf('\r\n'); end !== -1; end = buffered.indexOf('\r\n')) {
        const line = buffered.slice(0, end);
        buffered = buffered.slice(end + 2);
        const verb = session.verbOf(line);
        if (!session.isInData) this.lines.push({ text: line, isSecure });
        if (verb === 'STARTTLS' && this.#options.security === 'starttls' && !isSecure) {
          socket.off('data', onData);
          write('220 go ahead');
          this.#serve(raw, this.#secure(raw), false);
          return;
        }
        const answer = session.take(line);
        if (session.finished !== null) {
          this.mails.push(session.finished);
          session.finished = null;
        }
        if (answer !== null) this.#reply(verb, answer, raw, write);
      }
    };
    socket.on('data', onData);
  }

  #reply(verb: string, usual: string, raw: Socket, write: (text: string) => void): void {
    const index = this.next.findIndex((one) => one.verb === verb);
    const answer = index === -1 ? usual : (this.next.splice(index, 1)[0]?.answer ?? usual);
    if (answer === 'hang') return;
    if (answer === 'reset') resetSocket(raw);
    else write(answer);
  }
}

/** One connection's side of the dialogue. */
class Session {
  finished: Mail | null = null;
  isInData = false;
  readonly #options: SmtpOptions;
  readonly #isSecure: boolean;
  #user: string | null = null;
  #expected: 'username' | 'password' | null = null;
  #given = '';
  #from = '';
  #to: string[] = [];
  #data: string[] = [];

  constructor(options: SmtpOptions, isSecure: boolean) {
    this.#options = options;
    this.#isSecure = isSecure;
  }

  verbOf(line: string): string {
    if (this.isInData) return line === '.' ? 'MESSAGE' : 'TEXT';
    return this.#expected === null ? (line.split(/[ :]/)[0] ?? '').toUpperCase() : 'AUTH';
  }

  /** null = nothing is answered */
  take(line: string): string | null {
    if (this.isInData) return this.#text(line);
    if (this.#expected !== null) return this.#login(line);
    const verb = this.verbOf(line);
    if (verb === 'EHLO') return this.#extensions();
    if (verb === 'AUTH') return this.#auth(line);
    if (verb === 'MAIL') {
      if (this.#options.login !== undefined && this.#user === null) return '530 5.7.0 log in first';
      this.#from = /<([^>]*)>/.exec(line)?.[1] ?? '';
      this.#to = [];
      return '250 ok';
    }
    if (verb === 'RCPT') {
      const to = /<([^>]*)>/.exec(line)?.[1] ?? '';
      if (to.startsWith('nobody@')) return '550 5.1.1 no such mailbox';
      this.#to.push(to);
      return '250 ok';
    }
    if (verb === 'DATA') {
      this.isInData = true;
      this.#data = [];
      return '354 go on';
    }
    return verb === 'QUIT' ? '221 bye' : '502 not here';
  }

  #extensions(): string {
    const { security, login, mechanism } = this.#options;
    const lines = ['test', '8BITMIME', 'SMTPUTF8'];
    if (security === 'starttls' && !this.#isSecure) lines.push('STARTTLS');
    if (login !== undefined) lines.push(`AUTH ${mechanism ?? 'PLAIN LOGIN'}`);
    return lines.map((line, index) => `250${index === lines.length - 1 ? ' ' : '-'}${line}`).join('\r\n');
  }

  #auth(line: string): string {
    const [, mechanism, initial] = line.split(' ');
    if (mechanism === 'PLAIN' && initial !== undefined) {
      const [, username = '', password = ''] = Buffer.from(initial, 'base64').toString('utf8').split('\0');
      return this.#check(username, password);
    }
    if (mechanism !== 'LOGIN') return '504 5.5.4 not this mechanism';
    this.#expected = 'username';
    return '334 VXNlcm5hbWU6';
  }

  #login(line: string): string {
    const text = Buffer.from(line, 'base64').toString('utf8');
    if (this.#expected === 'username') {
      this.#given = text;
      this.#expected = 'password';
      return '334 UGFzc3dvcmQ6';
    }
    this.#expected = null;
    return this.#check(this.#given, text);
  }

  #check(username: string, password: string): string {
    const { login } = this.#options;
    // Servers have been seen to repeat what they were given.
    if (login?.username !== username || login.password !== password) return `535 5.7.8 no such login (${password})`;
    this.#user = username;
    return '235 welcome';
  }

  #text(line: string): string | null {
    if (line !== '.') {
      this.#data.push(line.startsWith('.') ? line.slice(1) : line);
      return null;
    }
    this.isInData = false;
    const data = this.#data.join('\r\n');
    this.finished = { from: this.#from, to: this.#to, data, isSecure: this.#isSecure, user: this.#user };
    return '250 taken';
  }
}
