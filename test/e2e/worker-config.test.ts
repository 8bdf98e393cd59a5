/** Workers follow the config: what is new, changed, removed or wrong, also in the middle of a run. */
import { expect, it } from 'vitest';
import { until } from '../support/until.ts';
import { WorkerScene } from '../support/worker-scene.ts';

const YEARLY = { backup: { cron: '30 4 1 1 *' } };
const CHANGED = 'the config changed and is in force';
type Clusters = Record<string, Record<string, unknown>>;

async function schedulers(scene: WorkerScene): Promise<string[]> {
  const ids = (await scene.redis.command('zrange', 'strongroom:backup:repeat', '0', '-1')) as string[];
  const tz = await Promise.all(
    ids.map(async (id) => String(await scene.redis.command('hget', `strongroom:backup:repeat:${id}`, 'pattern'))),
  );
  return ids.map((id, i) => `${id} ${tz[i]}`).sort();
}

async function inRedis(scene: WorkerScene, wanted: readonly string[]): Promise<void> {
  const fits = async () => (JSON.stringify(await schedulers(scene)) === JSON.stringify(wanted) ? true : undefined);
  await until(`Redis has ${wanted.join(', ')}`, fits);
}

it('new, changed and removed entries count; a removed cluster ends its run; a mistake changes nothing', async () => {
  await using scene = await WorkerScene.open(YEARLY, { lookEvery: '1s' });
  const change = async (edit: (clusters: Clusters) => void): Promise<void> =>
    await scene.change((document) => edit(document['clusters'] as Clusters));
  const worker = scene.worker();
  await worker.says('run ended');
  await inRedis(scene, ['prod.backup 30 4 1 1 *']);

  await scene.proxy.set({ kind: 'throttle', bytesPerSecond: 4_000 });
  const again = worker.saysAgain(CHANGED);
  await change((clusters) => {
    clusters['other'] = { ...clusters['prod'], schedule: { backup: { cron: '0 5 1 1 *' } } };
  });
  await again;
  await inRedis(scene, ['other.backup 0 5 1 1 *', 'prod.backup 30 4 1 1 *']);

  // Its missed run is made up for; in the middle of it the cluster is removed.
  await worker.says('run started', ({ cluster }) => cluster === 'other');
  const removed = worker.saysAgain(CHANGED);
  await change((clusters) => {
    delete clusters['other'];
    if (clusters['prod'] !== undefined) clusters['prod']['schedule'] = { backup: { cron: '45 4 1 1 *' } };
  });
  await removed;
  await inRedis(scene, ['prod.backup 45 4 1 1 *']);
  expect(worker.lines.some(({ msg, cluster }) => msg === 'run ended' && cluster === 'other')).toBe(false);
  await worker.says('run ended', ({ cluster }) => cluster === 'other');
  const { a, b } = await scene.manifests('other');
  expect(a).toHaveLength(1);
  expect(b).toEqual(a);

  for (const wrong of [
    { backup: { cron: '61 * * * *' } },
    { backup: { cron: '0 * * * *' }, timeZone: 'Europe/Nowhere' },
  ]) {
    const refused = worker.saysAgain('the changed config is refused; the one before stays in force');
    await scene.schedule(wrong);
    await refused;
    const looked = worker.saysAgain('looked for missed runs', 2);
    await looked;
    expect(await schedulers(scene)).toEqual(['prod.backup 45 4 1 1 *']);
  }
  const good = worker.saysAgain('the config file is good again');
  await scene.schedule(null);
  await good;
  await inRedis(scene, []);
  expect((await worker.end()).code).toBe(0);
  expect(worker.lines.filter(({ msg }) => msg === 'run failed')).toEqual([]);
});
