/** What a worker that has nothing to do holds in memory, by the number of its clusters; and what its first look costs. */
import { loadavg } from 'node:os';
import type { LoadScene } from '../../test/support/load-scene.ts';
import { usageOf } from './usage.ts';
import { saidBy, linesOf, timeOf } from './watch.ts';

export type Memory = {
  clusters: number;
  rssBytes: number;
  peakBytes: number;
  /** the first look at every cluster, in milliseconds, and its CPU with that of the start */
  lookMs: number;
  cpuMs: number;
  load: number;
};

const PATIENCE_MS = 30 * 60_000;

/** A worker of its own on the first `clusters`, whose backups are all there. It is ended. */
export async function measureMemory(scene: LoadScene, clusters: number): Promise<Memory> {
  const [load = 0] = loadavg();
  await scene.configure(clusters, { cron: '0 0 1 1 *' }, { lookEvery: '5s' });
  const worker = scene.worker();
  await saidBy([worker], 'looked for missed runs', 2, PATIENCE_MS);
  const { cpuMs, rssBytes, peakBytes } = await usageOf(worker.pid);
  const [takes] = linesOf([worker], 'the worker takes jobs').map(timeOf);
  const [looked] = linesOf([worker], 'looked for missed runs').map(timeOf);
  await worker.end();
  if (worker.count('run started') > 0) throw new Error('a worker that was to look on made backups');
  return { clusters, rssBytes, peakBytes, lookMs: (looked ?? 0) - (takes ?? 0), cpuMs, load };
}
