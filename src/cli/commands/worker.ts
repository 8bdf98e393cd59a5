import type { Run } from '../define.ts';
import type { WorkerFlags } from '../definitions/worker.ts';

export const run: Run<WorkerFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const [{ jobs }, { createLog }, { runWorker }] = await Promise.all([
    import('../../../jobs/index.ts'),
    import('../../core/log.ts'),
    import('../../worker/run-worker.ts'),
  ]);
  const log = createLog(config.log.level);
  // The same file, wherever it was found: the environment and the folder may say otherwise later.
  await runWorker({ config, jobs, load: () => this.config(config.file), log }, this.signal);
};
