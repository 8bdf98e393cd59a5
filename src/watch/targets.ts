/** The clusters of a config, as the watch wants them. */
import { App } from '../app.ts';
import { clusterConfig } from '../config/cluster-config.ts';
import type { Config } from '../config/load.ts';
import type { Log } from '../core/log.ts';
import { limitsOf } from '../observe/limits.ts';
import { readStatus } from '../observe/status.ts';
import type { WatchOptions, WatchTarget } from '../observe/watch.ts';

/** What is watched of `config`: every cluster, held to its own limits. */
export function targetsOf(config: Config): WatchTarget[] {
  return Object.keys(config.clusters).map((cluster) => {
    const own = clusterConfig(config, cluster);
    return {
      cluster,
      destinations: own.destinations.map(({ name }) => name),
      limits: (now) => limitsOf(cluster, own, now),
    };
  });
}

/** Reads a status by the config of that moment. An app for each reading: secrets and addresses are those of now. */
export function statusReader(config: () => Config, log: Log): WatchOptions['read'] {
  return async (cluster, now, { memory, silence }, signal) => {
    await using app = new App(config(), { log });
    const deps = await app.statusDeps(cluster, signal);
    return await readStatus({ ...deps, silence }, now, signal, memory);
  };
}
