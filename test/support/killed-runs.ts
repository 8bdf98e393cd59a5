/** A cluster, two buckets, and runs of the CLI that are killed: what they leave, and what the next run makes of it. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parse, stringify } from 'yaml';
import type { ClusterName, SnapshotId } from '../../src/core/ids.ts';
import { verifySnapshot } from '../../src/snapshots/verify.ts';
import { inBucket, inSpool } from './backup-trial.ts';
import { type BaoCluster, startCluster } from './bao-cluster.ts';
import { FailingS3 } from './failing-s3.ts';
import { KINDS, type Objects, orphans, sortObjects } from './held.ts';
import type { S3Server } from './s3-connection.ts';
import { grow } from './seed-bulk.ts';
import { type AppOptions, openApp } from './strongroom-app.ts';
import { type RunningCli, startCli } from './strongroom-cli.ts';
import { World, worldEnv } from './world.ts';

export const CLUSTER = 'prod' as ClusterName;
const never = new AbortController().signal;

export type Held = Objects & { uploads: string[] };

export class KilledRuns implements AsyncDisposable {
  readonly cluster: BaoCluster;
  readonly world: World;
  readonly server: S3Server;
  readonly buckets: Readonly<Record<'a' | 'b', string>>;
  /** in front of the buckets, for {@link KilledRuns.aimed} only */
  readonly proxies: Readonly<Record<'a' | 'b', FailingS3>>;
  /** straight to the server */
  readonly direct: AppOptions;
  /** through the proxies */
  readonly aimed: AppOptions;
  readonly #stack: AsyncDisposableStack;
  readonly #verified = new Set<SnapshotId>();

  private constructor(
    parts: Pick<KilledRuns, 'cluster' | 'world' | 'server' | 'buckets' | 'proxies' | 'direct' | 'aimed'>,
    stack: AsyncDisposableStack,
  ) {
    this.cluster = parts.cluster;
    this.world = parts.world;
    this.server = parts.server;
    this.buckets = parts.buckets;
    this.proxies = parts.proxies;
    this.direct = parts.direct;
    this.aimed = parts.aimed;
    this.#stack = stack;
  }

  /** One node whose state is `stateBytes` and some; both buckets empty. */
  static async open(server: S3Server, stateBytes: number): Promise<KilledRuns> {
    await using stack = new AsyncDisposableStack();
    const cluster = stack.use(await startCluster({ version: '2.7.2', nodes: 1 }));
    await grow(cluster, stateBytes);
    const buckets = { a: `a-${randomUUID()}`, b: `b-${randomUUID()}` };
    for (const bucket of Object.values(buckets)) await server.createBucket(bucket);
    const world = stack.use(
      await World.create({
        destinations: {
          a: { type: 's3', server, bucket: buckets.a },
          b: { type: 's3', server, bucket: buckets.b },
        },
        canOpen: true,
      }),
    );
    await world.grant(cluster);
    const configFile = await world.config(cluster.nodes.map(({ url }) => url));
    const proxies = {
      a: stack.use(await FailingS3.start(server.endpoint)),
      b: stack.use(await FailingS3.start(server.endpoint)),
    };
    const config = parse(await readFile(configFile, 'utf8')) as { destinations: Record<string, { endpoint: string }> };
    for (const [name, proxy] of Object.entries(proxies)) {
      const destination = config.destinations[name];
      if (destination !== undefined) destination.endpoint = proxy.url;
    }
    const env = worldEnv(server);
    const aimed = { configFile: await world.write('aimed.yaml', stringify(config)), env };
    const direct = { configFile, env };
    return new KilledRuns({ cluster, world, server, buckets, proxies, direct, aimed }, stack.move());
  }

  /** `strongroom backup` as a process; whoever starts it ends it. */
  start({ configFile, env }: AppOptions): RunningCli {
    return startCli(['backup', '--config', configFile], { env: { ...env, XDG_CACHE_HOME: this.world.directory } });
  }

  /** What is in a bucket now, by kind. Throws for an object that the layout does not know. */
  async held(name: 'a' | 'b'): Promise<Held> {
    const { objects, uploads } = await inBucket(this.server, this.buckets[name]);
    return { ...sortObjects(CLUSTER, objects), uploads };
  }

  /** A snapshot whose run ended well has proven it: {@link KilledRuns.badSights} need not open it again. */
  trust(snapshot: string): void {
    this.#verified.add(snapshot as SnapshotId);
  }

  /**
   * One line for everything visible that is not good: a manifest that the catalogue refuses, or that lacks its signature,
   * keys or data, or whose copies do not read back. New snapshots are decrypted and read to their last record; with `all`
   * every byte of every one is held against its manifest instead. Empty is the proof.
   */
  async badSights({ all = false } = {}): Promise<string[]> {
    const bad: string[] = [];
    await using app = await openApp(this.direct);
    const opened = await app.snapshotDeps(CLUSTER, never);
    const deps = all ? { ...opened, identities: [] } : opened;
    const { entries, failures } = await deps.catalogue.list(never);
    bad.push(...failures.map(({ message }) => message));
    for (const { snapshot } of entries) {
      if (this.#verified.has(snapshot) && !all) continue;
      const { manifest, refused } = await deps.catalogue.read(snapshot, never);
      // A destination that has no manifest yet is not bad; one that is refused is.
      bad.push(...refused.filter(({ error }) => error.code !== 'E_NOT_FOUND').map(({ error }) => error.message));
      const { copies } = await verifySnapshot(deps, manifest, never);
      if (copies.length !== 2) bad.push(`${snapshot} has ${copies.length} copies`);
      for (const { destination, level, error } of copies) {
        if (level !== (all ? 'ciphertext' : 'archive')) {
          bad.push(`${snapshot} in ${destination}: ${level} ${error?.message ?? ''}`);
        }
      }
      this.#verified.add(snapshot);
    }
    for (const name of ['a', 'b'] as const) {
      const held = await this.held(name);
      for (const id of held.manifests) {
        for (const kind of KINDS) if (!held[kind].has(id)) bad.push(`${id} in ${name} has a manifest and no ${kind}`);
      }
    }
    return bad;
  }

  /** One line for everything that a killed run left and the next did not clear away. */
  async leftovers(): Promise<string[]> {
    const left = [...(await inSpool(this.world))];
    const [a, b] = await Promise.all([this.held('a'), this.held('b')]);
    for (const [name, held] of Object.entries({ a, b })) {
      left.push(...held.uploads.map((key) => `${name}: unfinished upload ${key}`));
      left.push(...orphans(held).map((line) => `${name}: ${line}`));
    }
    for (const id of [...newIn(a.manifests, b.manifests), ...newIn(b.manifests, a.manifests)])
      left.push(`${id} is in one bucket only`);
    return left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** What `now` has and `before` had not. */
export function newIn<T>(now: ReadonlySet<T>, before: ReadonlySet<T>): T[] {
  return [...now].filter((item) => !before.has(item));
}
