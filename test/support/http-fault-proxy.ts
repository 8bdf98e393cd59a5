/**
 * An HTTP proxy that breaks single answers of a real server: for faults that TCP cannot tell apart, such as a body that
 * ends early but cleanly, or an answer that is lost after the server has acted.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { resetSocket } from './reset-socket.ts';

export type HttpFault =
  /** answered here; the server never hears of it */
  | { kind: 'answer'; status: number; headers?: Record<string, string>; body?: string }
  /** status and headers of the server, so many bytes of its body, and a clean end (chunked, without its length) */
  | { kind: 'truncate'; afterBytes: number }
  /** one bit of the body is other than the server sent it */
  | { kind: 'flip'; atByte: number }
  /** the server gets the whole request and acts; its answer is dropped and the connection reset */
  | { kind: 'lose-answer' }
  /** the server acts; its answer is held back until the client gives up */
  | { kind: 'hold-answer' }
  /** so many milliseconds before the server hears of it */
  | { kind: 'delay'; ms: number };

export type HttpRule = {
  method?: string;
  /** tested against path and query */
  path?: RegExp;
  /** so many are let through first, and are no hits */
  after?: number;
  /** over after so many hits; default: until removed */
  times?: number;
  fault: HttpFault;
};

export type SetHttpRule = Disposable & { readonly hits: number };

/**
 * A started proxy on a free port of 127.0.0.1 for an `http:` URL; `onRequest` is told of each request with its headers, before
 * anything is done with it. The caller disposes of it.
 */
export async function startHttpFaultProxy(
  target: string,
  onRequest: (incoming: IncomingMessage) => void = () => undefined,
): Promise<HttpFaultProxy> {
  const proxy = new HttpFaultProxy(target, onRequest);
  await proxy.listen();
  return proxy;
}

export class HttpFaultProxy implements AsyncDisposable {
  /** `METHOD path` of everything that came in, oldest first */
  readonly requests: string[] = [];
  readonly #target: URL;
  readonly #rules = new Set<HttpRule & { hits: number; passed: number }>();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  readonly #onRequest: (incoming: IncomingMessage) => void;

  constructor(target: string, onRequest: (incoming: IncomingMessage) => void = () => undefined) {
    this.#onRequest = onRequest;
    this.#target = new URL(target);
    if (this.#target.protocol !== 'http:') throw new TypeError(`only http: can be proxied, not ${target}`);
    this.#server = createServer((incoming, response) => void this.#serve(incoming, response));
    // An upload through us may take as long as its server lets it.
    this.#server.requestTimeout = 0;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** The first matching rule applies. Ends with the returned object's `dispose`, or after `times` hits. */
  rule(rule: HttpRule): SetHttpRule {
    const entry = { ...rule, hits: 0, passed: 0 };
    this.#rules.add(entry);
    return {
      get hits() {
        return entry.hits;
      },
      [Symbol.dispose]: () => void this.#rules.delete(entry),
    };
  }

  clear(): void {
    this.#rules.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = incoming.url ?? '/';
    this.requests.push(`${incoming.method ?? ''} ${path}`);
    this.#onRequest(incoming);
    const fault = this.#match(incoming.method ?? '', path);
    try {
      if (fault?.kind === 'answer') {
        incoming.resume();
        response.writeHead(fault.status, fault.headers).end(fault.body);
        return;
      }
      if (fault?.kind === 'delay') await this.#pause(fault.ms, incoming);
      // What its client has given up meanwhile must not reach the server after all.
      if (incoming.socket.destroyed) return;
      await this.#forward(incoming, response, fault);
    } catch {
      // Either side went away, or the server is not there: the client learns it as a lost connection.
      response.destroy();
    }
  }

  #match(method: string, path: string): HttpFault | undefined {
    for (const rule of this.#rules) {
      if (rule.method !== undefined && rule.method !== method) continue;
      if (rule.path !== undefined && !rule.path.test(path)) continue;
      if (rule.passed < (rule.after ?? 0)) {
        rule.passed += 1;
        continue;
      }
      rule.hits += 1;
      if (rule.times !== undefined && rule.hits >= rule.times) this.#rules.delete(rule);
      return rule.fault;
    }
    return undefined;
  }

  async #forward(incoming: IncomingMessage, response: ServerResponse, fault: HttpFault | undefined): Promise<void> {
    const upstream = request({
      host: this.#target.hostname,
      port: this.#target.port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.headers,
      agent: false,
    });
    // With the client gone nobody reads the answer, and a server may hold a lock until it is read or cut off.
    response.once('close', () => upstream.destroy());
    // The answer may come before the whole request is sent, as with an early refusal.
    const sent = pipeline(incoming, upstream);
    sent.catch(() => undefined);
    const [answer] = (await Promise.race([
      once(upstream, 'response'),
      once(response, 'close').then(() => Promise.reject(new Error('the client went away'))),
    ])) as [IncomingMessage];
    if (fault?.kind === 'lose-answer') {
      for await (const _ of answer);
      resetSocket(incoming.socket);
      return;
    }
    if (fault?.kind === 'hold-answer') {
      await once(response, 'close');
      return;
    }
    const headers = { ...answer.headers };
    if (fault?.kind === 'truncate') delete headers['content-length'];
    response.writeHead(answer.statusCode ?? 502, headers);
    await pipeline(answer, (body: AsyncIterable<Buffer>) => altered(body, fault), response);
  }

  async #pause(ms: number, incoming: IncomingMessage): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    incoming.socket.once('close', resolve);
    await promise;
    clearTimeout(timer);
  }
}

async function* altered(body: AsyncIterable<Buffer>, fault: HttpFault | undefined): AsyncGenerator<Buffer> {
  let passed = 0;
  for await (const chunk of body) {
    const start = passed;
    passed += chunk.length;
    if (fault?.kind === 'truncate' && passed >= fault.afterBytes) {
      yield chunk.subarray(0, fault.afterBytes - start);
      return;
    }
    if (fault?.kind === 'flip' && start <= fault.atByte && fault.atByte < passed) {
      const copy = Buffer.from(chunk);
      copy[fault.atByte - start] = (copy[fault.atByte - start] ?? 0) ^ 1;
      yield copy;
    } else {
      yield chunk;
    }
  }
}
