/** Two destinations with snapshots in them and no cluster: an archive of a real server, published by a backup's own code. */
import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { verifyArchive } from '../../src/archive/verify.ts';
import { buildManifest } from '../../src/backup/manifest.ts';
import type { BackupDeps, Destination } from '../../src/backup/options.ts';
import type { Preflight } from '../../src/backup/preflight.ts';
import { publish } from '../../src/backup/publish.ts';
import { uploadCopy } from '../../src/backup/upload.ts';
import { Catalogue } from '../../src/catalogue/catalogue.ts';
import type { Manifest } from '../../src/catalogue/manifest.ts';
import { type Bytes, flow } from '../../src/core/flow.ts';
import { newRunId, newSnapshotId, type SnapshotId } from '../../src/core/ids.ts';
import { newContainer } from '../../src/crypt/container.ts';
import { wrapIdentity } from '../../src/crypt/keyring.ts';
import type { VerifyDeps } from '../../src/snapshots/verify.ts';
import { SpoolFile } from '../../src/spool/spool.ts';
import { compositeSha256 } from '../../src/store/parts.ts';
import type { Store } from '../../src/store/store.ts';
import { ActiveNode } from '../../src/vault/active-node.ts';
import type { NodeView } from '../../src/vault/cluster.ts';
import { type AppOptions, openApp } from './strongroom-app.ts';
import { World, type WorldDestination } from './world.ts';

const ARCHIVE = fileURLToPath(new URL('../fixtures/archives/openbao-2.7.2-shamir.snap', import.meta.url));
/** Nothing listens there, and nobody asks. */
const NODE = 'http://127.0.0.1:1';
const never = new AbortController().signal;

export class Shelf implements AsyncDisposable {
  readonly world: World;
  /** for the CLI */
  readonly app: AppOptions;
  readonly deps: BackupDeps;
  readonly #stack: AsyncDisposableStack;

  private constructor(stack: AsyncDisposableStack, world: World, app: AppOptions, deps: BackupDeps) {
    this.#stack = stack;
    this.world = world;
    this.app = app;
    this.deps = deps;
  }

  /** Keys, config and stores; folders of directories are made. Disposing leaves the buckets. */
  static async open(
    destinations: Record<string, WorldDestination>,
    env: Record<string, string> = {},
    change: Record<string, unknown> = {},
  ): Promise<Shelf> {
    await using stack = new AsyncDisposableStack();
    const world = stack.use(await World.create({ destinations, canOpen: true }));
    for (const destination of Object.values(destinations)) {
      if (destination.type === 'directory') await mkdir(join(world.directory, destination.path));
    }
    await world.write('role-id', 'nobody');
    await world.write('secret-id', 'asks');
    const app = { configFile: await world.config([NODE], change), env };
    const opened = stack.use(await openApp(app));
    return new Shelf(stack.move(), world, app, await opened.backupDeps(world.name, never));
  }

  /** Catalogue, stores and identities as `show` and `verify` have them; `stores` in the place of the configured ones. */
  async snapshots(stores: readonly Store[] = this.deps.destinations.map(({ store }) => store)): Promise<VerifyDeps> {
    const app = this.#stack.use(await openApp(this.app));
    const deps = await app.snapshotDeps(this.world.name, never);
    return { ...deps, stores, catalogue: await this.catalogue(stores) };
  }

  async catalogue(stores: readonly Store[]): Promise<Catalogue> {
    const trusted = [await this.deps.signer.publicKeyPem(never)];
    return new Catalogue({ cluster: this.deps.cluster, stores, trusted });
  }

  /** One more snapshot in `destinations`, in the order of a backup; rejects as a backup's upload or publication would. */
  async publish({
    now = new Date(),
    snapshot = newSnapshotId(now),
    destinations = this.deps.destinations,
    previous = null,
  }: {
    now?: Date;
    snapshot?: SnapshotId;
    destinations?: readonly Destination[];
    previous?: Preflight['previous'];
  } = {}): Promise<Manifest & { snapshot: SnapshotId }> {
    const deps = { ...this.deps, destinations, clock: { now: () => now } };
    const container = await newContainer(deps.breakGlass);
    const keys = { kms: deps.kms, breakGlass: deps.breakGlass, policy: deps.recipientPolicy, now };
    const sidecar = await wrapIdentity(container.identity, { cluster: deps.cluster, snapshot }, keys, never);
    await using spool = await SpoolFile.create(deps.spool, join(deps.cluster, `${snapshot}.spool`));
    const verify = verifyArchive({ signal: never });
    await flow(createReadStream(ARCHIVE) as Bytes, [verify.stage, container.encrypt], spool.write, never);
    const body = await spool.hashParts(never);
    const composite = compositeSha256(body.partSha256);
    const what = { cluster: deps.cluster, snapshot, sidecar, body, composite };
    const options = { prove: 'checksum', now, onProgress: () => undefined, signal: never } as const;
    const copies = await Promise.all(destinations.map((destination) => uploadCopy(destination, what, options)));
    const records = destinations.map(({ store: { name, location } }, i) => {
      const { data, proof } = copies[i] ?? unexpected();
      const { etag, versionId, lock } = data;
      return {
        name,
        location,
        status: 'stored' as const,
        etag,
        proof,
        ...(versionId === undefined ? {} : { versionId }),
        ...(lock === undefined ? {} : { lock: { mode: lock.mode, until: lock.until.toISOString() } }),
      };
    });
    const taken = { node: this.#node(), report: await verify.report, container, sidecar, attempts: 1 };
    const before = { checks: [], active: null, view: null, previous, writable: [] };
    const run = { run: newRunId(now), snapshot, taken, body, composite, records, before, warnings: [], sidecar };
    const manifest = buildManifest(deps, { purpose: 'backup' }, run);
    const { failures } = await publish(deps, manifest, { holders: destinations, onRecord: [] }, never);
    if (failures[0] !== undefined) throw failures[0].error;
    return { ...manifest, snapshot };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #node(): ActiveNode {
    const view: NodeView = {
      url: NODE,
      state: 'active',
      error: null,
      healthStatus: 200,
      product: 'openbao',
      version: '2.7.2',
      clusterId: null,
      clusterName: null,
      storageType: 'raft',
      sealType: 'shamir',
      threshold: 2,
      shares: 3,
      progress: 0,
      isSelf: true,
      leaderAddress: NODE,
      leaderReachable: null,
      raftAppliedIndex: null,
      clockSkewMs: null,
    };
    return new ActiveNode(view, this.deps.vault.node(NODE), this.deps.vault.session);
  }
}

function unexpected(): never {
  throw new Error('fewer copies than destinations');
}
