/** A connection to the queue's Redis that comes back by itself, and never says that it is there when it is not. */
import { Cluster } from 'ioredis';
import { StrongroomError } from '../core/errors.ts';
import { createClient, type RedisClient, type RedisRole, tlsOf } from './redis-client.ts';
import { needsAHand, redisError, silent } from './redis-errors.ts';
import { addressesOf, keyPrefix, nameOf, type RedisOptions } from './redis-options.ts';
import { socketFault } from './redis-reach.ts';

/** `ready` = a write was taken not long ago. `why` is null while ready, and before the first attempt has ended. */
export type RedisState = { state: 'ready' | 'away'; since: Date; why: StrongroomError | null };

export type OpenRedisOptions = {
  role: RedisRole;
  /** told at each change of the state, and of the reason while away; must not throw. Nothing in it is secret */
  onState?: (state: RedisState) => void;
};

/** A dead peer is noticed between one and two of these. */
const PULSE_MS = 5_000;
const PULSE_KEPT_MS = 60_000;
/** ioredis gives a socket two seconds to close before it destroys it. */
const CLOSE_MS = 3_000;

/**
 * Begins to connect, and returns before it has: {@link RedisConnection.untilReady} waits. A wrong password, a refused
 * certificate or another Redis than configured ends the attempts when that is so from the start; once it was ready it
 * keeps trying, at most 5 s apart, and says what is wrong. Throws E_QUEUE_CONFIG for certificates that are none.
 */
export function openRedis(options: RedisOptions, how: OpenRedisOptions): RedisConnection {
  return new RedisConnection(options, how);
}

/** Whoever opened it disposes it, after the queues and workers on it are closed. */
export class RedisConnection implements AsyncDisposable {
  /** for commands of one's own, and for {@link checkRedis} */
  readonly client: RedisClient;
  /** what every key begins with; in a cluster a hash tag */
  readonly prefix: string;
  /** for messages; no secret */
  readonly name: string;
  readonly #options: RedisOptions;
  readonly #onState: (state: RedisState) => void;
  readonly #pulse: NodeJS.Timeout;
  readonly #closing = new AbortController();
  readonly #copies = new Set<RedisClient>();
  #state: RedisState = { state: 'away', since: new Date(), why: null };
  #changed = Promise.withResolvers<void>();
  #failure: StrongroomError | null = null;
  #lastError: unknown;
  #isBeating = false;
  #wasReady = false;
  #mayInfo = true;
  #isLooking = false;

  constructor(options: RedisOptions, how: OpenRedisOptions) {
    this.#options = options;
    this.#onState = how.onState ?? (() => undefined);
    this.prefix = keyPrefix(options);
    this.name = nameOf(options);
    this.client = createClient(
      options,
      how.role,
      () => this.#isOver,
      (copy) => this.#copies.add(copy.once('end', () => this.#copies.delete(copy))),
    );
    const { client } = this;
    client.on('error', (e) => this.#failed(e));
    // A single node or sentinel: others may do, and if not, `error` comes too. These have the better words.
    for (const event of ['node error', 'sentinelError'] as const) {
      client.on(event as 'error', (e) => {
        this.#lastError = e;
      });
    }
    client.on('ready', () => void this.#beat());
    client.on('close', () => this.#away(redisError(this.#lastError, this.name)));
    client.on('end', () => {
      // ioredis has stopped trying, for a reason of its own.
      if (!this.#isOver) this.#giveUp(redisError(this.#lastError, this.name));
    });
    this.#pulse = setInterval(() => this.#tick(), PULSE_MS).unref();
  }

  get state(): RedisState {
    return this.#state;
  }

  /**
   * Resolves when a write was taken. Rejects with E_QUEUE_DENIED, E_QUEUE_TLS or E_QUEUE_CONFIG as soon as that is
   * known, with E_QUEUE_UNREACHABLE and the last reason after `timeoutMs`, with `signal.reason` on abort.
   */
  async untilReady(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const late = AbortSignal.timeout(timeoutMs);
    const ended = AbortSignal.any([late, signal, this.#closing.signal]);
    const over = Promise.withResolvers<void>();
    const end = (): void => over.resolve();
    ended.addEventListener('abort', end);
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.#failure !== null) throw this.#failure;
        if (this.#closing.signal.aborted)
          throw new StrongroomError('E_BUG', `${this.name} was closed while waited for`);
        if (this.#state.state === 'ready') return;
        if (late.aborted) throw this.#state.why ?? silent(this.name);
        await Promise.race([this.#changed.promise, over.promise]);
      }
    } finally {
      ended.removeEventListener('abort', end);
    }
  }

  /**
   * The options that BullMQ's queues and workers share; call it after {@link untilReady}. They leave this connection open
   * when they close, and close the copies they make of it.
   */
  bullmq(): { connection: RedisClient; prefix: string; skipVersionCheck: boolean } {
    // BullMQ's own check asks for INFO, and would not start without.
    return { connection: this.client, prefix: this.prefix, skipVersionCheck: !this.#mayInfo };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#pulse);
    await Promise.all([this.client, ...this.#copies].map(disconnect));
  }

  get #isOver(): boolean {
    return this.#failure !== null || this.#closing.signal.aborted;
  }

  #failed(e: unknown): void {
    if (this.#isOver) return;
    this.#lastError = e;
    const error = redisError(e, this.name);
    if (needsAHand(error) && (!this.#wasReady || isOtherDatabase(error))) this.#giveUp(error);
    else this.#away(error);
    if (!this.#wasReady && !needsAHand(error)) void this.#lookCloser();
  }

  /**
   * ioredis keeps to itself why a sentinel or a node of a cluster could not be reached: the socket knows. And a TLS
   * handshake without an answer may be one with a port that speaks plain text.
   */
  async #lookCloser(): Promise<void> {
    const { at, tls } = this.#options;
    if (this.#isLooking || (at.type === 'single' && tls === undefined)) return;
    this.#isLooking = true;
    const fault = await socketFault(addressesOf(at), tlsOf(this.#options), this.#closing.signal);
    this.#isLooking = false;
    if (fault === null || this.#wasReady || this.#isOver) return;
    this.#lastError = fault;
    const error = redisError(fault, this.name);
    if (needsAHand(error)) this.#giveUp(error);
    else this.#away(error);
  }

  #tick(): void {
    if (this.client.status !== 'ready') return;
    if (!this.#isBeating) void this.#beat();
    else if (this.#state.state === 'ready') this.#away(silent(this.name));
  }

  /** A write, because a replica and a full Redis answer reads all day long. */
  async #beat(): Promise<void> {
    if (this.#isBeating || this.#isOver) return;
    this.#isBeating = true;
    try {
      await this.client.set(`${this.prefix}:pulse`, new Date().toISOString(), 'PX', PULSE_KEPT_MS);
      if (!this.#wasReady) this.#mayInfo = await mayInfo(this.client);
      this.#ready();
    } catch (e) {
      const error = redisError(e, this.name);
      if (this.#isOver) return;
      if (!this.#wasReady && needsAHand(error)) this.#giveUp(error);
      // The socket's own error, which comes beside this one, says more than "not connected".
      else if (this.client.status === 'ready') this.#away(error);
    } finally {
      this.#isBeating = false;
    }
  }

  #ready(): void {
    if (this.#isOver || this.client.status !== 'ready') return;
    this.#wasReady = true;
    this.#lastError = undefined;
    if (this.#state.state !== 'ready') this.#tell({ state: 'ready', since: new Date(), why: null });
  }

  #away(why: StrongroomError): void {
    const before = this.#state;
    if (this.#closing.signal.aborted || (this.#failure !== null && why !== this.#failure)) return;
    if (before.state === 'away' && before.why?.code === why.code && before.why.message === why.message) return;
    this.#tell({ state: 'away', since: before.state === 'away' ? before.since : new Date(), why });
  }

  #giveUp(e: StrongroomError): void {
    this.#failure = e;
    clearInterval(this.#pulse);
    this.#away(e);
    this.client.disconnect();
  }

  #tell(state: RedisState): void {
    this.#state = state;
    this.#onState(state);
    const told = this.#changed;
    this.#changed = Promise.withResolvers();
    told.resolve();
  }
}

/** ioredis would go on in database 0, which belongs to somebody else. */
function isOtherDatabase(e: StrongroomError): boolean {
  return e.cause instanceof Error && e.cause.message.includes('DB index is out of range');
}

async function mayInfo(client: RedisClient): Promise<boolean> {
  try {
    await client.info('server');
    return true;
  } catch {
    return false;
  }
}

async function disconnect(client: RedisClient): Promise<void> {
  const isOpen = client instanceof Cluster ? client.nodes().length > 0 : !SOCKETLESS.includes(client.status);
  const ended = Promise.withResolvers<void>();
  client.once('end', () => ended.resolve());
  client.disconnect();
  if (!isOpen) return;
  const timer = setTimeout(() => ended.resolve(), CLOSE_MS);
  await ended.promise;
  clearTimeout(timer);
}

/** While it waits to reconnect there is no socket, and no 'end' will come. */
const SOCKETLESS: readonly string[] = ['wait', 'reconnecting', 'end'];
