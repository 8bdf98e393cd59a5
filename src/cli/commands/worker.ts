import type { Run } from '../define.ts';
import type { WorkerFlags } from '../definitions/worker.ts';

export const run: Run<WorkerFlags> = async function (flags) {
  const config = await this.config(flags.config);
  const [{ jobs }, { parseListen }, { openLog }, { runWorker }] = await Promise.all([
    import('../../../jobs/index.ts'),
    import('../../core/listen.ts'),
    import('../../core/log.ts'),
    import('../../worker/run-worker.ts'),
  ]);
  const log = openLog(config.log);
  // The same file, wherever it was found: the environment and the folder may say otherwise later.
  const listen = config.worker.listen === undefined ? null : parseListen(config.worker.listen);
  await runWorker({ config, jobs, load: () => this.config(config.file), log, listen }, this.signal);
};
