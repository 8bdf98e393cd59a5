/** The one way to a node: HTTP by undici, bound to one configured origin. No redirect is ever followed. */
import { Readable } from 'node:stream';
import { Client, type Dispatcher, Pool } from 'undici';
import { isError, StrongroomError } from '../core/errors.ts';
import type { Bytes } from '../core/flow.ts';
import type { Log } from '../core/log.ts';
import { Secret } from '../core/secret.ts';
import { Connection, Reach } from './connection.ts';
import { type DownloadBody, download } from './download.ts';
import { networkCode, networkError, silentNode, type UnreachableReason, unreachedNode } from './network-errors.ts';
import type { Answer } from './status-errors.ts';
import { certificateEnd, type TlsOptions, tlsConnect } from './tls.ts';

export type Timeouts = {
  /** until the TCP connection stands, in ms */
  connectMs: number;
  /** for one unauthenticated question of a survey, answer included, in ms */
  probeMs: number;
  /** for any other JSON request, answer included, in ms */
  requestMs: number;
};

export const DEFAULT_TIMEOUTS: Timeouts = { connectMs: 5_000, probeMs: 4_000, requestMs: 30_000 };

/** Largest JSON answer that is read: sys/mounts says about 1 KB per mount, twice. */
const JSON_LIMIT = 32 * 2 ** 20;
const CERTIFICATE_PROBE_MS = 3_000;

export type TransportOptions = { url: string; tls?: TlsOptions; timeouts?: Partial<Timeouts>; log: Log };

export type JsonRequest = {
  method: string;
  /** after `/v1/`, query included; already encoded */
  path: string;
  token?: Secret;
  namespace?: string | undefined;
  /** JSON; a {@link Secret} as a direct value is revealed on the wire, and cut out of what the server says */
  body?: Readonly<Record<string, unknown>>;
  signal: AbortSignal;
  /** for the whole exchange; default `requestMs` */
  timeoutMs?: number;
  /** asked on this connection; default: any that is free */
  on?: Connection;
};

export type StreamRequest = {
  /** the caller's, who disposes it when the answer is read */
  on: Connection;
  method: string;
  path: string;
  token: Secret;
  headers?: Readonly<Record<string, string>>;
  body?: Bytes;
  signal: AbortSignal;
  /** until the status line and headers are there, counted while nothing can be sent, in ms */
  headersMs: number;
  /** between two chunks of the answer, in ms */
  idleMs: number;
};

export type StreamAnswer = { status: number; headers: Readonly<Record<string, string>>; body: DownloadBody };

/** The origin of a node's URL in one spelling. Throws E_CONFIG_INVALID for what is not a bare http(s) origin. */
export function nodeOrigin(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  const bare = parsed !== null && parsed.pathname === '/' && parsed.search === '' && parsed.hash === '';
  if (!bare || !/^https?:$/.test(parsed.protocol) || parsed.username !== '' || parsed.password !== '') {
    // The URL is not repeated when it holds credentials.
    const shown =
      parsed !== null && (parsed.username !== '' || parsed.password !== '') ? 'a URL with credentials' : `"${url}"`;
    throw new StrongroomError('E_CONFIG_INVALID', `${shown} is not the address of a node`, {
      hint: 'write scheme, host and port only, such as https://vault-0.vault-internal:8200',
    });
  }
  return parsed.origin;
}

/**
 * Sends requests to one node and to nothing else: the token can reach no other origin. The owner disposes it, which
 * breaks off what is still running. Failures of the network come out as E_VAULT_UNREACHABLE, E_VAULT_TLS or
 * E_VAULT_RESPONSE; an abort rejects with the signal's reason. Every HTTP status is an answer, not a failure.
 */
export class NodeTransport implements AsyncDisposable {
  readonly origin: string;
  readonly timeouts: Timeouts;
  readonly #tls: TlsOptions | undefined;
  readonly #clientOptions: Client.Options;
  readonly #pool: Pool;
  readonly #reach: Reach;

  constructor(options: TransportOptions) {
    this.origin = nodeOrigin(options.url);
    this.timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    this.#tls = options.tls;
    if (options.tls?.insecureSkipVerify === true) {
      options.log.warn(
        { node: this.origin },
        'TLS verification is OFF: whoever is on the path can read tokens and change snapshots',
      );
    }
    this.#clientOptions = {
      connect: { ...tlsConnect(options.tls), timeout: this.timeouts.connectMs },
      // One request per connection at a time: a snapshot download must not hold up a token renewal.
      pipelining: 1,
      // Server side it is 5 minutes; well below that no request meets a connection that is just being closed.
      keepAliveTimeout: 10_000,
      keepAliveMaxTimeout: 30_000,
    };
    this.#pool = new Pool(this.origin, { ...this.#clientOptions, connections: 16 });
    this.#reach = new Reach(this.#pool);
  }

  /** A connection of its own, not opened before the first request on it. Whoever asked for it disposes it. */
  connection(): Connection {
    return new Connection(new Client(this.origin, this.#clientOptions));
  }

  /** Resolves when the next of its connections ends: a process that dies takes them along at once. */
  async disconnected(): Promise<void> {
    await this.#reach.lost();
  }

  get isTls(): boolean {
    return this.origin.startsWith('https:');
  }

  /** True when a client certificate is presented. */
  get hasClientCertificate(): boolean {
    return this.#tls?.cert !== undefined && this.#tls.key !== undefined;
  }

  /** One JSON exchange. A body over 32 MiB is E_VAULT_RESPONSE; one that is not JSON is an answer without `json`. */
  async json(request: JsonRequest): Promise<Answer> {
    const timeoutMs = request.timeoutMs ?? this.timeouts.requestMs;
    const deadline = AbortSignal.timeout(timeoutMs);
    const sent = request.body === undefined ? undefined : JSON.stringify(revealed(request.body));
    const began = performance.now();
    try {
      const response = await (request.on?.client ?? this.#pool).request({
        method: request.method as Dispatcher.HttpMethod,
        path: `/v1/${request.path}`,
        headers: {
          ...baseHeaders(request.token),
          ...(request.namespace === undefined ? {} : { 'x-vault-namespace': request.namespace }),
          ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: sent ?? null,
        signal: AbortSignal.any([request.signal, deadline]),
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      });
      const text = await this.#text(response.body, JSON_LIMIT);
      const headers = flatten(response.headers);
      request.on?.answered(headers['connection']);
      return answer(response.statusCode, headers, text, secretsOf(request));
    } catch (e) {
      if (request.signal.aborted) throw request.signal.reason;
      if (deadline.aborted && !isError(e)) {
        const isReached = (request.on?.reach ?? this.#reach).since(began);
        throw (isReached ? silentNode : unreachedNode)(this.origin, timeoutMs, e);
      }
      throw await this.#translate(e);
    }
  }

  /**
   * Starts an exchange of bytes and resolves when the headers are there. The caller reads `body` to its end or destroys
   * it. Rejects with E_VAULT_UNREACHABLE when `on` had to be opened anew, so that whoever answered on it before may not
   * be whom this would reach; else with the *untranslated* failure of the socket, whose meaning depends on how far the
   * body was: see {@link NodeTransport.failure}.
   */
  async stream(request: StreamRequest): Promise<StreamAnswer> {
    const { on } = request;
    const options = {
      method: request.method as Dispatcher.HttpMethod,
      path: `/v1/${request.path}`,
      headers: { ...baseHeaders(request.token), ...request.headers },
      headersTimeout: request.headersMs,
      bodyTimeout: request.idleMs,
    };
    const response =
      request.body === undefined
        ? await download(on.client, options, request.signal)
        : await upload(on.client, options, this.#onSame(request.body, on), request.signal);
    if (!on.isSame()) {
      response.body.destroy();
      throw this.#otherPeer();
    }
    return { status: response.statusCode, headers: flatten(response.headers), body: response.body };
  }

  /** The rest of a refusing stream as an {@link Answer}; at most 64 KiB of it are read. `token` is cut out of it. */
  async refusal(response: StreamAnswer, token: Secret): Promise<Answer> {
    const text = await this.#text(response.body, 65_536);
    return answer(response.status, response.headers, text, [token.reveal()]);
  }

  /** What a failure of {@link NodeTransport.stream}, or of reading its body, means. The abort is the caller's to sort out. */
  failure(e: unknown): Promise<StrongroomError> {
    return this.#translate(e);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy();
  }

  /** Nothing of `body` is asked for, let alone sent, when it would go out on another connection. */
  async *#onSame(body: Bytes, on: Connection): Bytes {
    if (!on.isSame()) throw this.#otherPeer();
    yield* body;
  }

  #otherPeer(): StrongroomError {
    return new StrongroomError('E_VAULT_UNREACHABLE', `the connection was lost to ${this.origin}`, {
      hint: 'try again; it broke off before anything was sent or taken',
      details: { node: this.origin, reason: 'reset' satisfies UnreachableReason },
    });
  }

  async #text(body: AsyncIterable<Uint8Array>, limit: number): Promise<string> {
    const chunks: Uint8Array[] = [];
    let total = 0;
    for await (const chunk of body) {
      total += chunk.byteLength;
      if (total > limit) {
        throw new StrongroomError('E_VAULT_RESPONSE', `an answer of ${this.origin} is larger than ${limit} bytes`, {
          hint: 'is this the address of a node?',
          details: { node: this.origin },
          retryable: false,
        });
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, total).toString('utf8');
  }

  async #translate(e: unknown): Promise<StrongroomError> {
    const error = networkError(e, this.origin);
    if (networkCode(e) !== 'CERT_HAS_EXPIRED') return error;
    const end = await certificateEnd(new URL(this.origin), this.#tls?.serverName, CERTIFICATE_PROBE_MS);
    if (end === null) return error;
    return new StrongroomError('E_VAULT_TLS', `the certificate of ${this.origin} expired at ${end.toISOString()}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      details: { ...error.details, expiredAt: end.toISOString() },
      cause: e,
    });
  }
}

async function upload(
  client: Client,
  options: Dispatcher.DispatchOptions,
  body: Bytes,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const sent = Readable.from(body, { objectMode: true, highWaterMark: 1 });
  const response = await client.request({ ...options, body: sent, signal });
  // Destroying an unread body emits the abort as 'error'; without a listener that would end the process.
  response.body.on('error', () => undefined);
  return response;
}

function baseHeaders(token: Secret | undefined): Record<string, string> {
  return {
    accept: '*/*',
    'user-agent': 'strongroom',
    // Servers in front of a node (Vault Agent with require_request_header) want to see that this is no forged request.
    'x-vault-request': 'true',
    ...(token === undefined ? {} : { 'x-vault-token': token.reveal() }),
  };
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
}

function revealed(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(body).map(([name, value]) => [name, value instanceof Secret ? (value.reveal() as unknown) : value]),
  );
}

function secretsOf(request: JsonRequest): string[] {
  const values = [request.token, ...Object.values(request.body ?? {})]
    .filter((value) => value instanceof Secret)
    .map((secret): unknown => secret.reveal());
  return values.filter((value) => typeof value === 'string');
}

function answer(status: number, headers: Record<string, string>, text: string, secrets: readonly string[]): Answer {
  const json = parse(text);
  const errors = typeof json === 'object' && json !== null && 'errors' in json ? json.errors : undefined;
  const said = Array.isArray(errors)
    ? errors.filter((line) => typeof line === 'string')
    : json === undefined && status >= 300 && text !== ''
      ? [text.replace(/<[^>]*>/g, ' ')]
      : [];
  return { status, headers, json, errors: said.map((line) => scrub(line, secrets)) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** One line, short, and without anything that we sent as a secret: a server that echoes its input must not reach a log. */
function scrub(line: string, secrets: readonly string[]): string {
  // Replacing a secret of three characters would garble every sentence, and tell it.
  const clean = secrets.filter((s) => s.length > 3).reduce((text, secret) => text.replaceAll(secret, '[secret]'), line);
  return clean
    .replace(/\d+ errors? occurred:/g, ' ')
    .replace(/[\s*]+/g, ' ')
    .trim()
    .slice(0, 400);
}
