/** A receiver of notifications over HTTP that answers as it is told to, and remembers what it was sent. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { resetSocket } from './reset-socket.ts';
import { until } from './until.ts';

export type SinkAnswer =
  | { status: number; headers?: Record<string, string>; body?: string }
  /** the request is read, and nothing comes back */
  | 'hang'
  /** the request is read, and the connection reset */
  | 'reset';

export type Received = { method: string; path: string; headers: IncomingHttpHeaders; body: string; at: number };

/** A started one on a free port of 127.0.0.1. Disposing destroys all connections. */
export async function startSinkServer(usual: SinkAnswer = { status: 200, body: 'ok' }): Promise<SinkServer> {
  const server = new SinkServer(usual);
  await server.listen();
  return server;
}

export class SinkServer implements AsyncDisposable {
  /** complete requests, oldest first */
  readonly received: Received[] = [];
  /** given to the next requests, one each, before `usual` */
  readonly next: SinkAnswer[] = [];
  usual: SinkAnswer;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      const body = Buffer.concat(chunks).toString('utf8');
      this.received.push({ method, path, headers, body, at: performance.now() });
      this.#answer(this.next.shift() ?? this.usual, response, request.socket);
    });
  });

  constructor(usual: SinkAnswer) {
    this.usual = usual;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }
  get open(): number {
    return this.#sockets.size;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** The requests, as soon as there are `count` of them. */
  async requests(count: number): Promise<Received[]> {
    const enough = async (): Promise<Received[] | undefined> =>
      this.received.length >= count ? [...this.received] : undefined;
    return await until(`${count} requests at the sink`, enough, { everyMs: 5 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #answer(answer: SinkAnswer, response: ServerResponse, socket: Socket): void {
    if (answer === 'hang') return;
    if (answer === 'reset') resetSocket(socket);
    else response.writeHead(answer.status, answer.headers).end(answer.body ?? '');
  }
}
