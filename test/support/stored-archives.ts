/**
 * Archives that real backups have put into two directories, and any number of copies of those directories to spoil: what
 * a restore would read them with, and everything that it says meanwhile.
 */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { App } from '../../src/app.ts';
import { Catalogue } from '../../src/catalogue/catalogue.ts';
import type { Manifest } from '../../src/catalogue/manifest.ts';
import { parseClusterName, type SnapshotId } from '../../src/core/ids.ts';
import { createLog } from '../../src/core/log.ts';
import { Secret } from '../../src/core/secret.ts';
import { localSigner, type Signer } from '../../src/crypt/sign.ts';
import type { RestoreDeps } from '../../src/restore/options.ts';
import { openSource, type RestoreSource } from '../../src/restore/source.ts';
import { FileStore } from '../../src/store/file.ts';
import { type ObjectKind, objectKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import { filesIn } from './backup-trial.ts';
import { type KmsEmulator, startKms } from './kms-emulator.ts';
import { type ReplayedNode, startReplayedNode } from './replayed-node.ts';
import { type AppOptions, backUp, openApp } from './strongroom-app.ts';
import { World, worldEnv } from './world.ts';

export const CLUSTER = parseClusterName('prod');
export const FOLDERS = ['a', 'b'] as const;
export type Folder = (typeof FOLDERS)[number];
const never = new AbortController().signal;

/** What a source is opened with; the rest of a restore's needs is for the cluster. */
export type SourceDeps = Pick<
  RestoreDeps,
  'cluster' | 'catalogue' | 'stores' | 'kms' | 'identities' | 'spool' | 'log' | 'onProgress'
>;

export type StoredArchive = { snapshot: SnapshotId; archive: Buffer; manifest: Manifest };

export class StoredArchives implements AsyncDisposable {
  readonly world: World;
  readonly kms: KmsEmulator;
  readonly wrapping: string;
  /** the node that the archives came from, and the only one that there is to install anything on */
  readonly node: ReplayedNode;
  readonly signer: Signer;
  readonly app: AppOptions;
  /** oldest first */
  readonly all: readonly StoredArchive[];
  readonly #opened: App;
  readonly #stack: AsyncDisposableStack;
  #sandboxes = 0;

  private constructor(
    parts: Pick<StoredArchives, 'world' | 'kms' | 'wrapping' | 'node' | 'app' | 'all'>,
    opened: App,
    stack: AsyncDisposableStack,
  ) {
    this.world = parts.world;
    this.kms = parts.kms;
    this.wrapping = parts.wrapping;
    this.node = parts.node;
    this.app = parts.app;
    this.all = parts.all;
    this.signer = localSigner(new Secret(this.world.secrets.signing));
    this.#opened = opened;
    this.#stack = stack;
  }

  /** One backup of each archive, under one KMS key and one break-glass recipient. */
  static async create(archives: readonly Buffer[]): Promise<StoredArchives> {
    await using stack = new AsyncDisposableStack();
    const kms = stack.use(await startKms());
    const wrapping = kms.createKey({ region: 'eu-central-1' });
    const world = stack.use(
      await World.create({
        destinations: { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } },
        kms: [{ keyArn: wrapping, endpoint: kms.url }],
      }),
    );
    for (const folder of FOLDERS) await mkdir(join(world.directory, folder));
    await world.write('token', 'of nobody');
    const node = stack.use(await startReplayedNode('openbao'));
    const configFile = await world.config([node.url], { auth: { method: 'token', token: 'file:token' } });
    const app = { configFile, env: worldEnv({ accessKeyId: '', secretAccessKey: '' }) };
    const all: StoredArchive[] = [];
    for (const archive of archives) {
      node.archive = archive;
      // They are of several clusters: none continues the one before it.
      const { manifest } = await backUp(app, { newLineage: true });
      all.push({ snapshot: manifest.snapshot as SnapshotId, archive, manifest });
    }
    const opened = stack.use(await openApp(app));
    return new StoredArchives({ world, kms, wrapping, node, app, all }, opened, stack.move());
  }

  get breakGlass(): Secret<string> {
    return new Secret(this.world.secrets.breakGlass);
  }

  /** Fresh copies of both directories, a spool of their own, and the keys of the config. */
  async sandbox(change: { identities?: readonly Secret<string>[] } = {}): Promise<Sandbox> {
    this.#sandboxes += 1;
    const directory = join(this.world.directory, `sandbox-${this.#sandboxes}`);
    for (const folder of FOLDERS) {
      await cp(join(this.world.directory, folder), join(directory, folder), { recursive: true });
    }
    const { kms, identities, onProgress } = await this.#opened.snapshotDeps(CLUSTER, never);
    const stores = FOLDERS.map((name) => new FileStore({ name, directory: join(directory, name) }));
    const said: string[] = [];
    const deps: SourceDeps = {
      cluster: CLUSTER,
      catalogue: new Catalogue({ cluster: CLUSTER, stores, trusted: [await this.signer.publicKeyPem(never)] }),
      stores,
      kms,
      identities: change.identities ?? identities,
      spool: { ...this.#opened.spool, directory: join(directory, 'spool') },
      log: createLog('warn', { write: (line) => said.push(line) }),
      onProgress,
    };
    return new Sandbox(directory, deps, said);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

export class Sandbox {
  readonly directory: string;
  readonly deps: SourceDeps;
  /** warnings of the log, one JSON document each, since the last {@link heal} */
  readonly said: string[];
  readonly #changed = new Map<string, Buffer>();

  constructor(directory: string, deps: SourceDeps, said: string[]) {
    this.directory = directory;
    this.deps = deps;
    this.said = said;
  }

  path(folder: Folder, kind: ObjectKind, id: SnapshotId): string {
    return join(this.directory, folder, objectKey(CLUSTER, kind, id));
  }

  /** What stands beside the data object as its metadata. */
  metaPath(folder: Folder, id: SnapshotId): string {
    return join(this.directory, folder, '.strongroom', 'meta', objectKey(CLUSTER, 'data', id));
  }

  /** Replaces the content of a file, or removes it (null), until {@link heal}. True when that changed a byte. */
  async change(path: string, change: (bytes: Buffer) => Uint8Array | null): Promise<boolean> {
    const bytes = await readFile(path);
    if (!this.#changed.has(path)) this.#changed.set(path, bytes);
    const changed = change(Buffer.from(bytes));
    if (changed === null) await rm(path);
    else await writeFile(path, changed);
    return changed === null || !bytes.equals(changed);
  }

  /** Everything as it was stored. */
  async heal(): Promise<void> {
    for (const [path, bytes] of this.#changed) await writeFile(path, bytes);
    this.#changed.clear();
    this.said.length = 0;
  }

  async open(name: string, change: Partial<SourceDeps> = {}): Promise<RestoreSource> {
    const needed = { into: this.deps.cluster, ...this.deps, ...change };
    const deps: SourceDeps = needed;
    return await openSource(deps as RestoreDeps, name, never);
  }

  /** The same with stores that tell which objects are read from them. */
  watched(reads: string[]): Partial<SourceDeps> {
    const stores = this.deps.stores.map((store) => watchReads(store, reads));
    return { stores };
  }

  /** Files left in the spool: none while nothing is open. */
  async spooled(): Promise<string[]> {
    return await filesIn(this.deps.spool.directory);
  }
}

function watchReads(store: Store, reads: string[]): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'get') {
        return (...args: Parameters<Store['get']>) => {
          reads.push(args[0]);
          return target.get(...args);
        };
      }
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
