/** Two destinations with a snapshot in each, ways to harm one of them, and what a replication then has to do. */
import { expect } from 'vitest';
import type { Destination } from '../../src/backup/options.ts';
import type { Manifest } from '../../src/catalogue/manifest.ts';
import { Records } from '../../src/catalogue/records.ts';
import { newRunId, type SnapshotId } from '../../src/core/ids.ts';
import { type ReplicateOptions, type ReplicateResult, replicate } from '../../src/snapshots/replicate.ts';
import { verifySnapshot } from '../../src/snapshots/verify.ts';
import { type VerifyCopiesResult, verifyCopies } from '../../src/snapshots/verify-copies.ts';
import { leaseTaker } from './leases.ts';
import type { Shelf } from './shelf.ts';

const never = new AbortController().signal;
/** Old enough not to be in the middle of its backup. */
const LATER_MS = 2 * 3_600_000;
const DAY_MS = 86_400_000;

export type Snapshot = Manifest & { snapshot: SnapshotId };

export class ReplicateTrial {
  readonly shelf: Shelf;
  readonly destinations: readonly Destination[];
  #days = 0;
  readonly clock = { now: (): Date => new Date(Date.now() + LATER_MS) };

  constructor(shelf: Shelf, destinations: readonly Destination[] = shelf.deps.destinations) {
    this.shelf = shelf;
    this.destinations = destinations;
  }

  async records(): Promise<Records> {
    const { cluster, signer } = this.shelf.deps;
    const stores = this.destinations.map(({ store }) => store);
    return new Records({ cluster, stores, trusted: [await signer.publicKeyPem(never)], signer });
  }

  get takeLease(): ReturnType<typeof leaseTaker> {
    const stores = this.destinations.map(({ store }) => store);
    return leaseTaker(this.shelf.deps.cluster, stores);
  }

  /** One pass, as the job makes it two hours later. */
  async run(options: Partial<ReplicateOptions> = {}, signal = never): Promise<ReplicateResult> {
    const { clock, destinations } = this;
    const catalogue = await this.shelf.catalogue(destinations.map(({ store }) => store));
    const more = { records: await this.records(), clock, policies: new Map(), takeLease: this.takeLease };
    const deps = { ...this.shelf.deps, catalogue, destinations, ...more };
    return await replicate(deps, { run: newRunId(clock.now()), prove: 'checksum', ...options }, signal);
  }

  /** Reads one copy again, that in most need: of the newest snapshot, in the first destination; records what it showed. */
  async readNewest(): Promise<VerifyCopiesResult> {
    const stores = this.destinations.map(({ store }) => store);
    // Each on another day, with a budget of its own.
    this.#days += 2;
    const now = new Date(Date.now() + this.#days * DAY_MS);
    const deps = { ...(await this.shelf.snapshots(stores)), records: await this.records(), log: this.shelf.deps.log };
    const { takeLease } = this;
    return await verifyCopies(
      { ...deps, takeLease, clock: { now: () => now } },
      { run: newRunId(now), budgetBytes: 1 },
      never,
    );
  }

  /** Every copy can be decrypted to its last record, and nothing is wrong with it by any other measure. */
  async expectWhole(manifest: Manifest, names = this.destinations.map(({ store }) => store.name)): Promise<void> {
    const stores = this.destinations.map(({ store }) => store);
    const { copies } = await verifySnapshot(await this.shelf.snapshots(stores), manifest, never);
    expect(copies.map(({ destination, level, error }) => ({ destination, level, error: error?.message }))).toEqual(
      names.map((destination) => ({ destination, level: 'archive', error: undefined })),
    );
  }
}
