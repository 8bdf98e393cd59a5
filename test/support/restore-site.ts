/** One small cluster and what was backed up of it: for restores that are stopped, and for what they leave behind. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { ClusterName } from '../../src/core/ids.ts';
import { leaseKey } from '../../src/store/layout.ts';
import { filesIn, inBucket } from './backup-trial.ts';
import { type BaoCluster, type ClusterOptions, startCluster } from './bao-cluster.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { orphans, sortObjects } from './held.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from './http-fault-proxy.ts';
import { installsOn, valueAt } from './restore-trial.ts';
import type { S3Server } from './s3-connection.ts';
import { grow } from './seed-bulk.ts';
import { backUp } from './strongroom-app.ts';
import { type CliOptions, type RunningCli, startCli } from './strongroom-cli.ts';
import { RESTORE_POLICY, World, worldEnv } from './world.ts';

const CLUSTER = 'prod' as ClusterName;
/** A write of the lease that was killed may be a live one of another machine: a backup removes it after a day. */
const LEASE_WRITES = `.strongroom/tmp/${leaseKey(CLUSTER)}/`;
/** of the canary, in the snapshot */
export const KEPT = 'of the snapshot';

export type SiteOptions = Pick<ClusterOptions, 'nodes'> & {
  server: S3Server;
  /** what is in the snapshot besides the canary */
  stateBytes: number;
  /** where all runs of a test keep their compiled code */
  cache: string;
  /** past the proxies, which cost as much CPU as a run itself */
  direct?: boolean;
};

export type Proxies = {
  /** sees every request to a node that is alone */
  http: HttpFaultProxy;
  /** in front of it */
  gate: FaultProxy;
  /** in front of the bucket, which is the first destination */
  wire: FaultProxy;
};

export class RestoreSite implements AsyncDisposable {
  readonly cluster: BaoCluster;
  readonly world: World;
  readonly bucket: string;
  readonly proxies: Proxies;
  readonly configFile: string;
  readonly env: Record<string, string>;
  readonly #server: S3Server;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<RestoreSite, 'cluster' | 'world' | 'bucket' | 'proxies' | 'configFile' | 'env'>,
    server: S3Server,
    stack: AsyncDisposableStack,
  ) {
    this.cluster = parts.cluster;
    this.world = parts.world;
    this.bucket = parts.bucket;
    this.proxies = parts.proxies;
    this.configFile = parts.configFile;
    this.env = parts.env;
    this.#server = server;
    this.#stack = stack;
  }

  /** With one backup, in a bucket and in a folder. The caller disposes of it. */
  static async open({ server, stateBytes, cache, direct = false, nodes = 1 }: SiteOptions): Promise<RestoreSite> {
    await using stack = new AsyncDisposableStack();
    const seal = { type: 'static', keyId: 'k1', keyHex: 'a7'.repeat(32) } as const;
    // 30 s by themselves, in which a slow machine does not upload what it should.
    const listenerTimeouts = { http_read_timeout: '30m', http_write_timeout: '30m' };
    const cluster = stack.use(await startCluster({ version: '2.7.2', nodes, seal, listenerTimeouts }));
    await grow(cluster, stateBytes);
    await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
    await cluster.call('POST', 'kv/canary', { value: KEPT });
    const bucket = `site-${randomUUID()}`;
    await server.createBucket(bucket);
    const http = stack.use(await startHttpFaultProxy(cluster.first.url));
    const gate = stack.use(await startFaultProxy(http.url));
    const wire = stack.use(await startFaultProxy(server.endpoint));
    const world = stack.use(
      await World.create({
        destinations: {
          bucket: { type: 's3', server: direct ? server : { ...server, endpoint: wire.url }, bucket },
          folder: { type: 'directory', path: 'folder' },
        },
        canOpen: true,
      }),
    );
    await mkdir(join(world.directory, 'folder'));
    await world.grant(cluster, RESTORE_POLICY);
    // Several nodes tell each other's addresses, and those are not the proxy's.
    const urls = nodes === 1 && !direct ? [gate.url] : cluster.nodes.map(({ url }) => url);
    const configFile = await world.config(urls);
    const env = { ...worldEnv(server), XDG_CACHE_HOME: cache };
    await backUp({ configFile, env });
    return new RestoreSite(
      { cluster, world, bucket, proxies: { http, gate, wire }, configFile, env },
      server,
      stack.move(),
    );
  }

  /** Something is written that is not in the snapshot. */
  async soil(value = 'written since'): Promise<void> {
    await this.cluster.call('POST', 'kv/canary', { value });
  }

  /** What the cluster serves, or the status that came in its place. */
  async canary(): Promise<unknown> {
    return await valueAt(await this.cluster.waitActive(), this.cluster.rootToken, 'kv/canary');
  }

  /** How often the server has begun to apply a snapshot. */
  async installs(): Promise<number> {
    return await installsOn(this.cluster.first);
  }

  args(...more: string[]): string[] {
    return ['restore', '--config', this.configFile, '--confirm', CLUSTER, ...more];
  }

  /** `strongroom restore` as a process; whoever starts it ends it. */
  start(more: readonly string[] = [], options: Omit<CliOptions, 'env'> = {}): RunningCli {
    return startCli(this.args(...more), { ...options, env: this.env });
  }

  /** The note of an install that was begun and is not proven yet, or null. */
  async note(): Promise<string | null> {
    return await readFile(join(this.world.spool, CLUSTER, 'restore.json'), 'utf8').catch(() => null);
  }

  /** One line for everything in the spool and in the destinations that no completed run leaves there. */
  async leftovers(): Promise<string[]> {
    const folder = join(this.world.directory, 'folder');
    const files = (await filesIn(folder)).map((path) => relative(folder, path));
    const { objects, uploads } = await inBucket(this.#server, this.bucket);
    return [
      ...(await filesIn(this.world.spool)),
      ...files.filter((path) => path.startsWith('.strongroom/tmp/') && !path.startsWith(LEASE_WRITES)),
      ...orphans(
        sortObjects(
          CLUSTER,
          files.filter((path) => !path.startsWith('.strongroom/')),
        ),
      ),
      ...uploads.map((key) => `unfinished upload ${key}`),
      ...orphans(sortObjects(CLUSTER, objects)),
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
