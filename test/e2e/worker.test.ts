/** Workers that follow the config: once for each due time, whoever is there, and nothing half done at the end. */
import { describe, expect, it } from 'vitest';
import { until } from '../support/until.ts';
import { WorkerScene } from '../support/worker-scene.ts';

const EVERY_5_S = { backup: { cron: '*/5 * * * * *' } };

describe('two workers', () => {
  it('make one backup for each due time, follow the config, and end by SIGTERM', async () => {
    await using scene = await WorkerScene.open(EVERY_5_S);
    const workers = [scene.worker(), scene.worker()];
    await Promise.all(workers.map((worker) => worker.says('the worker takes jobs')));
    await until('three backups', async () => ((await scene.snapshots()).length >= 3 ? true : undefined));
    const dues = workers.flatMap(({ lines }) =>
      lines.filter(({ msg }) => msg === 'run ended').map(({ dueAt }) => dueAt),
    );
    expect(dues.length).toBeGreaterThanOrEqual(2);
    expect(new Set(dues).size).toBe(dues.length);

    await scene.schedule({ backup: { cron: 'not a cron' } });
    await Promise.all(
      workers.map((worker) => worker.says('the changed config is refused; the one before stays in force')),
    );
    await scene.schedule(null);
    await Promise.all(workers.map((worker) => worker.says('the config changed and is in force')));
    const ends = await Promise.all(workers.map((worker) => worker.end()));
    expect(ends.map(({ code }) => code)).toEqual([0, 0]);
  });
});
