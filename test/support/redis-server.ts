/** A real Redis on a free port of 127.0.0.1, with its data in a directory that goes with it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { ensureTool } from '../../scripts/tools.ts';
import { freePort, type RunningProcess, startProcess } from './process.ts';
import { type RedisFront, type RedisTls, startRedisFront } from './redis-tls.ts';

export type RedisServerOptions = {
  /** default: the newer one */
  version?: '8.2.3' | '6.2.14';
  /** of the default user, which the methods here use */
  password?: string;
  /** ACL rules, such as `worker on >secret ~* +@all` */
  users?: readonly string[];
  /** TLS on `port`; the server itself listens on another one then */
  tls?: RedisTls;
  /** bytes; 0 = no limit, as Redis has it */
  maxMemory?: number;
  /** default `noeviction` */
  evictionPolicy?: string;
  appendOnly?: boolean;
  /** lines for redis.conf; `port` is where clients connect */
  config?: (port: number) => readonly string[];
  /** starts as a sentinel: the lines of `config` say of whom */
  isSentinel?: boolean;
};

/** Resolves when it answers. Rejects with the end of its log when it does not within 20 s. The caller disposes it. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const command = await ensureTool(`redis-${options.version ?? '8.2.3'}`);
  const directory = await mkdtemp(join(tmpdir(), 'strongroom-redis-'));
  const own = await freePort();
  const port = options.tls === undefined ? own : await freePort();
  const server = new RedisServer(command, directory, { own, port }, options);
  try {
    await writeFile(join(directory, 'redis.conf'), `${configOf(options, { own, port }, directory).join('\n')}\n`);
    await server.restart();
  } catch (e) {
    await server[Symbol.asyncDispose]();
    throw e;
  }
  return server;
}

export class RedisServer implements AsyncDisposable {
  /** where clients connect */
  readonly port: number;
  readonly options: RedisServerOptions;
  readonly #command: string;
  readonly #directory: string;
  readonly #ownPort: number;
  #process: RunningProcess | undefined;
  #front: RedisFront | undefined;

  constructor(command: string, directory: string, ports: { own: number; port: number }, options: RedisServerOptions) {
    this.#command = command;
    this.#directory = directory;
    this.#ownPort = ports.own;
    this.port = ports.port;
    this.options = options;
  }

  /** host:port */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }
  get url(): string {
    return `${this.options.tls === undefined ? 'redis' : 'rediss'}://${this.address}`;
  }
  /** handshakes that were completed so far; 0 without TLS */
  get secured(): number {
    return this.#front?.secured ?? 0;
  }

  /** Starts it again on the same port with the same data, after it was stopped when it still runs. */
  async restart(): Promise<void> {
    await this.stop();
    if (this.options.tls !== undefined && this.#front === undefined) {
      this.#front = await startRedisFront(this.port, this.#ownPort, this.options.tls);
    }
    this.#process = await startProcess({
      name: this.options.isSentinel === true ? 'redis-sentinel' : 'redis',
      command: this.#command,
      args: ['redis.conf', ...(this.options.isSentinel === true ? ['--sentinel'] : [])],
      cwd: this.#directory,
      ready: async () => (await this.command('ping')) === 'PONG',
      timeoutMs: 120_000,
    });
  }

  /** SIGTERM: it saves what it is configured to save. Nothing listens on the port afterwards, nor does a TLS front. */
  async stop(): Promise<void> {
    await this.#end((running) => running.stop());
  }
  /** SIGKILL */
  async kill(): Promise<void> {
    await this.#end((running) => running.kill());
  }
  /** SIGSTOP: connections stay open, new ones are taken, nothing answers. */
  pause(): void {
    this.#process?.pause();
  }
  resume(): void {
    this.#process?.resume();
  }

  /** One command as the default user, past TLS, on a connection of its own. Rejects with the error of Redis. */
  async command(name: string, ...args: readonly (string | number)[]): Promise<unknown> {
    const client = new Redis({
      host: '127.0.0.1',
      port: this.#ownPort,
      ...(this.options.password === undefined ? {} : { password: this.options.password }),
      lazyConnect: true,
      enableReadyCheck: false,
      disableClientInfo: true,
      connectTimeout: 5_000,
      commandTimeout: 5_000,
      retryStrategy: null,
    });
    client.on('error', () => undefined); // the command rejects with it
    try {
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  }

  /** The fields of INFO by name. */
  async info(section = 'everything'): Promise<ReadonlyMap<string, string>> {
    const text = String(await this.command('info', section));
    return new Map(text.split('\r\n').flatMap((line) => (/^\w+:/.test(line) ? [split(line)] : [])));
  }
  /** Forgets every key. */
  async flush(): Promise<void> {
    await this.command('flushall');
  }
  /** A replica of a server that is not there: it reads and refuses to write. */
  async makeReadOnly(): Promise<void> {
    await this.command('replicaof', '127.0.0.1', await freePort());
  }
  async makeWritable(): Promise<void> {
    await this.command('replicaof', 'no', 'one');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nobody wants the data any more: no need to let it save.
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }

  async #end(how: (running: RunningProcess) => Promise<unknown>): Promise<void> {
    if (this.#process !== undefined) await how(this.#process);
    this.#process = undefined;
    await this.#front?.[Symbol.asyncDispose]();
    this.#front = undefined;
  }
}

function configOf(options: RedisServerOptions, ports: { own: number; port: number }, directory: string): string[] {
  const { password } = options;
  const base = ['bind 127.0.0.1', `port ${ports.own}`, `dir ${directory}`];
  const login = password === undefined ? [] : [`requirepass ${password}`];
  const own = options.config?.(ports.port) ?? [];
  if (options.isSentinel === true) return [...base, ...login, ...own];
  return [
    ...base,
    ...login,
    ...(password === undefined ? [] : [`masterauth ${password}`]),
    ...(options.users ?? []).map((rule) => `user ${rule}`),
    ...(options.maxMemory === undefined ? [] : [`maxmemory ${options.maxMemory}`]),
    `maxmemory-policy ${options.evictionPolicy ?? 'noeviction'}`,
    `appendonly ${options.appendOnly === true ? 'yes' : 'no'}`,
    'save ""',
    ...own,
  ];
}

function split(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon), line.slice(colon + 1)];
}
