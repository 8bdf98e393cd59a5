/** A set-up that doctor finds no problem in, on real servers; each test breaks one thing of it. */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ListMultipartUploadsCommand, ListObjectVersionsCommand } from '@aws-sdk/client-s3';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { parseClusterName } from '../../src/core/ids.ts';
import { silentLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import { doctor } from '../../src/doctor/doctor.ts';
import type { Area, Finding } from '../../src/doctor/finding.ts';
import { vaultPolicy } from '../../src/policy/vault.ts';
import { type BaoCluster, startCluster } from './bao-cluster.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from './http-fault-proxy.ts';
import { type KmsEmulator, startKms } from './kms-emulator.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import { s3Client } from './s3-connection.ts';
import { type RunningS3, secretOf, startVersityGw } from './s3-servers.ts';
import { World, type WorldDestination, worldEnv } from './world.ts';

/** As far as tests change it. */
export type SiteConfig = {
  destinations: Record<string, Record<string, unknown>>;
  encryption: { kms: Record<string, unknown>[] } & Record<string, unknown>;
  signing: Record<string, unknown>;
  queue?: Record<string, unknown>;
  notifications?: Record<string, unknown>;
  clusters: { prod: { tls: Record<string, unknown>; auth: Record<string, unknown> } & Record<string, unknown> };
};

const never: AbortSignal = new AbortController().signal;

export const problems = (found: readonly Finding[]): Finding[] => found.filter(({ status }) => status === 'problem');
export const about = (found: readonly Finding[], what: string): Finding[] => found.filter((one) => one.what === what);

/** The only problem there is, with its fix; throws with all of them when there are more or none. */
export function onlyProblem(found: readonly Finding[]): Finding {
  const all = problems(found);
  const [one] = all;
  if (one === undefined || all.length > 1 || one.fix === null) {
    throw new Error(`one problem with a fix was expected: ${JSON.stringify(all, null, 2)}`);
  }
  return one;
}

export class DoctorSite implements AsyncDisposable {
  readonly cluster: BaoCluster;
  readonly s3: RunningS3 & { objects: string };
  /** what the bucket destinations go through */
  readonly proxy: HttpFaultProxy;
  readonly kms: KmsEmulator;
  readonly redis: RedisServer;
  readonly world: World;
  readonly wrapKey: string;
  readonly sealKey: string;
  readonly folder: string;
  /** the first one locks */
  readonly buckets: { readonly locked: string; readonly plain: string };
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    parts: Pick<
      DoctorSite,
      'cluster' | 's3' | 'proxy' | 'kms' | 'redis' | 'world' | 'wrapKey' | 'sealKey' | 'folder' | 'buckets'
    >,
  ) {
    this.#stack = stack;
    ({
      cluster: this.cluster,
      s3: this.s3,
      proxy: this.proxy,
      kms: this.kms,
      redis: this.redis,
      world: this.world,
      wrapKey: this.wrapKey,
      sealKey: this.sealKey,
      folder: this.folder,
      buckets: this.buckets,
    } = parts);
  }

  static async open(): Promise<DoctorSite> {
    await using stack = new AsyncDisposableStack();
    const cluster = stack.use(await startCluster({ version: '2.7.2', tls: true }));
    const kms = stack.use(await startKms());
    const redis = stack.use(await startRedis({ appendOnly: true }));
    const s3 = stack.use(await startVersityGw(undefined, { users: ['backup'] }));
    const proxy = stack.use(await startHttpFaultProxy(s3.endpoint));
    const buckets = { locked: `locked-${randomUUID()}`, plain: `plain-${randomUUID()}` };
    await s3.createBucket(buckets.locked, { objectLock: true });
    await s3.createBucket(buckets.plain);
    const behind = { ...s3, endpoint: proxy.url };
    const extra = { prefix: 'bk', objectLock: { mode: 'governance', keep: '1h' } };
    const wrapKey = kms.createKey({ region: 'eu-central-1' });
    const sealKey = kms.createKey({ region: 'eu-central-1' });
    const destinations: Record<string, WorldDestination> = {
      locked: { type: 's3', server: behind, bucket: buckets.locked, extra },
      plain: { type: 's3', server: behind, bucket: buckets.plain },
      folder: { type: 'directory', path: 'folder' },
    };
    const world = stack.use(
      await World.create({
        destinations,
        kms: [{ keyArn: wrapKey, endpoint: kms.url }],
        sealKms: { keyArn: sealKey, endpoint: kms.url },
      }),
    );
    const folder = join(world.directory, 'folder');
    await mkdir(folder);
    const auth = { auth: { method: 'approle' } } as Parameters<typeof vaultPolicy>[1];
    await world.grant(cluster, vaultPolicy('backup', { ...auth, name: parseClusterName('prod') }).document);
    await world.write('ca.pem', cluster.caPem ?? '');
    return new DoctorSite(stack.move(), { cluster, s3, proxy, kms, redis, world, wrapKey, sealKey, folder, buckets });
  }

  /** The config file with `change` in it. */
  async write(change: (config: SiteConfig) => void = () => undefined, name = `${randomUUID()}.yaml`): Promise<string> {
    const file = await this.world.config([this.cluster.first.url], { tls: { ca: 'file:ca.pem' } }, name);
    const config = parse(await readFile(file, 'utf8')) as SiteConfig;
    config.queue = { url: this.redis.url };
    change(config);
    return await this.world.write(name, stringify(config));
  }

  /** For the destinations: as the gateway's owner, or as the user that its policies are for. */
  env(user?: 'backup'): Record<string, string> {
    return worldEnv(user === undefined ? this.s3 : { accessKeyId: user, secretAccessKey: secretOf(user) });
  }

  async diagnose(
    only: Area | null,
    change: (config: SiteConfig) => void = () => undefined,
    env: Record<string, string> = this.env(),
  ): Promise<Finding[]> {
    const config = await loadConfig(await this.write(change), { env });
    return await doctor({ config, clock: systemClock, log: silentLog }, { clusters: ['prod'], only }, never);
  }

  /** Everything in the buckets, versions and delete markers and uploads too, and in the folder. */
  async leftovers(): Promise<string[]> {
    const left: string[] = [];
    const client = s3Client(this.s3);
    try {
      for (const Bucket of Object.values(this.buckets)) {
        const versions = await client.send(new ListObjectVersionsCommand({ Bucket }));
        left.push(
          ...[...(versions.Versions ?? []), ...(versions.DeleteMarkers ?? [])].map(({ Key }) => `${Bucket} ${Key}`),
        );
        const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
        left.push(...(Uploads ?? []).map(({ Key }) => `upload ${Bucket} ${Key}`));
      }
    } finally {
      client.destroy();
    }
    const files = await readdir(this.folder, { recursive: true, withFileTypes: true });
    left.push(...files.filter((file) => file.isFile()).map(({ name }) => name));
    const spool = await readdir(this.world.spool, { recursive: true });
    return [...left, ...spool];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
