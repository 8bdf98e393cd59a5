/** strongroom check: every cluster read and judged once. */
import { App } from '../app.ts';
import { clusterConfig } from '../config/cluster-config.ts';
import type { Config } from '../config/load.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import { limitsOf } from '../observe/limits.ts';
import { type Checked, worstFirst } from '../observe/plugin-line.ts';
import { Silence } from '../observe/silence.ts';
import { readStatus } from '../observe/status.ts';
import { judge } from '../observe/verdict.ts';

export type CheckDeps = { config: Config; clock: Clock; log: Log };

export type CheckOptions = {
  clusters: readonly string[];
  /** in the place of the limits of the config, in milliseconds */
  maxAgeMs?: number;
  maxProofAgeMs?: number;
};

const AT_ONCE = 4;

/** The verdict on each cluster, worst first. Rejects with E_CONFIG_INVALID for a cluster that there is not, and for secrets that cannot be read. */
export async function check(deps: CheckDeps, options: CheckOptions, signal: AbortSignal): Promise<Checked[]> {
  const silence = new Silence();
  const checked: Checked[] = [];
  const todo = [...options.clusters];
  const readers = Array.from({ length: AT_ONCE }, async () => {
    for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
      checked.push(await checkOne(deps, name, options, silence, signal));
    }
  });
  await Promise.all(readers);
  return worstFirst(checked);
}

async function checkOne(
  { config, clock, log }: CheckDeps,
  cluster: string,
  options: CheckOptions,
  silence: Silence,
  signal: AbortSignal,
): Promise<Checked> {
  const found = limitsOf(cluster, clusterConfig(config, cluster), clock.now());
  const limits = {
    ...found,
    maxAgeMs: options.maxAgeMs ?? found.maxAgeMs,
    maxProofAgeMs: options.maxProofAgeMs ?? found.maxProofAgeMs,
  };
  await using app = new App(config, { log });
  const deps = await app.statusDeps(cluster, signal);
  const status = await readStatus({ ...deps, silence }, clock.now(), signal);
  for (const { name, away } of status.destinations) silence.tell(name, away, clock.now());
  return { cluster, limits, verdict: judge(status, limits, clock.now()) };
}
