/** `snapshots list --generation`: what the policy keeps, by the same facts as a prune. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DAY_MS, PruneScene } from '../../support/prune-scene.ts';
import { runCli, runJson } from '../../support/strongroom-cli.ts';

const TWO = { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } } as const;

let scene: PruneScene;
beforeEach(async () => {
  scene = await PruneScene.open(TWO, { keepDaily: 2, keepLast: 1, destinations: { b: { keepDaily: 3 } } });
});
afterEach(() => scene?.[Symbol.asyncDispose]());

const list = async (...flags: string[]): Promise<string[]> => {
  const { configFile, env } = scene.shelf.app;
  const { snapshots } = (await runJson(['snapshots', 'list', '--config', configFile, ...flags], { env })) as {
    snapshots: { snapshot: string }[];
  };
  return snapshots.map(({ snapshot }) => snapshot);
};

it('shows the keepers of each generation, of all destinations or of one', async () => {
  const days = [];
  for (const daysAgo of [5, 4, 3]) days.push((await scene.publish(daysAgo)).snapshot);
  // A safety snapshot is the keeper of nothing.
  await scene.shelf.publish({ purpose: 'safety', now: new Date(scene.now.getTime() - 2 * DAY_MS) });
  const [oldest, middle, newest] = days;
  expect(await list('--generation', 'last')).toEqual([newest]);
  expect(await list('--generation', 'daily')).toEqual([newest, middle, oldest]);
  expect(await list('--generation', 'weekly')).toEqual([]);
  expect(await list()).toHaveLength(4);
});

it('says what it cannot do', async () => {
  const { configFile, env } = scene.shelf.app;
  const run = async (...flags: string[]) =>
    await runCli(['snapshots', 'list', '--config', configFile, ...flags], { env });
  expect(await run('--generation', 'daily', '--names-only')).toMatchObject({ code: 2 });
  const nowhere = await run('--region', 'eu-west-1');
  expect([nowhere.code, nowhere.stderr]).toEqual([2, expect.stringContaining('none of its destinations has a region')]);
  expect(await run('--region', 'eu-west-1', '--destination', 'a')).toMatchObject({ code: 2 });
});
