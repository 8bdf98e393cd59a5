/** Workers as processes of their own, on a real Redis, a real cluster and two directories. */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { type BaoCluster, startCluster } from './bao-cluster.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import { type CliOptions, type CliResult, type RunningCli, runCli, runJson, startCli } from './strongroom-cli.ts';
import { until } from './until.ts';
import { World } from './world.ts';

/** Tombstones stay below, manifests above. */
const TOMBSTONE_BYTES = 1_024;

export type LogLine = Record<string, unknown> & { msg: string };

/** A worker that runs; `lines` are those of its log so far. */
export class RunningWorker {
  readonly #running: RunningCli;
  readonly lines: LogLine[] = [];
  stderr = '';
  #rest = '';

  constructor(config: string, env: Record<string, string>, how: Pick<CliOptions, 'main' | 'nodeArgs'> = {}) {
    this.#running = startCli(['worker', '--config', config], { ...how, env, onStderr: (text) => this.#take(text) });
  }

  get pid(): number {
    return this.#running.pid;
  }

  /** Waits for a line that fits, among those that came already too. */
  async says(what: string, fits: (line: LogLine) => boolean = () => true): Promise<LogLine> {
    const said = async () => this.lines.find((line) => line.msg === what && fits(line));
    return await this.#until(`the worker says "${what}"`, said);
  }

  /** Waits until it says `what` so many times more than it has until now. */
  async saysAgain(what: string, times = 1): Promise<void> {
    const before = this.count(what);
    const said = async () => (this.count(what) >= before + times ? true : undefined);
    await this.#until(`the worker says "${what}" ${times} times more`, said);
  }

  async #until<T>(what: string, probe: () => Promise<T | undefined>): Promise<T> {
    try {
      return await until(what, probe, { timeoutMs: 600_000 });
    } catch (e) {
      // Said every second, by some.
      const said = this.stderr.split('\n').filter((line) => !line.includes('"looked for missed runs"'));
      throw new Error(`not said: ${what}; it said:\n${said.join('\n').slice(-6000)}`, { cause: e });
    }
  }

  count(what: string): number {
    return this.lines.filter(({ msg }) => msg === what).length;
  }

  /** Ends it by a signal and waits for its end. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<CliResult> {
    this.#running.child.kill(signal);
    return await this.#running.finished;
  }

  get finished(): Promise<CliResult> {
    return this.#running.finished;
  }

  #take(text: string): void {
    this.stderr += text;
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('{')) this.lines.push(JSON.parse(line) as LogLine);
  }
}

/** The caller disposes it: workers are killed, servers ended. */
export class WorkerScene implements AsyncDisposable {
  readonly redis: RedisServer;
  /** before the only node */
  readonly proxy: FaultProxy;
  readonly cluster: BaoCluster;
  readonly world: World;
  readonly config: string;
  readonly #workers: RunningWorker[] = [];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<WorkerScene, 'redis' | 'proxy' | 'cluster' | 'world' | 'config'>,
    stack: AsyncDisposableStack,
  ) {
    this.redis = parts.redis;
    this.proxy = parts.proxy;
    this.cluster = parts.cluster;
    this.world = parts.world;
    this.config = parts.config;
    this.#stack = stack;
  }

  static async open(schedule: Record<string, unknown>, worker: Record<string, unknown> = {}): Promise<WorkerScene> {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const cluster = stack.use(await startCluster({ version: '2.7.2', nodes: 1 }));
    const proxy = stack.use(await startFaultProxy(cluster.nodes[0]?.url ?? ''));
    const world = stack.use(
      await World.create({
        destinations: { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } },
        canOpen: true,
      }),
    );
    for (const name of ['a', 'b']) await mkdir(join(world.directory, name));
    await world.grant(cluster);
    const config = await world.config([proxy.url], { schedule });
    const scene = new WorkerScene({ redis, proxy, cluster, world, config }, stack.move());
    await scene.change((document) => {
      document['queue'] = { url: redis.url };
      document['log'] = { level: 'debug' };
      document['worker'] = worker;
    });
    return scene;
  }

  /** Rewrites the config file. */
  async change(change: (document: Record<string, unknown>) => void): Promise<void> {
    const document = parse(await readFile(this.config, 'utf8')) as Record<string, unknown>;
    change(document);
    await writeFile(this.config, stringify(document));
  }

  async schedule(schedule: Record<string, unknown> | null): Promise<void> {
    await this.change((document) => {
      const clusters = document['clusters'] as Record<string, Record<string, unknown>>;
      const prod = clusters[this.world.name];
      if (prod === undefined) throw new Error('no cluster');
      if (schedule === null) delete prod['schedule'];
      else prod['schedule'] = schedule;
    });
  }

  worker(env: Record<string, string> = {}): RunningWorker {
    return this.#kept(new RunningWorker(this.config, env));
  }

  /** The config as a machine named `name` has it: with a spool of its own. Later changes of the first do not reach it. */
  async configOn(name: string): Promise<string> {
    const document = parse(await readFile(this.config, 'utf8')) as Record<string, unknown>;
    const directory = join(this.world.directory, `spool-${name}`);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    document['spool'] = { ...(document['spool'] as Record<string, unknown>), directory };
    return await this.world.write(`${name}.yaml`, stringify(document));
  }

  /** ids of the snapshots with a manifest, by destination; a tombstone is none */
  async manifests(cluster = this.world.name): Promise<Record<'a' | 'b', string[]>> {
    const inOne = async (destination: string): Promise<string[]> => {
      const root = join(this.world.directory, destination, 'v1', cluster, 'manifests');
      const files = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
      const found: string[] = [];
      for (const file of files) {
        const id = /([0-9A-Z]{26})/.exec(file.name)?.[1];
        if (!file.isFile() || id === undefined) continue;
        if ((await stat(join(file.parentPath, file.name))).size > TOMBSTONE_BYTES) found.push(id);
      }
      return found.sort();
    };
    return { a: await inOne('a'), b: await inOne('b') };
  }

  #kept(worker: RunningWorker): RunningWorker {
    this.#workers.push(worker);
    return worker;
  }

  /** ids of all snapshots, oldest first */
  async snapshots(): Promise<string[]> {
    const listing = (await runJson(['snapshots', 'list', '--config', this.config])) as {
      snapshots: { snapshot: string }[];
    };
    return listing.snapshots.map(({ snapshot }) => snapshot);
  }

  async cli(...args: string[]): Promise<CliResult> {
    return await this.cliWith({}, ...args);
  }

  async cliWith(env: Record<string, string>, ...args: string[]): Promise<CliResult> {
    return await runCli([...args, '--config', this.config], { env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.end('SIGKILL')));
    await this.#stack.disposeAsync();
  }
}
