/**
 * Workers under load: many configured clusters that replay one real snapshot, a real Redis, two buckets of a real S3 server, and
 * keys of a KMS with real cryptography. Everything but who is backed up is what a worker meets outside.
 */
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { parse, stringify } from 'yaml';
import { startCluster } from './bao-cluster.ts';
import { type KmsEmulator, startKms } from './kms-emulator.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import { type ReplayedFleet, startReplayedFleet } from './replayed-fleet.ts';
import type { S3Server } from './s3-connection.ts';
import { type RunningS3, startVersityGw } from './s3-servers.ts';
import { grow } from './seed-bulk.ts';
import type { CliOptions } from './strongroom-cli.ts';
import { RunningWorker } from './worker-scene.ts';
import { World, worldEnv } from './world.ts';

/** What a real OpenBao gives as its snapshot when its state has grown by at least `bytes`; 0 = right after its start. */
export async function recordSnapshot(bytes: number): Promise<Uint8Array> {
  await using cluster = await startCluster({ version: '2.7.2', nodes: 1 });
  if (bytes > 0) await grow(cluster, bytes);
  const response = await fetch(`${cluster.first.url}/v1/sys/storage/raft/snapshot`, {
    headers: { 'x-vault-token': cluster.rootToken },
  });
  if (response.status !== 200) throw new Error(`the snapshot was answered with ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** What `env:LOAD_REDIS` says in a queue block. */
export const REDIS_PASSWORD = 'hunter2';

export type LoadSchedule = { cron: string; jitter?: string };

export type LoadOptions = {
  clusters: number;
  /** what each cluster gives as its snapshot */
  archive: Uint8Array;
  /** what is between strongroom and S3; default: nothing */
  before?: (server: S3Server) => Promise<AsyncDisposable & { url: string }>;
  how?: Pick<CliOptions, 'main' | 'nodeArgs'>;
  /** the queue block, for another Redis than one of its own */
  queue?: Record<string, unknown>;
};

/** The caller disposes it: workers are killed, servers ended, and what was stored is removed. */
export class LoadScene implements AsyncDisposable {
  readonly redis: RedisServer;
  readonly s3: RunningS3;
  readonly kms: KmsEmulator;
  readonly fleet: ReplayedFleet;
  readonly config: string;
  readonly #env: Record<string, string>;
  readonly #queue: Record<string, unknown>;
  readonly #how: Pick<CliOptions, 'main' | 'nodeArgs'>;
  readonly #workers = new Set<RunningWorker>();
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<LoadScene, 'redis' | 's3' | 'kms' | 'fleet' | 'config'>,
    { how, queue }: Required<Pick<LoadOptions, 'how' | 'queue'>>,
    stack: AsyncDisposableStack,
  ) {
    this.redis = parts.redis;
    this.s3 = parts.s3;
    this.kms = parts.kms;
    this.fleet = parts.fleet;
    this.config = parts.config;
    this.#env = { ...worldEnv(parts.s3), LOAD_TOKEN: 's.replayed', LOAD_REDIS: REDIS_PASSWORD };
    this.#how = how;
    this.#queue = queue;
    this.#stack = stack;
  }

  static async open({ clusters, archive, before, how = {}, queue }: LoadOptions): Promise<LoadScene> {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const kms = stack.use(await startKms());
    const s3 = stack.use(await startVersityGw());
    const front = before === undefined ? null : stack.use(await before(s3));
    const server = front === null ? s3 : { ...s3, endpoint: front.url };
    const fleet = stack.use(await startReplayedFleet(clusters, archive));
    const buckets = [`a-${randomUUID()}`, `b-${randomUUID()}`];
    for (const bucket of buckets) await s3.createBucket(bucket);
    const [a = '', b = ''] = buckets;
    const world = stack.use(
      await World.create({
        destinations: { a: { type: 's3', server, bucket: a }, b: { type: 's3', server, bucket: b } },
        kms: ['eu-central-1', 'us-east-1'].map((region) => ({ keyArn: kms.createKey({ region }), endpoint: kms.url })),
      }),
    );
    const config = await world.config([]);
    const parts = { redis, s3, kms, fleet, config };
    return new LoadScene(parts, { how, queue: queue ?? { url: redis.url } }, stack.move());
  }

  /** Writes the config for the first `clusters` of them, all with `schedule`; `worker` is that block. */
  async configure(clusters: number, schedule: LoadSchedule, worker: Record<string, unknown> = {}): Promise<void> {
    const document = parse(await readFile(this.config, 'utf8')) as Record<string, unknown>;
    document['queue'] = this.#queue;
    document['log'] = { level: 'debug' };
    document['worker'] = worker;
    document['clusters'] = Object.fromEntries(
      this.fleet.urls.slice(0, clusters).map((url, index) => [
        nameOfCluster(index),
        {
          nodes: [url],
          auth: { method: 'token', token: 'env:LOAD_TOKEN' },
          destinations: ['a', 'b'],
          schedule: { backup: schedule },
        },
      ]),
    );
    // Written out for each, as most fleets are: the parser stops at a hundred aliases.
    await writeFile(this.config, stringify(document, { aliasDuplicateObjects: false }));
  }

  worker(): RunningWorker {
    const worker = new RunningWorker(this.config, this.#env, this.#how);
    this.#workers.add(worker);
    return worker;
  }

  /** Bytes that Redis holds, as it says itself. */
  async redisBytes(): Promise<number> {
    return Number((await this.redis.info('memory')).get('used_memory'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.end('SIGKILL')));
    await this.#stack.disposeAsync();
  }
}

export function nameOfCluster(index: number): string {
  return `c${String(index + 1).padStart(4, '0')}`;
}
