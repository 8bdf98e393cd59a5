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
  // Timers of several machines fire at once, and their processes take their time to start.
  const askedAt = new Date(performance.timeOrigin);
  const door = `strongroom job run ${job.name}`;
  await using app = new App(config, { onProgress: progress.onProgress, door, askedAt });
  const { runInTurn } = await import('../../run/run-in-turn.ts');
  const request = { door: 'command', dueAt: null } as const;
  const turn = { request, waitMs: flags.lockWait };
  const outcome = await runInTurn(job, app, name, turn, this.signal).finally(() => progress[Symbol.dispose]());
  if ('doneBy' in outcome) {
    const { run: by, at } = outcome.doneBy;
    this.output.result({ doneBy: by, at }, () => `${job.name} of ${name} was done meanwhile by run ${by}`);
    return;
  }
  const { ran } = outcome;
  this.output.result(ran.result, () => ran.summary.join('\n'));
  if (ran.missing.length > 0) throw partly(ran.missing);
};
