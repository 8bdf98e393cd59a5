/** One proxied connection: two directions, one fault. */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { resetSocket } from './reset-socket.ts';

/** `up` is from the client to the target, `down` is back. */
export type Direction = 'up' | 'down';

export type ProxyFault =
  | { kind: 'pass' }
  /** the port is closed, open connections are reset */
  | { kind: 'refuse' }
  /** accepted, and not one byte moves in either direction */
  | { kind: 'hang' }
  /** after so many bytes of one direction (default: down) both sides get a reset (RST): the peer sees ECONNRESET */
  | { kind: 'reset'; afterBytes: number; direction?: Direction }
  /** after so many bytes of one direction (default: down) both sides get an end (FIN): a clean, early end */
  | { kind: 'cut'; afterBytes: number; direction?: Direction }
  /** so many bytes per second, of each connection and each direction (or only the one given) */
  | { kind: 'throttle'; bytesPerSecond: number; direction?: Direction }
  /** every piece arrives so much later */
  | { kind: 'delay'; ms: number };

/** Ten pieces a second: smooth enough for time-outs of seconds. */
const SLICES_PER_SECOND = 10;

export class Relay {
  /** resolves when both sockets are gone; never rejects */
  readonly closed: Promise<void>;
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #onBytes: (direction: Direction, bytes: number) => void;
  #fault: ProxyFault;
  /** what passed in each direction since the fault was set */
  #passed = { up: 0, down: 0 };
  #changed = Promise.withResolvers<void>();
  #isCut = false;

  constructor(client: Socket, target: Socket, fault: ProxyFault, onBytes: (d: Direction, bytes: number) => void) {
    this.#client = client;
    this.#target = target;
    this.#fault = fault;
    this.#onBytes = onBytes;
    client.setNoDelay(true);
    target.setNoDelay(true);
    const gone = [client, target].map((socket) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      socket.once('close', () => resolve());
      // The reason is of no interest: whatever ended one side ends the other.
      socket.on('error', () => this.reset());
      return promise;
    });
    this.closed = Promise.all(gone).then(() => this.#changed.resolve());
    void this.#pump(client, target, 'up');
    void this.#pump(target, client, 'down');
  }

  set(fault: ProxyFault): void {
    this.#fault = fault;
    this.#passed = { up: 0, down: 0 };
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** RST to both sides. */
  reset(): void {
    for (const socket of [this.#client, this.#target]) resetSocket(socket);
    this.#changed.resolve();
  }

  async #pump(from: Socket, to: Socket, direction: Direction): Promise<void> {
    try {
      // Destroying a socket with unread bytes sends RST, which a clean cut must not.
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        if (Buffer.isBuffer(chunk) && !(await this.#forward(chunk, to, direction))) break;
      }
      // Its end is news like any other byte: under "hang" it does not arrive.
      while (this.#fault.kind === 'hang' && !this.#isOver(to)) await this.#changed.promise;
      to.end();
      from.resume();
    } catch {
      // A destroyed socket ends its loop with a throw; the other side learns it the same way.
      this.reset();
    }
  }

  /** False when nothing more may be sent in this direction. */
  async #forward(chunk: Buffer, to: Socket, direction: Direction): Promise<boolean> {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#isOver(to)) return false;
      const fault = this.#fault;
      if (fault.kind === 'hang') {
        await this.#changed.promise;
        continue;
      }
      if (fault.kind === 'refuse') {
        this.reset();
        return false;
      }
      if (fault.kind === 'delay') await this.#wait(fault.ms);
      const concerned = concerns(fault, direction);
      const room = concerned ? this.#room(fault, direction) : Number.POSITIVE_INFINITY;
      if (room > 0) {
        const piece = rest.subarray(0, room);
        rest = rest.subarray(piece.length);
        this.#passed[direction] += piece.length;
        this.#onBytes(direction, piece.length);
        await write(to, piece);
        if (concerned && fault.kind === 'throttle') {
          await this.#wait((piece.length / fault.bytesPerSecond) * 1000);
        }
      }
      // At the limit, not behind it: a peer that waits for an answer would never send the byte that goes too far.
      if (concerned && this.#fault === fault && this.#room(fault, direction) <= 0) {
        if (fault.kind === 'reset') {
          this.reset();
          return false;
        }
        if (fault.kind === 'cut') {
          this.#cut();
          return false;
        }
      }
    }
    return true;
  }

  /** How many bytes may go in one piece now. */
  #room(fault: ProxyFault, direction: Direction): number {
    if (fault.kind === 'reset' || fault.kind === 'cut') return fault.afterBytes - this.#passed[direction];
    if (fault.kind === 'throttle') return Math.max(1, Math.floor(fault.bytesPerSecond / SLICES_PER_SECOND));
    return Number.POSITIVE_INFINITY;
  }

  /** FIN to both sides behind what was sent; what still comes in is read and dropped. */
  #cut(): void {
    this.#isCut = true;
    this.#client.end();
    this.#target.end();
  }

  /** Shorter when the fault changes meanwhile. */
  async #wait(ms: number): Promise<void> {
    const done = new AbortController();
    const timer = delay(ms, undefined, { signal: done.signal }).catch(() => undefined);
    await Promise.race([timer, this.#changed.promise]);
    done.abort();
  }

  /** Only the receiving side counts: the sending one may be gone with its last bytes still in our hands. */
  #isOver(to: Socket): boolean {
    return this.#isCut || to.destroyed;
  }
}

function concerns(fault: ProxyFault, direction: Direction): boolean {
  if (fault.kind === 'reset' || fault.kind === 'cut') return (fault.direction ?? 'down') === direction;
  return fault.kind !== 'throttle' || fault.direction === undefined || fault.direction === direction;
}

/** Waits for room, so that a slow reader slows its writer through us as it would without us. */
async function write(to: Socket, piece: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  to.write(piece, (error) => (error == null ? resolve() : reject(error)));
  await promise;
}
