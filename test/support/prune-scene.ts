/** A shelf of snapshots of past days, a policy, and prunes of it at a time that the test says. */
import type { Manifest } from '../../src/catalogue/manifest.ts';
import type { HoldRecord, ProofRecord, RunRecord } from '../../src/catalogue/record-types.ts';
import type { Records } from '../../src/catalogue/records.ts';
import { Records as RecordsOf } from '../../src/catalogue/records.ts';
import { newRunId, type SnapshotId } from '../../src/core/ids.ts';
import { type PruneDeps, type PruneResult, prune } from '../../src/retention/prune.ts';
import { type PrunePlan, planPrune } from '../../src/retention/prune-plan.ts';
import type { Store } from '../../src/store/store.ts';
import { Shelf } from './shelf.ts';
import { openApp } from './strongroom-app.ts';
import type { WorldDestination } from './world.ts';

const never = new AbortController().signal;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

export type Published = Manifest & { snapshot: SnapshotId };

export class PruneScene implements AsyncDisposable {
  readonly shelf: Shelf;
  /** the present, as the prune has it; may be set */
  now = new Date();
  readonly #deps: PruneDeps;
  readonly #stack: AsyncDisposableStack;

  private constructor(shelf: Shelf, deps: PruneDeps, stack: AsyncDisposableStack) {
    this.shelf = shelf;
    this.#deps = deps;
    this.#stack = stack;
  }

  /** `retention` is the block of the cluster. */
  static async open(
    destinations: Record<string, WorldDestination>,
    retention: Record<string, unknown>,
    env: Record<string, string> = {},
  ): Promise<PruneScene> {
    await using stack = new AsyncDisposableStack();
    const shelf = stack.use(await Shelf.open(destinations, env, { retention }));
    const app = stack.use(await openApp(shelf.app));
    return new PruneScene(shelf, await app.pruneDeps(shelf.world.name, never), stack.move());
  }

  get records(): Records {
    return this.#deps.records;
  }

  get stores(): readonly Store[] {
    return this.#deps.destinations.map(({ store }) => store);
  }

  /** What a prune is given; `wrap` puts something in the place of a store. */
  async deps(wrap: (store: Store) => Store = (store) => store): Promise<PruneDeps> {
    const destinations = this.#deps.destinations.map((one) => ({ ...one, store: wrap(one.store) }));
    const stores = destinations.map(({ store }) => store);
    const trusted = [await this.shelf.deps.signer.publicKeyPem(never)];
    const { cluster } = this.#deps;
    return {
      ...this.#deps,
      destinations,
      catalogue: await this.shelf.catalogue(stores),
      records: new RecordsOf({ cluster, stores, trusted, signer: this.shelf.deps.signer }),
      clock: { now: () => this.now },
    };
  }

  /** One snapshot of so many days ago in every destination, or in those named. */
  async publish(daysAgo: number, only?: readonly string[]): Promise<Published> {
    const destinations = this.shelf.deps.destinations.filter(({ store }) => only?.includes(store.name) ?? true);
    return await this.shelf.publish({ now: new Date(this.now.getTime() - daysAgo * DAY_MS), destinations });
  }

  async plan(wrap?: (store: Store) => Store): Promise<PrunePlan> {
    return await planPrune(await this.deps(wrap), never);
  }

  async prune(wrap?: (store: Store) => Store, only?: string): Promise<PruneResult> {
    const options = { run: newRunId(new Date()), ...(only === undefined ? {} : { only }) };
    return await prune(await this.deps(wrap), options, never);
  }

  /** `<id> <action>: <reasons>` of each snapshot in `destination`, oldest first, ids as given by `names`. */
  static lines(plan: PrunePlan, destination: string, names: Readonly<Record<string, string>>): string[] {
    const one = plan.destinations.find((found) => found.destination === destination);
    return (one?.snapshots ?? [])
      .toReversed()
      .map(({ snapshot, action, reasons }) => `${names[snapshot] ?? snapshot} ${action}: ${reasons.join('; ')}`);
  }

  async run(change: Partial<RunRecord> & { startedAt: string }): Promise<RunRecord> {
    const record: RunRecord = {
      schema: '1',
      cluster: this.records.cluster,
      run: newRunId(new Date(change.startedAt)),
      job: 'backup',
      door: 'schedule',
      dueAt: null,
      endedAt: change.startedAt,
      outcome: 'done',
      error: null,
      missing: [],
      snapshot: null,
      timings: {},
      host: 'h',
      tool: '0',
      ...change,
    };
    await this.records.writeRun(record, never);
    return record;
  }

  async prove(snapshot: SnapshotId, destination: string, verdict: 'good' | 'bad', at: Date): Promise<ProofRecord> {
    const id = newRunId(at);
    const record: ProofRecord = {
      schema: '1',
      cluster: this.records.cluster,
      snapshot,
      destination,
      proof: id,
      run: id,
      provenAt: at.toISOString(),
      verdict,
      level: verdict === 'good' ? 'archive' : 'failed',
      openedWith: null,
      bytes: 1,
      manifestSha256: 'a'.repeat(64),
      error: verdict === 'good' ? null : { code: 'E_STORE_CHECKSUM', message: 'other bytes' },
    };
    await this.records.writeProof(record, never);
    return record;
  }

  async hold(snapshot: SnapshotId, act: 'hold' | 'release', at: Date, until: Date | null = null): Promise<HoldRecord> {
    const record: HoldRecord = {
      schema: '1',
      cluster: this.records.cluster,
      snapshot,
      id: newRunId(at),
      act,
      at: at.toISOString(),
      who: 'ana',
      why: 'audit',
      until: until?.toISOString() ?? null,
    };
    await this.records.writeHold(record, never);
    return record;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
