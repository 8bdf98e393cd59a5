/** strongroom doctor: everything that would fail at night, found by day. */
import { App } from '../app.ts';
import { type ClusterConfig, clusterConfig } from '../config/cluster-config.ts';
import type { Config } from '../config/load.ts';
import { isError } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import { configChecks } from './config-checks.ts';
import { destinationChecks } from './destination-checks.ts';
import { encryptionChecks } from './encryption-checks.ts';
import { type Area, type Finding, sorted, unknown } from './finding.ts';
import { kmsChecks, trySigning } from './kms-checks.ts';
import { queueChecks } from './queue-checks.ts';
import { type Check, LIMIT_MS, runChecks } from './run-checks.ts';
import { spoolOutcomes } from './spool-checks.ts';
import { vaultChecks } from './vault-checks.ts';

export type DoctorDeps = { config: Config; clock: Clock; log: Log };

export type DoctorOptions = {
  clusters: readonly string[];
  /** null = all of them */
  only: Area | null;
};

/** `bytes` 0 = there is no snapshot yet. */
type Newest = { bytes: number; sealKeyIds: readonly string[] };

/**
 * Looks at everything beside each other and changes nothing that lasts. Findings by area, in each the worst first.
 * Rejects with E_CONFIG_INVALID for a cluster that there is not, and with the abort reason.
 */
export async function doctor(
  { config, clock, log }: DoctorDeps,
  { clusters: names, only }: DoctorOptions,
  signal: AbortSignal,
): Promise<Finding[]> {
  const clusters = names.map((name) => clusterConfig(config, name));
  await using app = new App(config, { log, door: 'strongroom doctor' });
  const newest = newestOf(app);
  const now = clock.now();
  const bytes = async (cluster: ClusterConfig, either: AbortSignal): Promise<number | null> =>
    (await newest(cluster, either))?.bytes ?? null;
  const checks: Check[] = [
    ...configChecks(config, clusters, now),
    {
      area: 'config',
      what: 'spool',
      limitMs: 3 * LIMIT_MS,
      run: async (either) =>
        await spoolOutcomes(app.spool, await Promise.all(clusters.map((cluster) => bytes(cluster, either))), either),
    },
    ...vaultChecks(clusters, async (cluster, either) => await app.vault(cluster, either), now),
    ...kmsChecks(clusters),
    { area: 'kms', what: 'signing key', run: async (either) => [await signingOf(app, config, either)] },
    ...destinationChecks(clusters, { spool: app.spool.directory, now, newestBytes: bytes }),
    ...encryptionChecks(clusters, async (cluster, either) => [
      ...((await newest(cluster, either))?.sealKeyIds ?? []),
      ...(cluster.sealKms === undefined ? [] : [cluster.sealKms.keyId]),
    ]),
    ...queueChecks(config),
    { area: 'notifications', what: 'notifications', run: () => Promise.resolve([notificationsOf(config)]) },
  ];
  return sorted(
    await runChecks(
      checks.filter(({ area }) => only === null || area === only),
      signal,
    ),
  );
}

/** What the newest snapshot tells, read once for each cluster; null where it cannot be read now. */
function newestOf(app: App): (cluster: ClusterConfig, signal: AbortSignal) => Promise<Newest | null> {
  const asked = new Map<string, Promise<Newest | null>>();
  const read = async (name: string, signal: AbortSignal): Promise<Newest | null> => {
    try {
      const { catalogue } = await app.statusDeps(name, signal);
      const { newest } = await catalogue.latest(signal);
      if (newest === null) return { bytes: 0, sealKeyIds: [] };
      const { ciphertext, archive } = newest.manifest;
      return { bytes: ciphertext.bytes, sealKeyIds: archive.seal.keyIds };
    } catch (e) {
      // The destinations have findings of their own, and whoever asks says that it does not know.
      if (isError(e) || signal.aborted) return null;
      throw e;
    }
  };
  return async ({ name }, signal) => {
    const asking = asked.get(name) ?? read(name, AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]));
    asked.set(name, asking);
    const found = await asking;
    signal.throwIfAborted();
    return found;
  };
}

async function signingOf(app: App, config: Config, signal: AbortSignal): ReturnType<typeof trySigning> {
  const trusted = await Promise.all(config.signing.trusted.map((ref) => ref.resolve(signal)));
  return await trySigning(await app.signer(signal), trusted, signal);
}

function notificationsOf({ notifications }: Config): ReturnType<typeof unknown> {
  const names = Object.keys(notifications.sinks);
  if (names.length === 0) return unknown('notifications', 'no sink is configured: nobody is told');
  return unknown('notifications', `nothing was sent to ${names.join(', ')}`, 'strongroom notify test');
}
