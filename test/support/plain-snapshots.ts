/** Snapshots in directories, signed and complete by every rule of the format; only what they hold is nobody's vault. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ulid } from 'ulid';
import type { Destination } from '../../src/backup/options.ts';
import { Catalogue } from '../../src/catalogue/catalogue.ts';
import { type Manifest, serialiseManifest } from '../../src/catalogue/manifest.ts';
import type { ProofRecord, RunRecord } from '../../src/catalogue/record-types.ts';
import { Records } from '../../src/catalogue/records.ts';
import { type ClusterName, newRunId, parseClusterName, type SnapshotId } from '../../src/core/ids.ts';
import { generateSigningKey } from '../../src/crypt/generate.ts';
import { type Sidecar, serialiseSidecar } from '../../src/crypt/sidecar.ts';
import { localSigner, type Signer } from '../../src/crypt/sign.ts';
import { FileStore } from '../../src/store/file.ts';
import { type ObjectKind, objectKey } from '../../src/store/layout.ts';
import { bufferBody, compositeSha256 } from '../../src/store/parts.ts';

const never = new AbortController().signal;
const PART_BYTES = 1000;

export class PlainSnapshots implements AsyncDisposable {
  readonly root: string;
  readonly cluster: ClusterName = parseClusterName('prod');
  readonly signer: Signer = localSigner(generateSigningKey().privateKeyPem);
  readonly stores: readonly FileStore[];
  readonly destinations: readonly Destination[];

  private constructor(root: string, names: readonly string[]) {
    this.root = root;
    this.stores = names.map((name) => new FileStore({ name, directory: join(root, name) }));
    this.destinations = this.stores.map((store) => ({ store, lock: null }));
  }

  /** Empty directories; disposing removes them. */
  static async create(...names: string[]): Promise<PlainSnapshots> {
    const root = await mkdtemp(join(tmpdir(), 'strongroom-plain-'));
    for (const name of names) await mkdir(join(root, name));
    return new PlainSnapshots(root, names);
  }

  async catalogue(): Promise<Catalogue> {
    return new Catalogue({ cluster: this.cluster, stores: this.stores, trusted: await this.#trusted() });
  }

  async records(signer: Signer = this.signer): Promise<Records> {
    return new Records({ cluster: this.cluster, stores: this.stores, trusted: await this.#trusted(), signer });
  }

  path(name: string, kind: ObjectKind, snapshot: SnapshotId): string {
    return join(this.root, name, objectKey(this.cluster, kind, snapshot));
  }

  /** One snapshot of three parts, in every directory. */
  async publish(
    at: Date,
    change: (manifest: Manifest) => Manifest = (same) => same,
  ): Promise<Manifest & { snapshot: SnapshotId }> {
    const snapshot = ulid(at.getTime()) as SnapshotId;
    const body = bufferBody(randomBytes(2 * PART_BYTES + 500), PART_BYTES);
    const composite = compositeSha256(body.partSha256);
    const manifest = change({
      ...manifestOf(this.cluster, snapshot, at, this.signer),
      ciphertext: {
        format: 'age-v1',
        bytes: body.bytes,
        headerSha256: 'a'.repeat(64),
        partSize: body.partBytes,
        parts: body.partSha256.length,
        partSha256: body.partSha256.map((hash) => Buffer.from(hash).toString('base64')),
        sha256Composite: composite,
      },
      destinations: this.stores.map(({ name, location }) => ({
        name,
        location,
        status: 'stored',
        etag: composite,
        proof: 'checksum',
      })),
    });
    const bytes = serialiseManifest(manifest);
    const put = { signal: never, condition: 'absent', contentType: 'application/octet-stream' } as const;
    const signature = await this.signer.sign(bytes, never);
    for (const store of this.stores) {
      await store.put(objectKey(this.cluster, 'keys', snapshot), serialiseSidecar(this.sidecar(snapshot)), put);
      await store.put(objectKey(this.cluster, 'data', snapshot), body, put);
      await store.put(objectKey(this.cluster, 'sigs', snapshot), signature, put);
      await store.put(objectKey(this.cluster, 'manifests', snapshot), bytes, put);
    }
    return { ...manifest, snapshot };
  }

  sidecar(snapshot: SnapshotId, revision = 1): Sidecar {
    const context = { cluster: this.cluster, snapshot };
    return {
      v: 1,
      ...context,
      encryptionContext: context,
      wraps: [{ type: 'age', recipient: 'age1x', ciphertext: '-----BEGIN AGE ENCRYPTED FILE-----\n' }],
      missing: [],
      revision,
      createdAt: '2027-01-01T00:00:00.000Z',
    };
  }

  proof(snapshot: SnapshotId, destination: string, at: Date, change: Partial<ProofRecord> = {}): ProofRecord {
    const bad = change.verdict === 'bad';
    return {
      schema: '1',
      cluster: this.cluster,
      snapshot,
      destination,
      proof: newRunId(at),
      run: newRunId(at),
      provenAt: at.toISOString(),
      verdict: 'good',
      level: bad ? 'failed' : 'archive',
      openedWith: null,
      bytes: 2500,
      manifestSha256: 'a'.repeat(64),
      error: bad ? { code: 'E_STORE_CHECKSUM', message: 'part 1 of 3 differs' } : null,
      ...change,
    };
  }

  run(at: Date, change: Partial<RunRecord> = {}): RunRecord {
    return {
      schema: '1',
      cluster: this.cluster,
      run: newRunId(at),
      job: 'backup',
      door: 'schedule',
      dueAt: at.toISOString(),
      startedAt: at.toISOString(),
      endedAt: at.toISOString(),
      outcome: 'done',
      error: null,
      missing: [],
      snapshot: null,
      timings: { total: 1 },
      host: 'h',
      tool: '0',
      ...change,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  async #trusted(): Promise<string[]> {
    return [await this.signer.publicKeyPem(never)];
  }
}

function manifestOf(
  cluster: ClusterName,
  snapshot: SnapshotId,
  at: Date,
  { keyId }: Signer,
): Omit<Manifest, 'ciphertext' | 'destinations'> {
  return {
    schema: '1',
    cluster,
    snapshot,
    run: snapshot,
    purpose: 'backup',
    createdAt: at.toISOString(),
    finishedAt: at.toISOString(),
    tool: { name: 'strongroom', version: '0' },
    source: { node: 'https://n', clusterId: null, product: 'openbao', productVersion: null },
    archive: {
      bytes: 2000,
      members: [],
      compression: 'stored',
      product: 'openbao',
      productVersion: null,
      raft: { index: 1, term: 1, servers: [] },
      seal: { type: 'shamir', shares: 1, threshold: 1, recovery: null, keyIds: [], sealedSums: 'present' },
      state: {
        records: 10,
        bytes: 1,
        areas: [],
        mounts: [],
        leases: [],
        leaseCount: 0,
        staticRoles: 0,
        walEntries: 0,
        policies: 0,
        tokens: 0,
        namespaces: 0,
        auditDevices: 0,
        terms: [],
      },
      cautions: [],
    },
    keys: { recipient: 'age1', object: 'k', recipients: [], kms: [] },
    previous: null,
    warnings: [],
    signer: { keyId, alg: 'ECDSA_P256_SHA256' },
  };
}
