/** Many clusters, two workers: each backed up once, by either of them, and not asked about again when nothing is due. */
import { expect, it } from 'vitest';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { LoadScene, nameOfCluster, recordSnapshot } from '../support/load-scene.ts';
import { until } from '../support/until.ts';

const CLUSTERS = 8;

it('eight clusters that were never backed up are backed up once, and what one worker made costs the other one look', async () => {
  const archive = await recordSnapshot(0);
  let proxy: HttpFaultProxy | undefined;
  await using scene = await LoadScene.open({
    clusters: CLUSTERS,
    archive,
    before: async ({ endpoint }) => {
      proxy = await startHttpFaultProxy(endpoint);
      return proxy;
    },
  });
  if (proxy === undefined) throw new Error('no proxy');
  await scene.configure(CLUSTERS, { cron: '0 0 1 1 *' }, { backups: 2, lookEvery: '3s' });
  const workers = [scene.worker(), scene.worker()];
  const ended = (): string[] =>
    workers.flatMap(({ lines }) =>
      lines.filter(({ msg }) => msg === 'run ended').map((line) => String(line['cluster'])),
    );
  await until('all are backed up', async () => (ended().length >= CLUSTERS ? true : undefined), { timeoutMs: 200_000 });
  expect(ended().toSorted()).toEqual(Array.from({ length: CLUSTERS }, (_, i) => nameOfCluster(i)));
  for (const worker of workers) expect(worker.count('run ended')).toBeGreaterThan(0);
  expect(scene.fleet.snapshots).toBe(CLUSTERS);
  expect(workers.map((worker) => worker.count('run failed'))).toEqual([0, 0]);

  // One look more tells each worker of what the other one made; after that there is nothing to ask about.
  await Promise.all(workers.map((worker) => worker.saysAgain('looked for missed runs', 2)));
  const asked = proxy.requests.length;
  await Promise.all(workers.map((worker) => worker.saysAgain('looked for missed runs', 2)));
  expect(proxy.requests.slice(asked)).toEqual([]);
  expect((await Promise.all(workers.map((worker) => worker.end()))).map(({ code }) => code)).toEqual([0, 0]);
});
