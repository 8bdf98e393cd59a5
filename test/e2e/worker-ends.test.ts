/** A worker whose Redis is away: from the start, or when it has to end; what it shows meanwhile, and its exit codes. */
import { describe, expect, it } from 'vitest';
import { http } from '../support/http-json.ts';
import { freePort } from '../support/process.ts';
import { until } from '../support/until.ts';
import { type RunningWorker, WorkerScene } from '../support/worker-scene.ts';

/** Nobody is there at half past four in the morning of the first of January. */
const LONG_AGO = { backup: { cron: '30 4 1 1 *' } };
const AWAY = 'Redis is away: nothing is scheduled until it is back';
/** A snapshot that takes half a minute. */
const SLOW = { kind: 'throttle', bytesPerSecond: 2_000 } as const;

async function metric(url: string, name: string, labels = '[^}]*'): Promise<number | null> {
  const text = (await http(`${url}/metrics`)).body.toString();
  const found = new RegExp(`^${name}(?:\\{${labels}\\})? (\\S+)$`, 'm').exec(text)?.[1];
  return found === undefined ? null : Number(found);
}

async function showing(url: string, name: string, value: number): Promise<void> {
  const shown = async () => ((await metric(url, name)) === value ? true : undefined);
  await until(`${name} is ${value}`, shown, { everyMs: 200 });
}

async function endsSoon(worker: RunningWorker, withinMs: number): Promise<void> {
  const begun = performance.now();
  const { code } = await worker.end();
  expect(code, worker.stderr.slice(-2000)).toBe(0);
  expect(performance.now() - begun).toBeLessThan(withinMs);
  expect(worker.count('the worker has stopped')).toBe(1);
}

describe('Redis that is not there', () => {
  it('from the start: metrics and health are shown, the config is followed, and all is well once it comes', async () => {
    const listen = `127.0.0.1:${await freePort()}`;
    const url = `http://${listen}`;
    await using scene = await WorkerScene.open({ verify: { cron: '30 4 1 1 *' } }, { listen, lookEvery: '1s' });
    await scene.redis.stop();
    const worker = scene.worker();
    await worker.says(AWAY);
    await showing(url, 'strongroom_queue_up', 0);
    expect((await http(`${url}/healthz`)).status).toBe(200);
    expect(await metric(url, 'strongroom_queue_depth')).toBeNull();
    await scene.schedule(LONG_AGO);
    await worker.says('the config changed and is in force');
    expect(worker.count('the worker takes jobs')).toBe(0);
    await scene.redis.restart();
    await worker.says('run ended');
    await showing(url, 'strongroom_queue_up', 1);
    expect(await metric(url, 'strongroom_missed_runs_total', 'cluster="prod",job="backup"')).toBe(1);
    // It answers every question, and takes no job: that is not up.
    await scene.redis.makeReadOnly();
    await showing(url, 'strongroom_queue_up', 0);
    await scene.redis.makeWritable();
    await showing(url, 'strongroom_queue_up', 1);
    await scene.redis.command('config', 'set', 'maxmemory', '1');
    await showing(url, 'strongroom_queue_up', 0);
    await scene.redis.command('config', 'set', 'maxmemory', '0');
    await showing(url, 'strongroom_queue_up', 1);
    await endsSoon(worker, 20_000);
    expect((await scene.manifests()).a).toHaveLength(1);
  });

  it('while SIGTERM comes: it ends at once', async () => {
    await using scene = await WorkerScene.open(LONG_AGO);
    await scene.redis.stop();
    const worker = scene.worker();
    await worker.says(AWAY);
    await endsSoon(worker, 15_000);
  });

  it.each(['gone', 'silent'] as const)(
    '(%s) when a run has to be broken off: the worker ends all the same, and the next one makes the backup',
    async (how) => {
      await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s', grace: '1s' });
      await scene.proxy.set(SLOW);
      const worker = scene.worker();
      await worker.says('run started');
      if (how === 'gone') await scene.redis.stop();
      else scene.redis.pause();
      await worker.says(AWAY);
      await endsSoon(worker, 45_000);
      expect(worker.count('run failed')).toBe(1);
      expect(await scene.manifests()).toEqual({ a: [], b: [] });
      if (how === 'gone') await scene.redis.restart();
      else scene.redis.resume();
      await scene.proxy.set({ kind: 'pass' });
      const next = scene.worker();
      await next.says('run ended');
      await endsSoon(next, 20_000);
      const { a, b } = await scene.manifests();
      expect(a).toHaveLength(1);
      expect(b).toEqual(a);
    },
  );
});

describe('a second SIGTERM', () => {
  it('ends it at once by SIGINT, and the next worker cleans up and makes the backup', async () => {
    await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
    await scene.proxy.set(SLOW);
    const worker = scene.worker();
    await worker.says('run started');
    const begun = performance.now();
    process.kill(worker.pid, 'SIGTERM');
    await until('it has heard', async () => (/once more to end at once/.test(worker.stderr) ? true : undefined));
    // A shell and Kubernetes call this 130.
    expect(await worker.end()).toMatchObject({ code: null, signal: 'SIGINT' });
    expect(performance.now() - begun).toBeLessThan(15_000);
    expect(await scene.manifests()).toEqual({ a: [], b: [] });
    await scene.proxy.set({ kind: 'pass' });
    const next = scene.worker();
    await next.says('run ended');
    await endsSoon(next, 20_000);
    expect((await scene.manifests()).a).toHaveLength(1);
  });
});
