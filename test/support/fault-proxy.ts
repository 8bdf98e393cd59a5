/**
 * A TCP proxy that breaks what it forwards: in front of a server, a KMS, an object store. The fault can be changed
 * while connections are open, and applies to them from the next byte on.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type Direction, type ProxyFault, Relay } from './fault-relay.ts';

export type ProxyTotals = {
  /** accepted since the start, refused ones not counted */
  connections: number;
  /** open now */
  open: number;
  /** bytes that came from clients and were sent on to the target, all connections together */
  bytesUp: number;
  /** bytes that came from the target and were sent on to clients */
  bytesDown: number;
};

/**
 * A started proxy on a free port (or `port`) of 127.0.0.1. The caller disposes of it: every socket is destroyed.
 *
 * @param target `host:port`, or a URL of which host and port are taken
 */
export async function startFaultProxy(target: string, options: { port?: number } = {}): Promise<FaultProxy> {
  const url = new URL(target.includes('://') ? target : `tcp://${target}`);
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  const proxy = new FaultProxy(url.hostname, port, options.port ?? 0);
  await proxy.listen();
  return proxy;
}

export class FaultProxy implements AsyncDisposable {
  readonly #host: string;
  readonly #targetPort: number;
  readonly #relays = new Set<Relay>();
  #port: number;
  #server: Server | undefined;
  #fault: ProxyFault = { kind: 'pass' };
  #connections = 0;
  #bytesUp = 0;
  #bytesDown = 0;

  constructor(host: string, targetPort: number, port: number) {
    this.#host = host;
    this.#targetPort = targetPort;
    this.#port = port;
  }

  get port(): number {
    return this.#port;
  }
  /** host:port */
  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }
  get url(): string {
    return `http://${this.address}`;
  }
  get fault(): ProxyFault {
    return this.#fault;
  }
  get totals(): ProxyTotals {
    return {
      connections: this.#connections,
      open: this.#relays.size,
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
    };
  }

  /** Resolves when the port is open. Done by {@link startFaultProxy} and after `refuse`. */
  async listen(): Promise<void> {
    if (this.#server !== undefined) return;
    // Half-open: a client that has sent all and ends its side still waits for its answer.
    const server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
    this.#server = server;
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new TypeError('the proxy has no port');
    this.#port = address.port;
  }

  /**
   * Sets the fault for every connection, open ones included. `refuse` closes the port and resets what is open, so that
   * new connections get ECONNREFUSED; every other fault opens the port again. Byte limits count from now on.
   */
  async set(fault: ProxyFault): Promise<void> {
    this.#fault = fault;
    for (const relay of this.#relays) relay.set(fault);
    if (fault.kind === 'refuse') await this.#close();
    else await this.listen();
  }

  /** Resets every open connection once, and changes nothing else. */
  resetConnections(): void {
    for (const relay of this.#relays) relay.reset();
  }

  /** The same, a millisecond apart: the client learns of one, and asks on those that are about to break. */
  async resetOneByOne(): Promise<void> {
    // Those of now: what is opened meanwhile stays whole.
    const open = [...this.#relays];
    for (const relay of open) {
      relay.reset();
      await delay(1);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resetConnections();
    await this.#close();
  }

  #accept(client: Socket): void {
    this.#connections += 1;
    const target = connect({ host: this.#host, port: this.#targetPort, allowHalfOpen: true });
    const relay = new Relay(client, target, this.#fault, (direction: Direction, bytes: number) => {
      if (direction === 'up') this.#bytesUp += bytes;
      else this.#bytesDown += bytes;
    });
    this.#relays.add(relay);
    void relay.closed.then(() => this.#relays.delete(relay));
  }

  async #close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    for (const relay of this.#relays) relay.reset();
    await closed;
  }
}
