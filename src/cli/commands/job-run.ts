import { chooseCluster } from '../../config/cluster-config.ts';
import { StrongroomError } from '../../core/errors.ts';
import type { Run } from '../define.ts';
import type { JobRunFlags } from '../definitions/job.ts';
import { partly } from './backup.ts';

export const run: Run<JobRunFlags, [name: string]> = async function (flags, jobName) {
  const { jobs } = await import('../../../jobs/index.ts');
  const job = jobs.find(({ name }) => name === jobName);
  if (job === undefined) {
    throw new StrongroomError('E_USAGE', `there is no job "${jobName}"`, {
      hint: `there is ${jobs.map(({ name, summary }) => `${name} (${summary})`).join(', ')}`,
    });
  }
  const config = await this.config(flags.config);
  const { name } = chooseCluster(config, flags.cluster);
  const { App } = await import('../../app.ts');
  const progress = this.progress();
  await using app = new App(config, { onProgress: progress.onProgress, door: `strongroom job run ${job.name}` });
  const { runJob } = await import('../../run/run-job.ts');
  const request = { door: 'command', dueAt: null } as const;
  const outcome = await runJob(job, app, name, request, this.signal).finally(() => progress[Symbol.dispose]());
  this.output.result(outcome.result, () => outcome.summary.join('\n'));
  if (outcome.missing.length > 0) throw partly(outcome.missing);
};
