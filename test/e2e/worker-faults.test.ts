/** What happens to a worker: Redis that forgets, fills, refuses, goes away; the worker that is stopped, killed, or was never there. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { until } from '../support/until.ts';
import { type RunningWorker, WorkerScene } from '../support/worker-scene.ts';

const EVERY_4_S = { backup: { cron: '*/4 * * * * *' } };
/** Nobody is there at half past four in the morning of the first of January. */
const LONG_AGO = { backup: { cron: '30 4 1 1 *' } };

const AWAY = 'Redis is away: nothing is scheduled until it is back';
const THERE = 'Redis is there';

/** Does it, and waits until the worker says `what` because of it. */
async function causing(worker: RunningWorker, what: string, act: () => Promise<unknown>): Promise<void> {
  const said = worker.saysAgain(what);
  await act();
  await said;
}

async function oneMore(scene: WorkerScene): Promise<void> {
  const before = (await scene.snapshots()).length;
  await until('another backup', async () => ((await scene.snapshots()).length > before ? true : undefined));
}

async function started(scene: WorkerScene): Promise<RunningWorker> {
  const worker = scene.worker();
  await worker.says('the worker takes jobs');
  await oneMore(scene);
  return worker;
}

/** Everything below the two destinations and the spool that is no whole snapshot. */
async function leftovers(scene: WorkerScene): Promise<string[]> {
  const { directory, spool, name } = scene.world;
  const found: string[] = [];
  for (const file of await readdir(spool, { recursive: true })) {
    if (/\.(?:spool|run\.json)$/.test(file)) found.push(file);
  }
  for (const destination of ['a', 'b']) {
    const root = join(directory, destination, 'v1', name);
    const files = await readdir(root, { recursive: true, withFileTypes: true });
    const ids = (kind: string): string[] =>
      files.flatMap((file) =>
        file.isFile() && file.parentPath.includes(`/${kind}/`) ? [file.name.replace(/^.*Z-(\w{26})\..*$/, '$1')] : [],
      );
    const whole = new Set(ids('manifests'));
    for (const kind of ['data', 'keys', 'sigs']) {
      found.push(
        ...ids(kind)
          .filter((id) => !whole.has(id))
          .map((id) => `${destination}/${kind}/${id}`),
      );
    }
    found.push(...files.filter((file) => file.name.includes('.part')).map((file) => file.name));
  }
  return found;
}

describe.concurrent('Redis', () => {
  it('that forgets everything, is read-only, full, restarted or gone: said, and right again without help', async () => {
    await using scene = await WorkerScene.open(EVERY_4_S, { lookEvery: '2s' });
    const worker = await started(scene);

    await causing(worker, 'schedules changed', () => scene.redis.flush());
    await oneMore(scene);

    await causing(worker, AWAY, () => scene.redis.makeReadOnly());
    await causing(worker, THERE, () => scene.redis.makeWritable());
    await oneMore(scene);

    await causing(worker, AWAY, () => scene.redis.command('config', 'set', 'maxmemory', '1'));
    await causing(worker, THERE, () => scene.redis.command('config', 'set', 'maxmemory', '0'));
    await oneMore(scene);

    await causing(worker, AWAY, () => scene.redis.kill());
    await causing(worker, THERE, () => scene.redis.restart());
    await oneMore(scene);

    expect((await worker.end()).code).toBe(0);
    expect(await leftovers(scene)).toEqual([]);
  });
});

describe.concurrent('a run that was missed', () => {
  it('is made up for once, by whichever of three workers, and not again', async () => {
    await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
    const workers = [scene.worker(), scene.worker(), scene.worker()];
    await until('a backup', async () => ((await scene.snapshots()).length > 0 ? true : undefined));
    await Promise.all(workers.map((worker) => worker.saysAgain('looked for missed runs', 2)));
    const ran = workers.flatMap(({ lines }) => lines.filter(({ msg }) => msg === 'run ended'));
    expect(ran).toHaveLength(1);
    // Redis loses the note of it: the destinations still know.
    await scene.redis.flush();
    await Promise.all(workers.map((worker) => worker.saysAgain('looked for missed runs', 2)));
    expect((await Promise.all(workers.map((worker) => worker.end()))).map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(await scene.snapshots()).toHaveLength(1);
  });
});

/** A snapshot that takes about ten seconds. */
const SLOW = { kind: 'throttle', bytesPerSecond: 6_000 } as const;

describe.concurrent('several that start at the same instant', () => {
  it('three workers and a CronJob make one backup', async () => {
    await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
    await scene.proxy.set(SLOW);
    const workers = [scene.worker(), scene.worker(), scene.worker()];
    const job = scene.cli('job', 'run', 'backup');
    const { code, stderr } = await job;
    expect([code, stderr.includes('"error"')]).toEqual([0, false]);
    // Whoever of them did not make it saw that it was made.
    await Promise.all(workers.map((worker) => worker.saysAgain('looked for missed runs', 2)));
    await Promise.all(workers.map((worker) => worker.end()));
    expect(await scene.snapshots()).toHaveLength(1);
    expect(await leftovers(scene)).toEqual([]);
  });
});

describe.concurrent('a worker in the middle of a backup', () => {
  it('whose job Redis forgets makes it all the same, and none of three makes a second one', async () => {
    await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
    await scene.proxy.set({ kind: 'throttle', bytesPerSecond: 1_000 });
    const workers = [scene.worker(), scene.worker(), scene.worker()];
    const all = async (what: string, times: number): Promise<unknown> =>
      await Promise.all(workers.map((worker) => worker.saysAgain(what, times)));
    await all('looked for missed runs', 1);
    await until('it has begun to write', async () => ((await leftovers(scene)).length > 0 ? true : undefined));
    await scene.redis.flush();
    await all('looked for missed runs', 2);
    const started = (): number => workers.reduce((sum, worker) => sum + worker.count('run started'), 0);
    expect(started(), 'it is asked for again while it is at work').toBeGreaterThan(1);
    expect(await scene.manifests()).toEqual({ a: [], b: [] });
    await scene.proxy.set({ kind: 'pass' });
    await until('the other one has seen that it was done', async () =>
      workers.some((worker) => worker.count('was done already') > 0) ? true : undefined,
    );
    expect((await Promise.all(workers.map((worker) => worker.end()))).map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(await scene.snapshots()).toHaveLength(1);
    expect(await leftovers(scene)).toEqual([]);
  });

  it('that gets SIGTERM breaks it off within its grace, and the next worker makes it', async () => {
    await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s', grace: '1s' });
    await scene.proxy.set({ kind: 'throttle', bytesPerSecond: 2_000 });
    const worker = scene.worker();
    await worker.says('run started');
    const { code } = await worker.end();
    expect(code).toBe(0);
    expect(worker.count('run ended')).toBe(0);
    expect(await leftovers(scene)).toEqual([]);
    expect(await scene.snapshots()).toEqual([]);
    await scene.proxy.set({ kind: 'pass' });
    const next = scene.worker();
    await oneMore(scene);
    expect((await next.end()).code).toBe(0);
    expect(await scene.snapshots()).toHaveLength(1);
  });

  it('that is killed leaves nothing that the next one does not clean, and its job is taken over', async () => {
    await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
    await scene.proxy.set({ kind: 'throttle', bytesPerSecond: 2_000 });
    const worker = scene.worker();
    await worker.says('run started');
    await until('it has begun to write', async () => ((await leftovers(scene)).length > 0 ? true : undefined));
    await worker.end('SIGKILL');
    await scene.proxy.set({ kind: 'pass' });
    const next = scene.worker();
    await next.says('run ended');
    expect((await next.end()).code).toBe(0);
    expect(await scene.snapshots()).toHaveLength(1);
    expect(await leftovers(scene)).toEqual([]);
  });

  // A minute until its heart counts as silent, and one until its lease is over, each watched by the other; and tries in between.
  it('that is stopped for minutes loses its job and its lease to another on the same spool, and cannot publish when it wakes up', async () => {
    await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
    await scene.proxy.set({ kind: 'throttle', bytesPerSecond: 2_000 });
    const stopped = scene.worker();
    await stopped.says('run started');
    await until('it has begun to write', async () => ((await leftovers(scene)).length > 0 ? true : undefined));
    process.kill(stopped.pid, 'SIGSTOP');
    await scene.proxy.set({ kind: 'pass' });
    const other = scene.worker();
    await other.says('run ended');
    const made = await scene.manifests();
    expect(made.a).toHaveLength(1);
    process.kill(stopped.pid, 'SIGCONT');
    // Whichever of its two losses it finds out first; and of the lease it may learn when the other one has ended. Never "run ended".
    const ends = ['run failed', 'another run holds the cluster; this one is tried again', 'was done already'];
    const isIdle = async () =>
      ends.reduce((sum, end) => sum + stopped.count(end), 0) === stopped.count('run started') ? true : undefined;
    await until('its run is over, and nothing else at work', isIdle, { timeoutMs: 300_000 });
    await Promise.all([stopped, other].map((worker) => worker.saysAgain('looked for missed runs', 2)));
    expect((await Promise.all([stopped, other].map((worker) => worker.end()))).map(({ code }) => code)).toEqual([0, 0]);
    expect(await scene.manifests()).toEqual(made);
    expect(await leftovers(scene)).toEqual([]);
  });
});
