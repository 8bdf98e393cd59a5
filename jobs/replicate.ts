import { clusterConfig } from '../src/config/cluster-config.ts';
import { systemClock } from '../src/core/units.ts';
import type { Job } from '../src/run/job.ts';
import { describeUnmended, replicate, summariseReplicate } from '../src/snapshots/replicate.ts';

export const replicateJob: Job = {
  name: 'replicate',
  summary: 'find copies that are missing or differ, and make them again from good ones',
  async run(app, cluster, run, signal) {
    const deps = { ...(await app.snapshotDeps(cluster, signal)), clock: systemClock };
    const records = await app.records(cluster, signal);
    const { prove } = clusterConfig(app.config, cluster);
    const result = await replicate({ ...deps, records }, { run, prove }, signal);
    const unmended = result.unmended.map(({ error, ...where }) => ({ ...where, error: error.toJSON() }));
    return {
      summary: summariseReplicate(result),
      result: { ...result, unmended },
      missing: result.unmended.map(describeUnmended),
    };
  },
};
