import { backup } from '../src/backup/backup.ts';
import { summariseBackup } from '../src/backup/summary.ts';
import type { Job } from './job.ts';

export const backupJob: Job = {
  name: 'backup',
  summary: 'take, prove and store one snapshot',
  async run(app, cluster, signal) {
    const result = await backup(
      await app.backupDeps(cluster, signal),
      { purpose: 'backup', newLineage: false },
      signal,
    );
    return { summary: summariseBackup(result), result, missing: result.missing.map(({ what }) => what) };
  },
};
