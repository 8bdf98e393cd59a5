/**
 * Looks at every object of a cluster in every destination, and says of each that is not right what it is. Changes nothing.
 * What is signed is the measure: manifests for their snapshots, each for the one before it, records for what happened.
 */
import type { Records } from '../catalogue/records.ts';
import { eachBounded } from '../core/bounded.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import type { Clock } from '../core/units.ts';
import type { Store, StoredObject } from '../store/store.ts';
import { Chain } from './audit-chain.ts';
import { collectFindings, type Finding, type Report } from './audit-findings.ts';
import { auditHolds } from './audit-holds.ts';
import { auditPointer, auditStrangers, auditUploads } from './audit-others.ts';
import { auditRecords, compareHolds } from './audit-records.ts';
import { AuditRemovals } from './audit-removals.ts';
import { auditSnapshot, type IsRemoved } from './audit-snapshot.ts';
import { walkSnapshots } from './audit-walk.ts';
import { type VerifyDeps, verifySnapshot } from './verify.ts';

export type AuditDeps = VerifyDeps & {
  records: Records;
  clock: Clock;
};

export type AuditResult = {
  cluster: string;
  isDeep: boolean;
  /** objects and bytes that were seen; `isComplete` = nothing of it was left unseen */
  destinations: { name: string; location: string; objects: number; bytes: number; isComplete: boolean }[];
  /** snapshots with a manifest */
  snapshots: number;
  findings: Finding[];
  /** how many of them are wrong; the others are notices */
  wrong: number;
};

/** Snapshots whose objects are looked at together. */
const SNAPSHOTS_AT_ONCE = 8;
/** After so many objects that could not be read nothing more is learnt by waiting for the next. */
const MAX_UNREAD = 20;

/**
 * With `isDeep` the data of every copy is read, too, one after the other. A destination that does not answer is a finding; rejects
 * when none can be listed, and with the abort reason. Memory: a page of each listing, and a few words for each snapshot.
 */
export async function audit(
  deps: AuditDeps,
  { isDeep }: { isDeep: boolean },
  signal: AbortSignal,
): Promise<AuditResult> {
  const { catalogue, records } = deps;
  const { cluster } = catalogue;
  const now = deps.clock.now();
  const { findings, report } = collectFindings();
  const tally = new Tally(deps.stores, report);
  const removals = new AuditRemovals(records);
  const isRemoved: IsRemoved = (snapshot, destination, abort) => removals.isRemovedFrom(snapshot, destination, abort);
  const chain = new Chain();
  const onObject = (store: Store, object: StoredObject): void => tally.count(store, object);
  const walk = {
    cluster,
    stores: deps.stores,
    onObject,
    onForeign: (store: Store, { key }: StoredObject) =>
      report('foreign', 'it is no name of the layout', { destination: store.name, key }),
    onFailure: (store: Store, e: StrongroomError) => tally.fail(store, 'it could not be listed', e),
  };
  await eachBounded(
    walkSnapshots(walk, signal),
    SNAPSHOTS_AT_ONCE,
    async (sighting) => {
      const { snapshot } = sighting;
      for (const [{ name }, { manifests }] of sighting.stores)
        if (manifests !== undefined) removals.saw(name, snapshot);
      const on = { catalogue, records, stores: tally.alive, isRemoved, now, report };
      await tally.guard({ snapshot }, signal, async () => {
        const { isThere, truth } = await auditSnapshot(on, sighting, signal);
        if (isThere) chain.add(snapshot, truth?.sha256 ?? null);
        const previous = truth?.manifest.previous ?? null;
        if (previous !== null) chain.link(snapshot, previous.snapshot as SnapshotId, previous.manifestSha256);
      });
      if (chain.size % 100 === 0) deps.onProgress({ stage: 'audit', message: `${chain.size} snapshots` });
    },
    signal,
  );
  tally.rejectWhenAllFailed();

  const holds = new Map<Store, Set<string>>();
  const others = { cluster, now, report, onObject };
  await Promise.all(
    tally.alive.map(async (store) => {
      const step = (what: (store: Store) => Promise<void>): Promise<void> =>
        tally.guard({ destination: store.name }, signal, () => what(store));
      await step(async () => void holds.set(store, await auditRecords({ ...others, records, chain }, store, signal)));
      await step(() => auditStrangers(others, store, signal));
      await step(() => auditPointer(others, store, signal));
      await step(() => auditUploads(others, store, signal));
    }),
  );
  compareHolds(cluster, holds, report);
  const alive = { catalogue, records: records.only(...tally.alive.map(({ name }) => name)), stores: tally.alive };
  await tally.guard({}, signal, () => auditHolds({ ...alive, now, report }, signal));
  // Where a destination could not be listed, it may have what the others lack.
  const names = deps.stores.map(({ name }) => name);
  if (tally.isComplete) await chain.judge((snapshot) => removals.isRemovedFromAll(snapshot, names, signal), report);
  const read = isDeep ? await readData(deps, chain.accepted, tally, report, signal) : new Set<string>();
  const kept = findings.filter(({ kind, snapshot, destination }) => {
    return kind !== 'data-rewritten' || !read.has(`${snapshot} ${destination}`);
  });
  return {
    cluster,
    isDeep,
    destinations: tally.destinations,
    snapshots: chain.size,
    findings: kept,
    wrong: kept.filter(({ severity }) => severity === 'wrong').length,
  };
}

/** Reads every copy. Resolves to `<snapshot> <destination>` of those whose bytes are the signed ones. */
async function readData(
  deps: AuditDeps,
  snapshots: readonly SnapshotId[],
  tally: Tally,
  report: Report,
  signal: AbortSignal,
): Promise<Set<string>> {
  const good = new Set<string>();
  for (const snapshot of snapshots) {
    await tally.guard({ snapshot }, signal, async () => {
      const { manifest } = await deps.catalogue.read(snapshot, signal);
      const { copies } = await verifySnapshot({ ...deps, stores: tally.alive }, manifest, signal);
      for (const { destination, level, error, lacks } of copies) {
        if (level !== 'failed') good.add(`${snapshot} ${destination}`);
        // What is not there was found before, and a destination that the config does not have is none of ours.
        else if (error !== null && !lacks.includes('data') && tally.isAlive(destination)) {
          report('data-bad', error.message, { destination, snapshot });
        }
      }
    });
  }
  return good;
}

type About = { destination?: string; snapshot?: SnapshotId };

/** What was seen of each store, and what could not be. */
class Tally {
  readonly #report: Report;
  readonly #seen: Map<Store, { objects: number; bytes: number; error: StrongroomError | null }>;
  #unread = 0;

  constructor(stores: readonly Store[], report: Report) {
    this.#report = report;
    this.#seen = new Map(stores.map((store) => [store, { objects: 0, bytes: 0, error: null }]));
  }

  /** Those that could be listed so far. */
  get alive(): Store[] {
    return [...this.#seen].flatMap(([store, { error }]) => (error === null ? [store] : []));
  }

  get isComplete(): boolean {
    return this.#unread === 0;
  }

  get destinations(): AuditResult['destinations'] {
    return [...this.#seen].map(([{ name, location }, { objects, bytes, error }]) => {
      return { name, location, objects, bytes, isComplete: error === null };
    });
  }

  isAlive(name: string): boolean {
    return this.alive.some((store) => store.name === name);
  }

  count(store: Store, { bytes }: StoredObject): void {
    const seen = this.#seen.get(store);
    if (seen === undefined) return;
    seen.objects += 1;
    seen.bytes += bytes;
  }

  fail(store: Store, what: string, e: StrongroomError): void {
    const seen = this.#seen.get(store);
    if (seen !== undefined) seen.error = e;
    this.#unread += 1;
    this.#report('unread', `${what}: ${e.message}`, { destination: store.name });
  }

  /** Runs `fn`; what a store refuses to tell is a finding, until there are too many of them. */
  async guard(about: About, signal: AbortSignal, fn: () => Promise<void>): Promise<void> {
    try {
      await fn();
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      this.#unread += 1;
      if (this.#unread > MAX_UNREAD) throw e;
      this.#report('unread', e.message, about);
    }
  }

  rejectWhenAllFailed(): void {
    const failures = [...this.#seen.values()].flatMap(({ error }) => (error === null ? [] : [error]));
    if (failures.length === this.#seen.size && failures[0] !== undefined) throw failures[0];
  }
}
