/** `strongroom worker` as a process on every kind of Redis: what it is told, what it loses, and that no run is lost or made twice. */
import { beforeAll, describe, expect, it } from 'vitest';
import { LoadScene, REDIS_PASSWORD, recordSnapshot } from '../support/load-scene.ts';
import { startRedisCluster } from '../support/redis-cluster.ts';
import { PRIMARY_NAME, startRedisSentinels } from '../support/redis-sentinel.ts';
import { startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import type { RunningWorker } from '../support/worker-scene.ts';

let archive: Uint8Array;
beforeAll(async () => {
  archive = await recordSnapshot(0);
});

const YEARLY = { cron: '0 0 1 1 *' };
const EVERY_10_S = { cron: '*/10 * * * * *' };

/** Due times whose runs ended well, each as often as that was said. */
const duesOf = (worker: RunningWorker): unknown[] =>
  worker.lines.filter(({ msg }) => msg === 'run ended').map(({ dueAt }) => dueAt);

/** Waits until a run for a due time after now has ended: jobs go through again, by the schedule. */
async function runsAgain(worker: RunningWorker): Promise<void> {
  const now = new Date().toISOString();
  const hasRun = async () => (duesOf(worker).some((due) => String(due) > now) ? true : undefined);
  await until(`a run that became due after ${now}; the worker said:\n${worker.stderr.slice(-3_000)}`, hasRun, {
    timeoutMs: 300_000,
  });
}

describe('a Redis as providers give it: one address, no CLUSTER, CONFIG and INFO', () => {
  it('serves the worker, which says what it could not ask, and calls nothing of it good or bad', async () => {
    await using server = await startRedis({
      users: [`worker on >${REDIS_PASSWORD} ~strongroom:* +@all -@admin -@dangerous -info -config -cluster`],
    });
    const queue = { url: server.url, username: 'worker', password: 'env:LOAD_REDIS' };
    await using scene = await LoadScene.open({ clusters: 2, archive, queue });
    await scene.configure(2, YEARLY);
    const worker = scene.worker();
    for (const cluster of ['c0001', 'c0002']) {
      await worker.says('run ended', (line) => line['cluster'] === cluster);
    }
    const unknown = worker.lines.filter(({ msg }) => msg === 'it is not known whether Redis is set up for a queue');
    expect(unknown.map(({ check }) => check)).toEqual(['version', 'eviction', 'persistence']);
    expect(worker.count('Redis is not set up for a queue')).toBe(0);
    expect(scene.fleet.snapshots).toBe(2);
    expect((await worker.end()).code).toBe(0);
  });

  it('that evicts is said at the start, and backups are made all the same', async () => {
    await using server = await startRedis({ evictionPolicy: 'allkeys-lru' });
    await using scene = await LoadScene.open({ clusters: 1, archive, queue: { url: server.url } });
    await scene.configure(1, YEARLY);
    const worker = scene.worker();
    const said = await worker.says('Redis is not set up for a queue');
    expect(said).toMatchObject({ check: 'eviction', hint: expect.stringContaining('noeviction') as string });
    await worker.says('run ended');
    expect((await worker.end()).code).toBe(0);
  });

  it('whose user may not do what a queue needs is refused at once, with the right that is missing', async () => {
    await using server = await startRedis({ users: [`worker on >${REDIS_PASSWORD} ~strongroom:* +@all -@stream`] });
    const queue = { url: server.url, username: 'worker', password: 'env:LOAD_REDIS' };
    await using scene = await LoadScene.open({ clusters: 1, archive, queue });
    await scene.configure(1, YEARLY);
    const { code, stderr } = await scene.worker().finished;
    expect(code).not.toBe(0);
    expect(stderr).toContain('@stream');
    expect(stderr).not.toContain(REDIS_PASSWORD);
    expect(scene.fleet.snapshots).toBe(0);
  });
});

describe('Sentinel', () => {
  it('the primary is killed in the middle of a run: the run ends well, once, and the schedule goes on', async () => {
    await using group = await startRedisSentinels();
    const queue = { sentinels: group.addresses, name: PRIMARY_NAME };
    await using scene = await LoadScene.open({ clusters: 1, archive, queue });
    await scene.configure(1, EVERY_10_S);
    const worker = scene.worker();
    await runsAgain(worker);
    let inMiddle: unknown;
    {
      using _held = scene.fleet.hold();
      const taken = scene.fleet.snapshots;
      await until('a run in its middle', async () => (scene.fleet.snapshots > taken ? true : undefined));
      inMiddle = worker.lines.filter(({ msg }) => msg === 'run started').at(-1)?.['dueAt'];
      await group.failover();
    }
    await worker.says('run ended', ({ dueAt }) => dueAt === inMiddle);
    await runsAgain(worker);
    expect(worker.count('Redis is away: nothing is scheduled until it is back')).toBeGreaterThan(0);
    const dues = duesOf(worker);
    expect(new Set(dues).size).toBe(dues.length);
    expect((await worker.end()).code).toBe(0);
  });
});

describe('Cluster', () => {
  it('the node of the queue is lost and comes back empty: said, and the schedule goes on', async () => {
    await using cluster = await startRedisCluster();
    await using scene = await LoadScene.open({ clusters: 1, archive, queue: { cluster: cluster.addresses } });
    await scene.configure(1, EVERY_10_S);
    const worker = scene.worker();
    await runsAgain(worker);
    const owner = await cluster.ownerOf('{strongroom}');
    await owner.kill();
    await worker.says('Redis is away: nothing is scheduled until it is back');
    await owner.restart();
    await runsAgain(worker);
    const dues = duesOf(worker);
    expect(new Set(dues).size).toBe(dues.length);
    expect((await worker.end()).code).toBe(0);
  });
});
