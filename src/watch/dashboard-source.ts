/** What the dashboard shows, read from the destinations by the config of the moment: an app for each page. */
import { App } from '../app.ts';
import { isHolding } from '../catalogue/holds.ts';
import { clusterConfig } from '../config/cluster-config.ts';
import type { Config } from '../config/load.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import type {
  DashboardSource,
  Held,
  HoldRequest,
  PlannedJob,
  ReleaseRequest,
  RetentionPreview,
  Runs,
  SnapshotDetail,
  SnapshotRow,
  Timeline,
} from '../http/source.ts';
import type { StatusDeps } from '../observe/cluster-status.ts';
import type { WatchedStatus } from '../observe/watch.ts';
import { scheduledJobs } from '../queue/plan.ts';
import { JOB_NAMES } from '../run/job.ts';
import { nextStart } from '../schedule/schedule.ts';
import { proofTime } from '../snapshots/choose-copies.ts';
import { type HoldDeps, type HoldResult, holdSnapshot, releaseSnapshot } from '../snapshots/hold.ts';
import { previewRetention } from './retention-preview.ts';
import { believed, mapFew, newestHolds, SnapshotMemory } from './snapshot-facts.ts';

export type DashboardSourceOptions = {
  config(): Config;
  fleet(): readonly WatchedStatus[];
  clock: Clock;
  log: Log;
};

/** Snapshots of a timeline, and runs of a cluster: each of them costs a read the first time. */
const SNAPSHOTS_SHOWN = 40;
const RUNS_SHOWN = 20;
/** Nobody waits longer for a page. */
const PATIENCE_MS = 30_000;
const RUNS_OF_MS = 40 * 86_400_000;

export class ClusterPages implements DashboardSource {
  readonly #options: DashboardSourceOptions;
  readonly #memories = new Map<string, SnapshotMemory>();

  constructor(options: DashboardSourceOptions) {
    this.#options = options;
  }

  fleet(): readonly WatchedStatus[] {
    return this.#options.fleet();
  }

  zoneOf(cluster: string): string {
    return this.#options.config().clusters[cluster]?.schedule?.timeZone ?? 'UTC';
  }

  planned(cluster: string, now: Date): readonly PlannedJob[] {
    const scheduled = scheduledJobs(this.#options.config().clusters, JOB_NAMES).filter(
      (job) => job.cluster === cluster,
    );
    const planned = scheduled.map(({ job, schedule }) => ({ job, cron: schedule.cron, ...nextStart(schedule, now) }));
    return planned.toSorted((a, b) => a.start.getTime() - b.start.getTime());
  }

  async timeline(cluster: string, asked: AbortSignal): Promise<Timeline> {
    return await this.#read(cluster, asked, async (deps, memory, signal) => {
      const { catalogue, records } = deps;
      const [list, proofs, holds] = await Promise.all([
        catalogue.list(signal),
        records.proofs(signal),
        records.holds(signal),
      ]);
      const shown = list.entries.slice(-SNAPSHOTS_SHOWN).toReversed();
      const ids = new Set(shown.map(({ snapshot }) => snapshot));
      const held = await newestHolds(records, holds.names, ids, signal);
      const newestProofs = proofs.names
        .filter(({ snapshot }) => ids.has(snapshot))
        .toSorted((a, b) => (a.proof < b.proof ? 1 : -1));
      const known = memory.records.over(records);
      const now = this.#options.clock.now();
      const rows = await mapFew(shown, async ({ snapshot, destinations }): Promise<SnapshotRow> => {
        const found = await memory.facts(catalogue, '', snapshot, signal);
        const seen: Record<string, { at: Date; verdict: 'good' | 'bad' }> = {};
        for (const name of newestProofs) {
          if (name.snapshot !== snapshot || Object.hasOwn(seen, name.destination)) continue;
          if ((await known.proof(name, signal)) === null) continue;
          seen[name.destination] = { at: proofTime(name.proof), verdict: name.verdict };
        }
        const hold = held.get(snapshot);
        const isHeld = hold !== undefined && isHolding(hold, now);
        const refused = isError(found) ? found : null;
        const facts = isError(found) ? null : found;
        return { snapshot, at: snapshotTime(snapshot), destinations, facts, refused, proofs: seen, isHeld };
      });
      const failures = [...list.failures, ...proofs.failures, ...holds.failures];
      return { rows, older: list.entries.length - shown.length, failures };
    });
  }

  async snapshot(cluster: string, snapshot: SnapshotId, asked: AbortSignal): Promise<SnapshotDetail> {
    return await this.#read(cluster, asked, async ({ catalogue, records }, memory, signal) => {
      const found = await catalogue.read(snapshot, signal);
      const [proofs, holds] = await Promise.all([records.proofs(signal), records.holds(signal)]);
      const known = memory.records.over(records);
      const own = proofs.names
        .filter((name) => name.snapshot === snapshot)
        .toSorted((a, b) => (a.proof < b.proof ? 1 : -1));
      const readings = await mapFew(own.slice(0, SNAPSHOTS_SHOWN), (name) => known.proof(name, signal));
      const heldNames = holds.names
        .filter((name) => name.snapshot === snapshot)
        .toSorted((a, b) => (a.id < b.id ? 1 : -1));
      const held = await mapFew(heldNames, (name) => believed(() => records.readHold(name, signal), signal));
      const believedHolds = held.filter((record) => record !== null);
      const [newest] = believedHolds;
      const believable = readings.filter((proof) => proof !== null);
      return {
        found,
        proofs: believable,
        refusedProofs: readings.length - believable.length,
        holds: believedHolds,
        isHeld: newest !== undefined && isHolding(newest, this.#options.clock.now()),
        failures: [...proofs.failures, ...holds.failures],
      };
    });
  }

  async runs(cluster: string, asked: AbortSignal): Promise<Runs> {
    return await this.#read(cluster, asked, async ({ records }, memory, signal) => {
      const since = new Date(this.#options.clock.now().getTime() - RUNS_OF_MS);
      const { names, failures } = await records.runs(since, signal);
      const known = memory.records.over(records);
      const read = await mapFew(names.slice(-RUNS_SHOWN).toReversed(), (name) => known.run(name, signal));
      const rows = read.flatMap((record) => (record === null ? [] : [{ cluster, record }]));
      return { rows, refused: read.length - rows.length, failures };
    });
  }

  async retention(cluster: string, asked: AbortSignal): Promise<readonly RetentionPreview[]> {
    const status = this.fleet().find((watched) => watched.status.cluster === cluster)?.status;
    const lastRunFailed = status?.jobs?.['backup']?.last.outcome === 'failed';
    const how = { lastRunFailed, now: this.#options.clock.now() };
    const config = clusterConfig(this.#options.config(), cluster);
    return await this.#read(cluster, asked, (deps, memory, signal) =>
      previewRetention(deps, config, memory, how, signal),
    );
  }

  async hold({ cluster, snapshot, who, why, until }: HoldRequest, signal: AbortSignal): Promise<Held> {
    return await this.#act(cluster, (deps) => holdSnapshot(deps, snapshot, { who, why, until }, signal), signal);
  }

  async release({ cluster, snapshot, who, why }: ReleaseRequest, signal: AbortSignal): Promise<Held> {
    return await this.#act(cluster, (deps) => releaseSnapshot(deps, snapshot, { who, why }, signal), signal);
  }

  async #act(cluster: string, act: (deps: HoldDeps) => Promise<HoldResult>, signal: AbortSignal): Promise<Held> {
    await using app = new App(this.#options.config(), { log: this.#options.log });
    const { catalogue, stores } = await app.statusDeps(cluster, signal);
    const records = await app.records(cluster, signal);
    const { written, legalHolds, warnings } = await act({ catalogue, stores, records, clock: this.#options.clock });
    const refused = legalHolds.flatMap(({ destination, error }) => (error === null ? [] : [destination]));
    const failed = [...new Set([...written.failures.map(({ store }) => store), ...refused])];
    return { stored: written.stored, failed, warnings };
  }

  async #read<T>(
    cluster: string,
    signal: AbortSignal,
    read: (deps: StatusDeps, memory: SnapshotMemory, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const memory = this.#memories.get(cluster) ?? new SnapshotMemory();
    this.#memories.set(cluster, memory);
    await using app = new App(this.#options.config(), { log: this.#options.log });
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    const either = AbortSignal.any([signal, deadline]);
    try {
      return await read(await app.statusDeps(cluster, either), memory, either);
    } catch (e) {
      if (signal.aborted || !deadline.aborted) throw e;
      throw new StrongroomError('E_TIMEOUT', `the destinations of ${cluster} take too long to answer`, { cause: e });
    }
  }
}
