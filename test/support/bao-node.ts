/** One OpenBao server process of the harness: its files, its life, and one request at a time to it. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { apiUrl, type NodeConfig, renderConfig } from './bao-config.ts';
import { sealEnvironment } from './bao-seals.ts';
import { type HttpAnswer, http } from './http-json.ts';
import { type RunningProcess, startProcess } from './process.ts';
import { until, type WaitOptions } from './until.ts';

export type BaoRequest = {
  token?: string | undefined;
  body?: unknown;
  namespace?: string;
  headers?: Record<string, string>;
  /** default 10,000 */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
};

export class BaoNode implements AsyncDisposable {
  readonly #binary: string;
  readonly #caPem: string | undefined;
  readonly #configFile: string;
  readonly #logFiles: string[] = [];
  #config: NodeConfig;
  #process: RunningProcess | undefined;

  constructor(binary: string, directory: string, config: NodeConfig, caPem: string | undefined) {
    this.#binary = binary;
    this.#caPem = caPem;
    this.#config = config;
    this.#configFile = join(directory, `${config.id}.json`);
  }

  get id(): string {
    return this.#config.id;
  }
  /** API address, no slash at the end */
  get url(): string {
    return apiUrl(this.#config);
  }
  /** host:port of raft and forwarding, as `peers.json` wants it */
  get clusterAddress(): string {
    return `127.0.0.1:${this.#config.clusterPort}`;
  }
  /** holds `vault.db` and `raft/` */
  get dataDir(): string {
    return this.#config.dataDir;
  }
  get config(): NodeConfig {
    return this.#config;
  }
  get configFile(): string {
    return this.#configFile;
  }
  get caPem(): string | undefined {
    return this.#caPem;
  }
  /** undefined while it does not run */
  get process(): RunningProcess | undefined {
    return this.#process;
  }

  /** Takes effect at the next start. */
  configure(change: Partial<NodeConfig>): void {
    this.#config = { ...this.#config, ...change };
  }

  /**
   * Starts the process and waits until it answers HTTP, in whatever state. With `answering: false` it waits for
   * nothing: a server whose KMS hangs never opens its port. Throws with the end of its log when it exits.
   */
  async start(
    options: { answering?: boolean; timeoutMs?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    if (this.#process !== undefined) return;
    await mkdir(this.#config.dataDir, { recursive: true });
    await writeFile(this.#configFile, renderConfig(this.#config), { mode: 0o600 });
    const ready = async (signal: AbortSignal) =>
      options.answering === false || (await this.request('GET', 'sys/health', { signal, timeoutMs: 2000 })).status > 0;
    const started = await startProcess({
      name: `bao-${this.#config.id}`,
      command: this.#binary,
      args: ['server', `-config=${this.#configFile}`],
      env: { ...sealEnvironment(this.#config.seal), VAULT_LOG_FORMAT: 'standard' },
      ready,
      timeoutMs: options.timeoutMs ?? 120_000,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    this.#logFiles.push(started.logFile);
    this.#process = started;
    void started.exited.then(() => {
      if (this.#process === started) this.#process = undefined;
    });
  }

  /** SIGTERM, and gone when it returns: the node steps down and seals first. */
  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    await running?.stop();
  }

  /** SIGKILL, and gone when it returns: as a lost machine. */
  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    await running?.kill();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** SIGSTOP: connections stay open and nothing answers, as behind a partition. */
  pause(): void {
    this.#process?.pause();
  }

  resume(): void {
    this.#process?.resume();
  }

  /** Removes the data of a stopped node: at the next start it is as new. */
  async wipe(): Promise<void> {
    if (this.#process !== undefined) throw new Error(`${this.id} is running: stop it before its data go`);
    await rm(this.#config.dataDir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** One request to this very node; `path` without `/v1/`. Redirects are answers, and so is every status. */
  async request(method: string, path: string, options: BaoRequest = {}): Promise<HttpAnswer> {
    return http(`${this.url}/v1/${path}`, {
      method,
      headers: {
        ...(options.token === undefined ? {} : { 'x-vault-token': options.token }),
        ...(options.namespace === undefined ? {} : { 'x-vault-namespace': options.namespace }),
        ...options.headers,
      },
      body: options.body,
      ca: this.#caPem,
      timeoutMs: options.timeoutMs,
      signal: options.signal,
    });
  }

  /** The same, for what must succeed: throws with the server's words on any status but 2xx. */
  async call(method: string, path: string, options: BaoRequest = {}): Promise<HttpAnswer> {
    const answer = await this.request(method, path, options);
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw new Error(`${method} ${path} on ${this.id}: ${answer.status} ${answer.body.toString('utf8', 0, 500)}`);
  }

  /** All it has written since the harness made it, over restarts. */
  async log(): Promise<string> {
    const parts = await Promise.all(this.#logFiles.map((file) => readFile(file, 'utf8')));
    return parts.join('');
  }

  async waitLog(pattern: RegExp, options: WaitOptions = {}): Promise<string> {
    return until(`${this.id} logs ${pattern}`, async () => pattern.exec(await this.log())?.[0], options);
  }
}
