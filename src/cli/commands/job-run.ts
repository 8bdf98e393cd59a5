import { chooseCluster } from '../../config/cluster-config.ts';
import { isError, StrongroomError } from '../../core/errors.ts';
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
  const [{ systemClock }, { tellOnce }] = await Promise.all([
    import('../../core/units.ts'),
    import('../../run/tell-once.ts'),
  ]);
  const begun = systemClock.now();
  const ended = (run: string | null) => ({ cluster: name, job: job.name, run, dueAt: null, at: systemClock.now() });
  const outcome = await runInTurn(job, app, name, turn, this.signal)
    .finally(() => progress[Symbol.dispose]())
    .catch(async (error: unknown) => {
      // Another run is at work, and speaks for itself.
      if (!isError(error, 'E_LOCKED')) await tellOnce(app, { ...ended(null), outcome: 'failed', error }, begun);
      throw error;
    });
  if ('doneBy' in outcome) {
    await tellOnce(app, { ...ended(outcome.doneBy.run), outcome: 'done', missing: [] }, outcome.doneBy.at, true);
    const { run: by, at } = outcome.doneBy;
    this.output.result({ doneBy: by, at }, () => `${job.name} of ${name} was done meanwhile by run ${by}`);
    return;
  }
  const { ran } = outcome;
  const { run: made, missing } = ran;
  const how = missing.length === 0 ? 'done' : 'partly';
  // As the worker says it: whoever reads the logs of CronJobs looks for the same line.
  app.log.info({ cluster: name, job: job.name, run: made, outcome: how }, 'run ended');
  this.output.result(ran.result, () => ran.summary.join('\n'));
  await tellOnce(app, { ...ended(made), outcome: how, missing }, begun);
  if (missing.length > 0) throw partly(missing);
};
