/** Two real directories with backups, runs and proofs in them, signed, of any time; and every way to spoil them. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Catalogue } from '../../../src/catalogue/catalogue.ts';
import { type Manifest, serialiseManifest } from '../../../src/catalogue/manifest.ts';
import type { Member } from '../../../src/catalogue/members.ts';
import type { ProofRecord, RunRecord } from '../../../src/catalogue/record-types.ts';
import { Records } from '../../../src/catalogue/records.ts';
import { type ClusterName, newRunId, newSnapshotId, parseClusterName, type SnapshotId } from '../../../src/core/ids.ts';
import type { Secret } from '../../../src/core/secret.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner, type Signer } from '../../../src/crypt/sign.ts';
import type { ClusterStatus, StatusDeps } from '../../../src/observe/cluster-status.ts';
import { readStatus } from '../../../src/observe/status.ts';
import { FileStore } from '../../../src/store/file.ts';
import { latestKey, objectKey } from '../../../src/store/layout.ts';
import type { Store } from '../../../src/store/store.ts';

const never = new AbortController().signal;
export const DESTINATIONS = ['a', 'b'] as const;
const DATA = Buffer.from('not the data that matters here');
const PUT = { signal: never, condition: 'absent', contentType: 'application/json' } as const;

export const HOUR = 3_600_000;
/** So many hours into a day; negative = the day before. */
export const at = (hour: number): Date => new Date(Date.UTC(2027, 2, 10) + hour * HOUR);

export type BackupChange = {
  /** destinations that hold it; default: all */
  in?: readonly string[];
  purpose?: Manifest['purpose'];
  signer?: Signer;
  finishedAt?: Date;
  /** keeps the data until then */
  lock?: Date;
  /** move the latest pointers; default true */
  moves?: boolean;
  /** raft members that the archive names; default: none */
  members?: readonly Member[];
  /** put over the manifest, before it is signed */
  manifest?: Partial<Manifest>;
};

export class Scene implements AsyncDisposable {
  readonly root: string;
  readonly cluster: ClusterName;
  readonly stores: readonly Store[];
  readonly signer: Signer;
  readonly privateKey: Secret<string>;
  readonly deps: StatusDeps;
  readonly records: Records;
  readonly trusted: readonly string[];

  private constructor(
    root: string,
    cluster: ClusterName,
    key: Secret<string>,
    publicKey: string,
    stores: readonly Store[] | undefined,
  ) {
    this.root = root;
    this.cluster = cluster;
    this.privateKey = key;
    this.signer = localSigner(key);
    this.stores = stores ?? DESTINATIONS.map((name) => new FileStore({ name, directory: join(root, name) }));
    const parts = { cluster, stores: this.stores, trusted: [publicKey] };
    this.trusted = parts.trusted;
    this.records = new Records({ ...parts, signer: this.signer });
    this.deps = { catalogue: new Catalogue(parts), records: this.records, stores: this.stores, locked: [] };
  }

  /** `stores` in the place of the directories `a` and `b`; they stay the caller's. */
  static async create(stores?: readonly Store[]): Promise<Scene> {
    const root = await mkdtemp(join(tmpdir(), 'strongroom-observe-'));
    for (const folder of DESTINATIONS) await mkdir(join(root, folder));
    const key = generateSigningKey().privateKeyPem;
    const publicKey = await localSigner(key).publicKeyPem(never);
    return new Scene(root, parseClusterName('prod'), key, publicKey, stores);
  }

  /** Another cluster in the same stores, under the same key. It goes with this one. */
  beside(name: string): Scene {
    return new Scene(this.root, parseClusterName(name), this.privateKey, this.trusted[0] ?? '', this.stores);
  }

  status(now: Date): Promise<ClusterStatus> {
    return readStatus(this.deps, now, never);
  }

  /** One backup that began at `time`, as a run publishes it. */
  async backup(time: Date, change: BackupChange = {}): Promise<SnapshotId> {
    const snapshot = newSnapshotId(time);
    const holders = change.in ?? this.stores.map(({ name }) => name);
    const bytes = serialiseManifest(this.#manifest(snapshot, time, holders, change));
    const signature = await (change.signer ?? this.signer).sign(bytes, never);
    for (const store of this.stores.filter(({ name }) => holders.includes(name))) {
      await store.put(objectKey(this.cluster, 'keys', snapshot), Buffer.from('{}'), PUT);
      const lock = change.lock === undefined ? {} : { lock: { mode: 'governance', until: change.lock } as const };
      await store.put(objectKey(this.cluster, 'data', snapshot), DATA, { ...PUT, ...lock });
      await store.put(objectKey(this.cluster, 'sigs', snapshot), signature, PUT);
      await store.put(objectKey(this.cluster, 'manifests', snapshot), bytes, PUT);
      const head = await store.head(latestKey(this.cluster), { signal: never });
      const pointer = { snapshot, manifest: objectKey(this.cluster, 'manifests', snapshot) };
      const condition = head === null ? 'absent' : { etag: head.etag };
      await store.put(latestKey(this.cluster), Buffer.from(JSON.stringify(pointer, null, 2)), { ...PUT, condition });
    }
    return snapshot;
  }

  /** As a prune puts it on record. */
  async pruned(snapshot: SnapshotId, name: string, time: Date, signer: Signer = this.signer): Promise<void> {
    const { cluster, stores, trusted } = this;
    const removals = [{ snapshot, what: 'snapshot' as const, bytes: 1, reasons: ['no rule keeps it'] }];
    const what = { schema: '1', cluster, run: newRunId(time), destination: name, part: 1 } as const;
    const records = new Records({ cluster, stores, trusted, signer });
    await records.writePrune({ ...what, at: time.toISOString(), removals, host: 'h', tool: '0' }, never);
  }

  async run(time: Date, change: Partial<RunRecord> = {}, signer: Signer = this.signer): Promise<RunRecord> {
    const record: RunRecord = {
      schema: '1',
      cluster: this.cluster,
      run: newRunId(time),
      job: 'backup',
      door: 'schedule',
      dueAt: time.toISOString(),
      startedAt: time.toISOString(),
      endedAt: new Date(time.getTime() + 60_000).toISOString(),
      outcome: 'done',
      error: null,
      missing: [],
      snapshot: null,
      timings: { total: 60_000, take: 20_000 },
      host: 'h',
      tool: '0',
      ...change,
    };
    await this.#recordsBy(signer).writeRun(record, never);
    return record;
  }

  async proof(
    time: Date,
    snapshot: SnapshotId,
    destination: string,
    said: 'good' | 'bad' | Partial<ProofRecord> = 'good',
    signer: Signer = this.signer,
  ): Promise<ProofRecord> {
    const change = typeof said === 'string' ? { verdict: said } : said;
    const { verdict = 'good' } = change;
    const record: ProofRecord = {
      schema: '1',
      cluster: this.cluster,
      snapshot,
      destination,
      proof: newRunId(time),
      run: newRunId(time),
      provenAt: time.toISOString(),
      verdict,
      level: verdict === 'good' ? 'archive' : 'failed',
      openedWith: null,
      bytes: DATA.byteLength,
      manifestSha256: 'a'.repeat(64),
      error: null,
      ...change,
    };
    await this.#recordsBy(signer).writeProof(record, never);
    return record;
  }

  /** A destination that answers nothing but errors, until it is brought back. */
  async takeAway(name: string): Promise<void> {
    await rename(join(this.root, name), join(this.root, `${name}.away`));
    await writeFile(join(this.root, name), 'not a folder');
  }

  async bringBack(name: string): Promise<void> {
    await rm(join(this.root, name));
    await rename(join(this.root, `${name}.away`), join(this.root, name));
  }

  path(destination: string, key: string): string {
    return join(this.root, destination, key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  #recordsBy(signer: Signer): Records {
    return new Records({ cluster: this.cluster, stores: this.stores, trusted: [], signer });
  }

  #manifest(snapshot: SnapshotId, time: Date, holders: readonly string[], change: BackupChange): Manifest {
    const hash = createHash('sha256').update(DATA).digest();
    const empty = { areas: [], mounts: [], leases: [], terms: [] };
    const zero = {
      leaseCount: 0,
      staticRoles: 0,
      walEntries: 0,
      policies: 0,
      tokens: 0,
      namespaces: 0,
      auditDevices: 0,
    };
    return {
      schema: '1',
      cluster: this.cluster,
      snapshot,
      run: snapshot,
      purpose: change.purpose ?? 'backup',
      createdAt: time.toISOString(),
      finishedAt: (change.finishedAt ?? new Date(time.getTime() + 60_000)).toISOString(),
      tool: { name: 'strongroom', version: '0' },
      source: { node: 'https://n', clusterId: null, product: 'openbao', productVersion: null },
      archive: {
        bytes: 4_096,
        members: [],
        compression: 'stored',
        product: 'openbao',
        productVersion: null,
        raft: { index: 1, term: 1, servers: (change.members ?? []).map((one) => ({ ...one, suffrage: 'voter' })) },
        seal: { type: 'shamir', shares: 1, threshold: 1, recovery: null, keyIds: [], sealedSums: 'present' },
        state: { records: 17, bytes: 1, ...empty, ...zero },
        cautions: [],
      },
      ciphertext: {
        format: 'age-v1',
        bytes: DATA.byteLength,
        headerSha256: 'a'.repeat(64),
        partSize: DATA.byteLength,
        parts: 1,
        partSha256: [hash.toString('base64')],
        sha256Composite: 'x-1',
      },
      keys: { recipient: 'age1', object: 'k', recipients: [], kms: [] },
      destinations: this.stores.map(({ name }) =>
        holders.includes(name)
          ? { name, location: name, status: 'stored', etag: '', proof: 'checksum' }
          : { name, location: name, status: 'missing', code: 'E_STORE_UNREACHABLE', message: 'away' },
      ),
      previous: null,
      warnings: [],
      signer: { keyId: this.signer.keyId, alg: 'ECDSA_P256_SHA256' },
      ...change.manifest,
    };
  }
}
