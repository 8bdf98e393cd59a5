import { prune, pruneFailure } from '../src/retention/prune.ts';
import { pruneDocument, summarisePrune } from '../src/retention/summary.ts';
import type { Job } from '../src/run/job.ts';

export const pruneJob: Job = {
  name: 'prune',
  summary: 'remove what the retention policy does not keep',
  async run(app, cluster, run, signal) {
    const deps = await app.pruneDeps(cluster, signal);
    const result = await prune(deps, { run }, signal);
    const failure = pruneFailure(result);
    if (failure !== null) throw failure;
    return { summary: summarisePrune(result), result: pruneDocument(result), missing: [] };
  },
};
