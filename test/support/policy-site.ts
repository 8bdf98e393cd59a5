/** Where policies for S3 and KMS are really enforced: a gateway with users, a KMS with grants, and a record of all requests. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { PutBucketPolicyCommand, type S3Client } from '@aws-sdk/client-s3';
import { parse, stringify } from 'yaml';
import { type Config, loadConfig } from '../../src/config/load.ts';
import type { ClusterName } from '../../src/core/ids.ts';
import { bucketPolicy } from '../../src/policy/bucket-policy.ts';
import { type Bucket, bucketsOf } from '../../src/policy/buckets.ts';
import type { PolicyDocument, Statement } from '../../src/policy/document.ts';
import { identityPolicy } from '../../src/policy/iam.ts';
import { ROLES, type Role } from '../../src/policy/roles.ts';
import { kmsUse, type S3Use, s3Use } from './aws-use.ts';
import { type BaoCluster, startCluster } from './bao-cluster.ts';
import { startHttpFaultProxy } from './http-fault-proxy.ts';
import { type KmsEmulator, startKms } from './kms-emulator.ts';
import type { Operation } from './kms-schemas.ts';
import type { AskedAction } from './policy-judge.ts';
import { s3Client } from './s3-connection.ts';
import { type RunningS3, secretOf, startVersityGw } from './s3-servers.ts';
import type { AppOptions } from './strongroom-app.ts';
import { RESTORE_POLICY, World, worldEnv } from './world.ts';

const CLUSTER = 'prod' as ClusterName;

/** One cluster, one bucket with locks, tags and a prefix, one with nothing, and a key each to wrap, to sign and of the seal. */
export class PolicySite implements AsyncDisposable {
  readonly cluster: BaoCluster;
  readonly kms: KmsEmulator;
  readonly configFile: string;
  readonly config: Config;
  /** `locked` and `plain`, as the config has them */
  readonly buckets: readonly [locked: Bucket, plain: Bucket];
  /** the gateway's owner, whom no policy stops */
  readonly root: S3Client;
  readonly #server: RunningS3;
  readonly #uses: S3Use[];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<PolicySite, 'cluster' | 'kms' | 'configFile' | 'config' | 'buckets' | 'root'>,
    server: RunningS3,
    uses: S3Use[],
    stack: AsyncDisposableStack,
  ) {
    this.cluster = parts.cluster;
    this.kms = parts.kms;
    this.configFile = parts.configFile;
    this.config = parts.config;
    this.buckets = parts.buckets;
    this.root = parts.root;
    this.#server = server;
    this.#uses = uses;
    this.#stack = stack;
  }

  static async open(): Promise<PolicySite> {
    await using stack = new AsyncDisposableStack();
    const seal = { type: 'static', keyId: 'k1', keyHex: 'c4'.repeat(32) } as const;
    const cluster = stack.use(await startCluster({ version: '2.7.2', seal }));
    const kms = stack.use(await startKms());
    const server = stack.use(await startVersityGw(undefined, { users: ROLES }));
    const names = [`locked-${randomUUID()}`, `plain-${randomUUID()}`] as const;
    await server.createBucket(names[0], { objectLock: true });
    await server.createBucket(names[1]);
    const uses: S3Use[] = [];
    const proxy = stack.use(
      await startHttpFaultProxy(server.endpoint, (incoming) => {
        uses.push(...s3Use(incoming, { locks: incoming.url?.startsWith(`/${names[0]}`) === true }));
      }),
    );
    const behind = { ...server, endpoint: proxy.url };
    const extra = { prefix: 'bk', tags: { team: 'vault' }, objectLock: { mode: 'governance', keep: '1h' } };
    const world = stack.use(
      await World.create({
        destinations: {
          locked: { type: 's3', server: behind, bucket: names[0], extra },
          plain: { type: 's3', server: behind, bucket: names[1] },
        },
        kms: [{ keyArn: kms.createKey({ region: 'eu-central-1' }), endpoint: kms.url }],
        sealKms: { keyArn: kms.createKey({ region: 'eu-central-1' }), endpoint: kms.url },
      }),
    );
    await world.grant(cluster, RESTORE_POLICY);
    const configFile = await world.config([cluster.first.url]);
    const written = parse(await readFile(configFile, 'utf8')) as { signing: unknown };
    const credentials = { accessKeyId: 'env:WORLD_KMS_ID', secretAccessKey: 'env:WORLD_KMS_SECRET' };
    const signer = kms.createKey({ region: 'eu-central-1', spec: 'ECC_NIST_P256' });
    written.signing = { kms: { keyId: signer, endpoint: kms.url, credentials } };
    await world.write('strongroom.yaml', stringify(written));
    const config = await loadConfig(configFile, { env: {} });
    const [locked, plain] = bucketsOf(config);
    if (locked === undefined || plain === undefined) throw new Error('two buckets were configured');
    const root = s3Client(server);
    stack.defer(() => root.destroy());
    const parts = { cluster, kms, configFile, config, buckets: [locked, plain] as const, root };
    const owned = stack.move();
    const site = new PolicySite(parts, server, uses, owned);
    try {
      for (const role of ROLES) site.grantKeys(role);
      for (const bucket of site.buckets) await site.putPolicy(bucket, site.policyOf(bucket).Statement);
      return site;
    } catch (e) {
      await owned.disposeAsync();
      throw e;
    }
  }

  identity(role: Role): PolicyDocument {
    return identityPolicy(this.config, CLUSTER, role).document;
  }

  /** As `strongroom policy s3 --grant backup=backup … --no-write-once` prints it. */
  policyOf(bucket: Bucket, { writeOnce = false }: { writeOnce?: boolean } = {}): PolicyDocument {
    const principals = Object.fromEntries(ROLES.map((role) => [role, [role]]));
    return bucketPolicy(bucket, principals, { writeOnce }).document;
  }

  async putPolicy({ bucket }: Bucket, statements: readonly Statement[]): Promise<void> {
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement: statements });
    await this.root.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
  }

  /** The login of `role` may from now on do in KMS what `statements` allow, and nothing else. */
  grantKeys(role: Role, statements: readonly Statement[] = this.identity(role).Statement): void {
    this.kms.revoke(role);
    // With nothing granted it could call everything.
    this.kms.grant(role, []);
    for (const { Action, Resource } of statements) {
      const actions = Action.filter((action) => action.startsWith('kms:')).map((action) => action.slice(4));
      const operations = actions.map((action) => (action.startsWith('ReEncrypt') ? 'ReEncrypt' : action));
      for (const arn of Resource) if (operations.length > 0) this.kms.grant(role, operations as Operation[], arn);
    }
  }

  /** For a run as the login of `role`, in S3 and in KMS. */
  as(role: Role, configFile = this.configFile): AppOptions {
    const env = worldEnv({ accessKeyId: role, secretAccessKey: secretOf(role) }, role);
    return { configFile, env };
  }

  /** A client of the gateway for the login of `role`, past the record. The caller destroys it. */
  client(role: Role): S3Client {
    return s3Client({ ...this.#server, accessKeyId: role, secretAccessKey: secretOf(role) });
  }

  forget(): void {
    this.#uses.length = 0;
    this.kms.clearCalls();
  }

  /** What `role` has asked for since {@link forget}. */
  used(role: Role): AskedAction[] {
    const calls = this.kms.calls.filter(({ accessKeyId }) => accessKeyId === role);
    return [...this.#uses.filter(({ accessKeyId }) => accessKeyId === role), ...calls.flatMap(kmsUse)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
