/**
 * Everything that strongroom needs around one cluster: keys, a login of its own with no more rights than it needs, and a
 * config file. The quickstart and the end-to-end tests stand on it.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { generateBreakGlass, generateSigningKey } from '../../src/crypt/generate.ts';
import type { BaoCluster } from './bao-cluster.ts';
import type { S3Connection } from './s3-connection.ts';

/** What a backup needs of the cluster, and no more; `snapshot` is the whole, encrypted, database. */
export const BACKUP_POLICY = `
path "sys/storage/raft/snapshot" { capabilities = ["read"] }
path "sys/storage/raft/configuration" { capabilities = ["read"] }
`;
/** What a restore into a running cluster needs on top: never given to the login that makes backups. */
export const RESTORE_POLICY = `${BACKUP_POLICY}
path "sys/storage/raft/snapshot" { capabilities = ["read", "update"] }
path "sys/storage/raft/snapshot-force" { capabilities = ["update"] }
path "sys/mounts" { capabilities = ["read"] }
`;

export type WorldDestination =
  | { type: 's3'; server: S3Connection; bucket: string; extra?: Record<string, unknown> }
  | { type: 'directory'; path: string };

export type KmsUse = { keyArn: string; endpoint: string; accessKeyId?: string; ca?: string };

export type WorldOptions = {
  /** default `prod` */
  name?: string;
  destinations: Record<string, WorldDestination>;
  /** keys that wrap */
  kms?: readonly KmsUse[];
  /** the key of the cluster's own seal, for preflight */
  sealKms?: KmsUse;
  /** merged over the cluster's block */
  cluster?: Record<string, unknown>;
  /** merged over the top-level encryption block */
  encryption?: Record<string, unknown>;
  /** put the break-glass identity into the config, as on a restore machine */
  canOpen?: boolean;
};

export class World implements AsyncDisposable {
  readonly directory: string;
  readonly name: string;
  readonly secrets: { breakGlass: string; signing: string };
  readonly recipient: string;
  readonly spool: string;
  readonly #options: WorldOptions;

  private constructor(
    directory: string,
    options: WorldOptions,
    breakGlass: { identity: string; recipient: string },
    signing: string,
  ) {
    this.directory = directory;
    this.name = options.name ?? 'prod';
    this.#options = options;
    this.secrets = { breakGlass: breakGlass.identity, signing };
    this.recipient = breakGlass.recipient;
    this.spool = join(directory, 'spool');
  }

  /** Keys and folders. Disposing removes them. */
  static async create(options: WorldOptions): Promise<World> {
    const directory = await mkdtemp(join(tmpdir(), 'strongroom-world-'));
    const breakGlass = await generateBreakGlass();
    const signing = generateSigningKey();
    const identity = { identity: breakGlass.identity.reveal(), recipient: breakGlass.recipient };
    const world = new World(directory, options, identity, signing.privateKeyPem.reveal());
    await world.write('breakglass.txt', `${world.secrets.breakGlass}\n`);
    await world.write('signing.pem', world.secrets.signing);
    await mkdir(world.spool, { mode: 0o700 });
    return world;
  }

  /** A file of mode 0600 beside the config. */
  async write(name: string, text: string): Promise<string> {
    const path = join(this.directory, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  }

  /** Makes the AppRole login that the config uses; its ids become files beside the config. */
  async grant(cluster: BaoCluster, policy: string = BACKUP_POLICY): Promise<void> {
    await cluster.call('PUT', 'sys/policies/acl/strongroom', { policy });
    await cluster.call('POST', 'sys/auth/approle', { type: 'approle' }).catch(() => undefined);
    await cluster.call('POST', 'auth/approle/role/strongroom', {
      token_policies: ['strongroom'],
      token_ttl: '10m',
      token_max_ttl: '1h',
    });
    const role = await cluster.call('GET', 'auth/approle/role/strongroom/role-id');
    const secret = await cluster.call('POST', 'auth/approle/role/strongroom/secret-id', {});
    await this.write('role-id', dataOf(role.json)['role_id'] ?? '');
    await this.write('secret-id', dataOf(secret.json)['secret_id'] ?? '');
  }

  /** Writes `name` for a cluster behind `nodes` and gives its path. */
  async config(
    nodes: readonly string[],
    change: Record<string, unknown> = {},
    name = 'strongroom.yaml',
  ): Promise<string> {
    const { destinations, kms = [], sealKms, cluster = {}, encryption = {}, canOpen = false } = this.#options;
    const config = {
      version: 1,
      spool: { directory: this.spool, reserveBytes: '1MiB' },
      log: { level: 'warn' },
      destinations: Object.fromEntries(Object.entries(destinations).map(([key, d]) => [key, destinationConfig(d)])),
      encryption: {
        kms: kms.map(kmsConfig),
        ...(kms.length === 0 ? { minKmsWraps: 0, declineKms: 'there is no KMS in this trial' } : {}),
        breakGlass: [this.recipient],
        ...(canOpen ? { identities: ['file:breakglass.txt'] } : {}),
        ...encryption,
      },
      signing: { key: 'file:signing.pem' },
      clusters: {
        [this.name]: {
          nodes: [...nodes],
          auth: { method: 'approle', roleId: 'file:role-id', secretId: 'file:secret-id' },
          ...(sealKms === undefined ? {} : { sealKms: kmsConfig(sealKms) }),
          destinations: Object.keys(destinations),
          ...cluster,
          ...change,
        },
      },
    };
    return await this.write(name, stringify(config));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

function destinationConfig(destination: WorldDestination): Record<string, unknown> {
  if (destination.type === 'directory') return destination;
  const { server, bucket, extra } = destination;
  return {
    type: 's3',
    bucket,
    region: server.region,
    endpoint: server.endpoint,
    forcePathStyle: true,
    credentials: { accessKeyId: 'env:WORLD_S3_ID', secretAccessKey: 'env:WORLD_S3_SECRET' },
    ...extra,
  };
}

function kmsConfig({ keyArn, endpoint, ca }: KmsUse): Record<string, unknown> {
  return {
    ...(ca === undefined ? {} : { ca }),
    keyId: keyArn,
    endpoint,
    credentials: { accessKeyId: 'env:WORLD_KMS_ID', secretAccessKey: 'env:WORLD_KMS_SECRET' },
  };
}

/** The environment that the config's references need. */
export function worldEnv(
  s3: Pick<S3Connection, 'accessKeyId' | 'secretAccessKey'>,
  kmsAccessKey = 'writer',
): Record<string, string> {
  return {
    WORLD_S3_ID: s3.accessKeyId,
    WORLD_S3_SECRET: s3.secretAccessKey,
    WORLD_KMS_ID: kmsAccessKey,
    WORLD_KMS_SECRET: 'not-checked-by-the-emulator',
  };
}

function dataOf(json: unknown): Record<string, string> {
  if (typeof json !== 'object' || json === null || !('data' in json)) throw new Error('an answer without data');
  return json.data as Record<string, string>;
}
