import { clusterConfig } from '../src/config/cluster-config.ts';
import { policiesOf } from '../src/config/retention.ts';
import { systemClock } from '../src/core/units.ts';
import type { Job } from '../src/run/job.ts';
import { describeUnmended, type ReplicateDeps, replicate, summariseReplicate } from '../src/snapshots/replicate.ts';

export const replicateJob: Job = {
  name: 'replicate',
  summary: 'find copies that are missing or differ, and make them again from good ones',
  async run(app, cluster, run, signal) {
    const deps = { ...(await app.snapshotDeps(cluster, signal)), clock: systemClock };
    const records = await app.records(cluster, signal);
    const { prove, destinations, retention } = clusterConfig(app.config, cluster);
    const policies = policiesOf(
      retention,
      destinations.map(({ name }) => name),
    );
    const takeLease: ReplicateDeps['takeLease'] = (holder, abort) =>
      app.takeLease(cluster, { run: holder, need: 'any', waitMs: 0 }, abort);
    const result = await replicate({ ...deps, records, policies, takeLease }, { run, prove }, signal);
    const unmended = result.unmended.map(({ error, ...where }) => ({ ...where, error: error.toJSON() }));
    return {
      summary: summariseReplicate(result),
      result: { ...result, unmended },
      missing: result.unmended.map(describeUnmended),
    };
  },
};
