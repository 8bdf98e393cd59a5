import { backup } from '../src/backup/backup.ts';
import { summariseBackup } from '../src/backup/summary.ts';
import type { SnapshotId } from '../src/core/ids.ts';
import type { Job } from '../src/run/job.ts';

export const backupJob: Job = {
  name: 'backup',
  summary: 'take, prove and store one snapshot',
  async run(app, cluster, run, signal) {
    const deps = await app.backupDeps(cluster, signal);
    const result = await backup(deps, { purpose: 'backup', newLineage: false, run }, signal);
    return {
      summary: summariseBackup(result),
      result,
      missing: result.missing.map(({ what }) => what),
      snapshot: result.manifest.snapshot as SnapshotId,
      timings: result.timings,
    };
  },
};
