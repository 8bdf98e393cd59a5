/** An HTTP proxy in front of a real S3 server that fails on purpose: per operation, so many times, in so many ways. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { operationOf, type S3Call, type S3Operation } from './failing-s3-operation.ts';
import { resetSocket } from './reset-socket.ts';

export type S3Fault =
  /** an error of S3 instead of forwarding; `fields` are more elements of its XML */
  | { kind: 'answer'; status: number; code: string; message?: string; fields?: Record<string, string> }
  /** so many bytes of the request body are read, then the connection is reset; nothing is forwarded */
  | { kind: 'reset'; afterBytes: number }
  /** the request is read, and never answered nor forwarded */
  | { kind: 'hang' }
  /** forwarded and carried out; instead of the answer comes a reset */
  | { kind: 'lose-answer' }
  /** forwarded and carried out; the answer is held back until the client gives up */
  | { kind: 'hold-answer' }
  /** one bit of the request body is turned before it is forwarded */
  | { kind: 'corrupt-request' }
  /** one bit of the answer's body is turned */
  | { kind: 'corrupt-answer' }
  /** so many bytes of the answer's body, then a reset */
  | { kind: 'truncate'; afterBytes: number }
  /** so many bytes of the answer's body, then silence */
  | { kind: 'stall'; afterBytes: number }
  /** the answer with other headers, or without them */
  | { kind: 'headers'; set: Record<string, string | undefined> }
  /** the answer's body through a function, with a fitting length */
  | { kind: 'rewrite'; body: (text: string) => string };

type Rule = { operation: S3Operation; fault: S3Fault; times: number; only: (call: S3Call) => boolean };

/** Signed requests survive because Host goes on as it came: the client signs the proxy's own address. */
export class FailingS3 implements AsyncDisposable {
  /** every request that arrived, in order */
  readonly calls: S3Call[] = [];
  readonly #target: URL;
  readonly #server: Server;
  #rules: Rule[] = [];

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((req, res) => this.#handle(req, res, false));
    // Like S3: who asks first gets an error instead of "continue".
    this.#server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => this.#handle(req, res, true));
  }

  /** On a free port of 127.0.0.1; the caller disposes of it, which ends every connection. */
  static async start(target: string): Promise<FailingS3> {
    const proxy = new FailingS3(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new TypeError('the proxy has no port');
    return `http://127.0.0.1:${address.port}`;
  }

  /** The next `times` requests of this kind, or those that `only` picks, fail so; further rules for them wait their turn. */
  fail(operation: S3Operation, fault: S3Fault, times = 1, only: (call: S3Call) => boolean = () => true): void {
    this.#rules.push({ operation, fault, times, only });
  }

  /** Forgets rules and calls. */
  reset(): void {
    this.#rules = [];
    this.calls.length = 0;
  }

  count(operation: S3Operation): number {
    return this.calls.filter((call) => call.operation === operation).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #handle(req: IncomingMessage, res: ServerResponse, asksFirst: boolean): void {
    const call = operationOf(req);
    this.calls.push(call);
    const fault = this.#take(call);
    if (asksFirst && fault?.kind !== 'answer') res.writeContinue();
    void this.#serve(req, res, fault).catch(() => req.socket.destroy());
  }

  #take(call: S3Call): S3Fault | undefined {
    const rule = this.#rules.find(
      ({ operation, times, only }) => operation === call.operation && times > 0 && only(call),
    );
    if (rule !== undefined) rule.times -= 1;
    return rule?.fault;
  }

  async #serve(req: IncomingMessage, res: ServerResponse, fault: S3Fault | undefined): Promise<void> {
    if (fault?.kind === 'answer') return answer(req, res, fault);
    if (fault?.kind === 'reset') {
      await takeBytes(req, fault.afterBytes);
      resetSocket(req.socket);
      return;
    }
    if (fault?.kind === 'hang') {
      req.resume();
      return;
    }
    const upstream = await this.#forward(req, fault?.kind === 'corrupt-request');
    await reply(upstream, req, res, fault);
  }

  async #forward(req: IncomingMessage, isCorrupt: boolean): Promise<IncomingMessage> {
    const { expect: _, ...headers } = req.headers;
    const { hostname, port } = this.#target;
    const out = request({ hostname, port, method: req.method, path: req.url, headers, agent: false });
    const answered = once(out, 'response') as Promise<[IncomingMessage]>;
    if (isCorrupt) out.end(turnBit(await buffer(req)));
    // The server may answer before it has read everything: that answer counts, not the broken pipe.
    else void pipeline(req, out).catch(() => {});
    const [upstream] = await answered;
    return upstream;
  }
}

async function reply(
  upstream: IncomingMessage,
  req: IncomingMessage,
  res: ServerResponse,
  fault: S3Fault | undefined,
): Promise<void> {
  if (fault?.kind === 'lose-answer' || fault?.kind === 'hold-answer') {
    await buffer(upstream);
    if (fault.kind === 'lose-answer') resetSocket(req.socket);
    return;
  }
  if (fault?.kind === 'rewrite') {
    const body = fault.body((await buffer(upstream)).toString());
    const { 'content-length': _, 'transfer-encoding': __, ...headers } = upstream.headers;
    res.writeHead(upstream.statusCode ?? 502, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body);
    return;
  }
  const headers = { ...upstream.headers, ...(fault?.kind === 'headers' ? fault.set : {}) };
  const kept = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  res.writeHead(upstream.statusCode ?? 502, Object.fromEntries(kept));
  if (fault?.kind === 'corrupt-answer') {
    res.end(turnBit(await buffer(upstream)));
    return;
  }
  if (fault?.kind === 'truncate' || fault?.kind === 'stall') {
    const body = await buffer(upstream);
    await new Promise<void>((resolve) => res.write(body.subarray(0, fault.afterBytes), () => resolve()));
    if (fault.kind === 'truncate') req.socket.destroySoon();
    return;
  }
  await pipeline(upstream, res);
}

function answer(req: IncomingMessage, res: ServerResponse, fault: Extract<S3Fault, { kind: 'answer' }>): void {
  const fields = Object.entries({ Code: fault.code, Message: fault.message ?? fault.code, ...fault.fields });
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${fields
    .map(([name, value]) => `<${name}>${value}</${name}>`)
    .join('')}<RequestId>4442587FB7D0A2F9</RequestId></Error>`;
  req.resume();
  res.writeHead(fault.status, { 'content-type': 'application/xml', 'x-amz-request-id': '4442587FB7D0A2F9' });
  res.end(req.method === 'HEAD' ? undefined : xml);
}

async function takeBytes(req: IncomingMessage, bytes: number): Promise<void> {
  let taken = 0;
  if (bytes === 0) return;
  for await (const chunk of req.iterator({ destroyOnReturn: false })) {
    if (chunk instanceof Uint8Array) taken += chunk.byteLength;
    if (taken >= bytes) return;
  }
}

function turnBit(body: Buffer): Buffer {
  const turned = Buffer.from(body);
  const middle = Math.floor(turned.length / 2);
  turned.writeUInt8((turned[middle] ?? 0) ^ 1, middle);
  return turned;
}
