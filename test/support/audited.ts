/** Two directories with a chain of snapshots, runs, proofs and a hold, all of them right: what an audit finds was done to them. */
import { cp, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { HoldRecord, ProofRecord, RunRecord } from '../../src/catalogue/record-types.ts';
import { Records } from '../../src/catalogue/records.ts';
import { newRunId, newSnapshotId, type SnapshotId, snapshotTime } from '../../src/core/ids.ts';
import { Secret } from '../../src/core/secret.ts';
import { localSigner, type Signer } from '../../src/crypt/sign.ts';
import { type AuditResult, audit } from '../../src/snapshots/audit.ts';
import type { VerifyDeps } from '../../src/snapshots/verify.ts';
import { type ObjectKind, objectKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import { Shelf } from './shelf.ts';
import type { WorldDestination } from './world.ts';

const never = new AbortController().signal;
export const DAY_MS = 86_400_000;
export type Place = 'a' | 'b';
export const BOTH: readonly Place[] = ['a', 'b'];

export class Audited implements AsyncDisposable {
  readonly shelf: Shelf;
  readonly ids: [SnapshotId, SnapshotId, SnapshotId];
  readonly signer: Signer;
  readonly records: Records;
  readonly #deps: VerifyDeps;

  private constructor(shelf: Shelf, ids: Audited['ids'], signer: Signer, records: Records, deps: VerifyDeps) {
    this.shelf = shelf;
    this.ids = ids;
    this.signer = signer;
    this.records = records;
    this.#deps = deps;
  }

  /** Disposing removes it. `destinations` default to directories `a` and `b`. */
  static async create(
    destinations: Record<string, WorldDestination> = {
      a: { type: 'directory', path: 'a' },
      b: { type: 'directory', path: 'b' },
    },
    env: Record<string, string> = {},
    newestAgeMs = 1.5 * DAY_MS,
  ): Promise<Audited> {
    const shelf = await Shelf.open(destinations, env);
    const signer = localSigner(new Secret(shelf.world.secrets.signing));
    const stores = shelf.deps.destinations.map(({ store }) => store);
    const { cluster } = shelf.deps;
    const records = new Records({ cluster, stores, trusted: [await signer.publicKeyPem(never)], signer });
    const catalogue = await shelf.catalogue(stores);
    const ids: SnapshotId[] = [];
    for (const days of [2, 1, 0]) {
      const now = new Date(Date.now() - days * DAY_MS - newestAgeMs);
      const last = ids.at(-1);
      const previous = last === undefined ? null : await catalogue.read(last, never);
      const { snapshot } = await shelf.publish({ now, snapshot: newSnapshotId(now), previous });
      ids.push(snapshot);
      await records.writeRun(runOf(cluster, snapshot), never);
    }
    const [first, second, third] = ids;
    if (first === undefined || second === undefined || third === undefined) throw new Error('three were published');
    const { sha256 } = await catalogue.read(third, never);
    await records.writeProof(proofOf(cluster, third, { manifestSha256: sha256 }), never);
    await records.writeHold(holdOf(cluster, first), never);
    return new Audited(shelf, [first, second, third], signer, records, await shelf.snapshots());
  }

  get stores(): Store[] {
    return this.shelf.deps.destinations.map(({ store }) => store);
  }

  async keep(): Promise<void> {
    for (const place of BOTH) await cp(this.folder(place), `${this.folder(place)}.kept`, { recursive: true });
  }

  /** Both directories as they were at {@link keep}. */
  async restore(): Promise<void> {
    for (const place of BOTH) {
      await rm(this.folder(place), { recursive: true, force: true });
      await cp(`${this.folder(place)}.kept`, this.folder(place), { recursive: true, preserveTimestamps: true });
    }
  }

  folder(place: Place): string {
    return join(this.shelf.world.directory, place);
  }

  path(place: Place, kind: ObjectKind, id: SnapshotId): string {
    return join(this.folder(place), objectKey(this.shelf.deps.cluster, kind, id));
  }

  /** Path of a key, with the folders above it. */
  async at(place: Place, key: string): Promise<string> {
    const path = join(this.folder(place), key);
    await mkdir(dirname(path), { recursive: true });
    return path;
  }

  /** Removes the object, and what the directory keeps of it. */
  async remove(kind: ObjectKind, id: SnapshotId, places: readonly Place[] = BOTH): Promise<void> {
    for (const place of places) {
      await rm(this.path(place, kind, id));
      await this.forget(place, objectKey(this.shelf.deps.cluster, kind, id));
    }
  }

  /** As if the object had been copied there by hand. */
  async forget(place: Place, key: string): Promise<void> {
    await rm(join(this.folder(place), '.strongroom/meta', key), { force: true });
  }

  /** As a prune puts it on record, signed by `signer`. */
  async pruned(snapshot: SnapshotId, destination: string, signer: Signer = this.signer): Promise<void> {
    const { cluster } = this.shelf.deps;
    const trusted = [await this.signer.publicKeyPem(never)];
    const now = new Date();
    await new Records({ cluster, stores: this.stores, trusted, signer }).writePrune(
      {
        schema: '1',
        cluster,
        run: newRunId(now),
        destination,
        part: 1,
        at: now.toISOString(),
        removals: [{ snapshot, what: 'snapshot', bytes: 1, reasons: ['no rule keeps it'] }],
        host: 'h',
        tool: '0',
      },
      never,
    );
  }

  async audit({
    isDeep = false,
    stores = this.stores,
    now = new Date(),
  }: {
    isDeep?: boolean;
    stores?: readonly Store[];
    now?: Date;
  } = {}): Promise<AuditResult> {
    const trusted = [await this.signer.publicKeyPem(never)];
    const { cluster } = this.shelf.deps;
    const records = new Records({ cluster, stores, trusted, signer: null });
    const catalogue = await this.shelf.catalogue(stores);
    const clock = { now: () => now };
    return await audit({ ...this.#deps, catalogue, stores, records, clock }, { isDeep }, never);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shelf[Symbol.asyncDispose]();
  }
}

/** `kind destination snapshot`, for comparing. */
export function findingsOf({ findings }: AuditResult): string[] {
  return findings
    .map(({ kind, destination, snapshot }) => [kind, destination, snapshot].filter((part) => part !== null).join(' '))
    .sort();
}

export function runOf(cluster: string, snapshot: SnapshotId, change: Partial<RunRecord> = {}): RunRecord {
  const at = snapshotTime(snapshot);
  return {
    schema: '1',
    cluster,
    run: newRunId(at),
    job: 'backup',
    door: 'schedule',
    dueAt: at.toISOString(),
    startedAt: at.toISOString(),
    endedAt: at.toISOString(),
    outcome: 'done',
    error: null,
    missing: [],
    snapshot,
    timings: { total: 1 },
    host: 'h',
    tool: '0',
    ...change,
  };
}

export function proofOf(cluster: string, snapshot: SnapshotId, change: Partial<ProofRecord> = {}): ProofRecord {
  const at = new Date();
  return {
    schema: '1',
    cluster,
    snapshot,
    destination: 'a',
    proof: newRunId(at),
    run: newRunId(at),
    provenAt: at.toISOString(),
    verdict: 'good',
    level: 'archive',
    openedWith: 'kms',
    bytes: 1,
    manifestSha256: 'a'.repeat(64),
    error: null,
    ...change,
  };
}

export function holdOf(cluster: string, snapshot: SnapshotId, change: Partial<HoldRecord> = {}): HoldRecord {
  const at = new Date();
  return {
    schema: '1',
    cluster,
    snapshot,
    id: newRunId(at),
    act: 'hold',
    at: at.toISOString(),
    who: 'ana',
    why: 'audit of the year',
    until: null,
    ...change,
  };
}
