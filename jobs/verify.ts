import { clusterConfig } from '../src/config/cluster-config.ts';
import { systemClock } from '../src/core/units.ts';
import type { Job } from '../src/run/job.ts';
import { summariseVerify, type VerifyCopiesDeps, verifyCopies } from '../src/snapshots/verify-copies.ts';

/** What may be read a day where the config does not say. */
const DEFAULT_BUDGET_BYTES = 50 * 2 ** 30;
/** What was read is recorded when no other run is at work: so long it waits for the end of one, in milliseconds. */
const PATIENCE_MS = 15 * 60_000;

export const verifyJob: Job = {
  name: 'verify',
  summary: 'read stored copies again in full, those in most need first',
  async run(app, cluster, run, signal) {
    const deps = { ...(await app.snapshotDeps(cluster, signal)), clock: systemClock };
    const records = await app.records(cluster, signal);
    const budgetBytes = clusterConfig(app.config, cluster).schedule?.verify?.budget ?? DEFAULT_BUDGET_BYTES;
    const takeLease: VerifyCopiesDeps['takeLease'] = (holder, abort) =>
      app.takeLease(cluster, { run: holder, need: 'any', waitMs: PATIENCE_MS }, abort);
    const result = await verifyCopies({ ...deps, records, takeLease }, { run, budgetBytes }, signal);
    return { summary: summariseVerify(result), result, missing: [] };
  },
};
