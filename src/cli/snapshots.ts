/** What the commands about stored snapshots have in common. */
import type { SnapshotDeps } from '../app-options.ts';
import type { VerifiedManifest } from '../catalogue/catalogue.ts';
import type { Records } from '../catalogue/records.ts';
import { type ClusterConfig, chooseCluster, clusterConfig } from '../config/cluster-config.ts';
import { StrongroomError } from '../core/errors.ts';
import { parseSnapshotId, type SnapshotId } from '../core/ids.ts';
import type { Generation } from '../retention/keepers.ts';
import type { Context } from './context.ts';

/** Catalogue, stores and keys of the chosen cluster; disposing closes what it opened and ends the progress line. */
export async function openSnapshots(
  context: Context,
  flags: { config?: string; cluster?: string },
): Promise<
  AsyncDisposable & {
    deps: SnapshotDeps;
    /** `isReadOnly` as in `App.records` */
    records(options: { isReadOnly: boolean }): Promise<Records>;
    /** what the retention keeps as one of `kind`; E_CONFIG_INVALID without a retention */
    members(kind: Generation['kind']): Promise<ReadonlySet<SnapshotId>>;
    /** destinations of the cluster in `region`; E_USAGE when there are none */
    inRegion(region: string): string[];
    endProgress(): void;
  }
> {
  const config = await context.config(flags.config);
  const { name } = chooseCluster(config, flags.cluster);
  const { App } = await import('../app.ts');
  const progress = context.progress();
  const app = new App(config, { onProgress: progress.onProgress });
  return {
    deps: await app.snapshotDeps(name, context.signal),
    records: (options) => app.records(name, context.signal, options),
    async members(kind) {
      const { membersOf } = await import('../retention/members.ts');
      return await membersOf(await app.pruneDeps(name, context.signal), kind, context.signal);
    },
    inRegion: (region) => destinationsIn(clusterConfig(config, name), region),
    endProgress: () => progress[Symbol.dispose](),
    async [Symbol.asyncDispose]() {
      progress[Symbol.dispose]();
      await app[Symbol.asyncDispose]();
    },
  };
}

function destinationsIn({ name: cluster, destinations }: ClusterConfig, region: string): string[] {
  const regions = destinations.map(({ options }) => (options.type === 's3' ? options.region : null));
  const found = destinations.flatMap(({ name }, i) => (regions[i] === region ? [name] : []));
  if (found.length > 0) return found;
  const known = [...new Set(regions.filter((one) => one !== null))];
  throw new StrongroomError('E_USAGE', `${cluster} has no destination in the region "${region}"`, {
    hint: known.length === 0 ? 'none of its destinations has a region' : `it has some in ${known.join(', ')}`,
  });
}

/** The destination that a flag names, when it names one. E_USAGE for one that the cluster does not have. */
export function chooseDestination(
  { cluster, stores }: Pick<SnapshotDeps, 'cluster' | 'stores'>,
  name: string | undefined,
): string | undefined {
  if (name === undefined || stores.some((store) => store.name === name)) return name;
  throw new StrongroomError('E_USAGE', `${cluster} has no destination "${name}"`, {
    hint: `it has ${stores.map((store) => store.name).join(', ')}`,
  });
}

/**
 * The checked manifest of `id`, or of the newest snapshot for `latest`, which is refused when a newer one is not acceptable.
 * `unasked` are the destinations that might have known a newer one and did not answer.
 */
export async function readManifest(
  { catalogue }: Pick<SnapshotDeps, 'catalogue'>,
  id: string,
  signal: AbortSignal,
): Promise<VerifiedManifest & { unasked: StrongroomError[] }> {
  if (id === 'latest') {
    const { newest, skipped, failures } = await catalogue.latest(signal);
    if (skipped[0] !== undefined) throw skipped[0];
    if (newest !== null) return { ...newest, unasked: failures };
    throw new StrongroomError('E_NOT_FOUND', `there is no snapshot of ${catalogue.cluster} yet`, {
      hint: `strongroom backup --cluster ${catalogue.cluster}`,
    });
  }
  return { ...(await catalogue.read(parseId(catalogue.cluster, id), signal)), unasked: [] };
}

/** The id that is meant, be its manifest good or bad; `latest` as in {@link readManifest}. */
export async function snapshotIdOf(
  deps: Pick<SnapshotDeps, 'catalogue'>,
  id: string,
  signal: AbortSignal,
): Promise<SnapshotId> {
  if (id !== 'latest') return parseId(deps.catalogue.cluster, id);
  return (await readManifest(deps, id, signal)).manifest.snapshot as SnapshotId;
}

function parseId(cluster: string, text: string): SnapshotId {
  const snapshot = parseSnapshotId(text);
  if (snapshot !== null) return snapshot;
  throw new StrongroomError('E_NOT_FOUND', `"${text}" is no snapshot id`, {
    hint: `strongroom snapshots list --cluster ${cluster}`,
  });
}
