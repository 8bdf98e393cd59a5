/** What people and dead man's switches hear of workers and CronJobs: real processes, a real cluster, real receivers. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { startSinkServer } from '../support/sink-server.ts';
import { ToldSinks } from '../support/told-sinks.ts';
import { until } from '../support/until.ts';
import { type RunningWorker, WorkerScene } from '../support/worker-scene.ts';

const EVERY_5_S = { backup: { cron: '*/5 * * * * *' } };
/** Nobody is there at half past four in the morning of the first of January. */
const LONG_AGO = { backup: { cron: '30 4 1 1 *' } };
const KEY = 'prod/backup';

type Site = { scene: WorkerScene; told: ToldSinks };

async function open(
  stack: AsyncDisposableStack,
  schedule: Record<string, unknown>,
  worker: Record<string, unknown> = {},
): Promise<Site> {
  const told = stack.use(await ToldSinks.start());
  const scene = stack.use(await WorkerScene.open(schedule, { lookEvery: '2s', ...worker }));
  // Logins fail on purpose here, many times.
  await scene.cluster.call('POST', 'sys/auth/approle/tune', { user_lockout_config: { lockout_disable: true } });
  await scene.change((document) => {
    document['notifications'] = told.config;
  });
  return { scene, told };
}

/** A login that no try will ever take; gives what puts it right. */
async function breakLogin({ world }: WorkerScene): Promise<() => Promise<void>> {
  const file = join(world.directory, 'secret-id');
  const good = await readFile(file, 'utf8');
  await writeFile(file, 'c0ffee00-0000-4000-8000-000000000000');
  return () => writeFile(file, good);
}

async function metricsOf(worker: RunningWorker): Promise<(series: string) => number | undefined> {
  const { url } = (await worker.says('metrics and health are shown')) as unknown as { url: string };
  const { body } = await request(`${url}/metrics`);
  const text = await body.text();
  return (series) => {
    const line = text.split('\n').find((one) => one.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };
}

describe.concurrent('a worker that reported a failure and was killed', () => {
  it('is not needed for its end: the good run of another one resolves the same incident, and opens none', async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, told } = await open(stack, EVERY_5_S);
    const first = scene.worker(told.env);
    await until('a ping', async () => (told.pings.includes('/prod') ? true : undefined));
    expect(told.paged(KEY)).not.toContain('trigger');

    const mend = await breakLogin(scene);
    const opened = await told.untilTold(KEY, 'open');
    expect(opened).toMatchObject({ severity: 'critical', title: 'the backup failed' });
    await told.untilPaged(KEY, 'trigger');
    await until('the bad ping', async () => (told.pings.includes('/prod/fail') ? true : undefined));
    await first.end('SIGKILL');
    const before = told.paged(KEY).length;

    // The second one finds it broken, too: that is the same problem.
    const second = scene.worker(told.env);
    await second.says('run failed');
    await told.untilTold(KEY, 'update');
    await mend();
    await told.untilTold(KEY, 'resolved');
    await told.untilPaged(KEY, 'resolve');
    expect(told.states(KEY)).toEqual(['open', 'update', 'resolved']);
    expect(told.paged(KEY).slice(before)).toEqual(['trigger', 'resolve']);

    expect((await second.end()).code).toBe(0);
    // One ping at most for each good run, and none for the rest.
    const good = [first, second].flatMap(({ lines }) =>
      lines.filter(({ msg, outcome }) => msg === 'run ended' && outcome === 'done'),
    );
    expect(told.pings.filter((path) => path === '/prod').length).toBeLessThanOrEqual(good.length);
  });

  it('is not needed at all: the very next run of another one is good, and resolves it', async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, told } = await open(stack, EVERY_5_S);
    const mend = await breakLogin(scene);
    const first = scene.worker(told.env);
    await told.untilPaged(KEY, 'trigger');
    await first.end('SIGKILL');
    await mend();
    told.forget();
    scene.worker(told.env);
    await told.untilTold(KEY, 'resolved');
    await told.untilPaged(KEY, 'resolve');
    expect(told.states(KEY)).toEqual(['resolved']);
  });
});

describe.concurrent('a missed run', () => {
  it('is told once by whoever makes up for it, and its end; destinations that are away are told, and their end', async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, told } = await open(stack, LONG_AGO);
    const aside = join(scene.world.directory, 'aside');
    for (const name of ['a', 'b']) await rename(join(scene.world.directory, name), `${aside}-${name}`);
    const workers = [scene.worker(told.env), scene.worker(told.env)];
    const blind = await told.untilTold('prod/destinations', 'open');
    expect(blind).toMatchObject({ severity: 'critical' });
    for (const name of ['a', 'b']) await rename(`${aside}-${name}`, join(scene.world.directory, name));
    await told.untilTold('prod/destinations', 'resolved');
    await told.untilTold(`${KEY}/missed`, 'resolved');
    await Promise.all(workers.map((worker) => worker.saysAgain('looked for missed runs', 2)));
    expect(told.states(`${KEY}/missed`)).toEqual(['open', 'resolved']);
    expect(told.told(`${KEY}/missed`)[0]).toMatchObject({ severity: 'warning' });
    expect(told.states(KEY)).toEqual([]);
    expect(told.pings).toEqual(['/prod']);
    await Promise.all(workers.map((worker) => worker.end()));
  });
});

describe.concurrent('a config that changes', () => {
  it('is told while it is refused; other sinks hear the end of what is open', async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, told } = await open(stack, EVERY_5_S);
    const other = stack.use(await startSinkServer());
    const mend = await breakLogin(scene);
    const worker = scene.worker({ ...told.env, OTHER: other.url });
    await told.untilTold(KEY, 'open');

    const good = await readFile(scene.config, 'utf8');
    await writeFile(scene.config, `${good}\nnonsense: 1\n`);
    expect(await told.untilTold('worker/config', 'open')).toMatchObject({ severity: 'warning' });
    await writeFile(scene.config, good.replace('env:TOLD_HOOK', 'env:OTHER'));
    // What is on its way when the sinks change still goes where it was to go.
    await told.untilTold('worker/config', 'resolved');
    await worker.says('the config changed and is in force');
    await mend();
    await told.untilTold(KEY, 'resolved', other);
    expect(told.states(KEY)).toEqual(['open']);
    expect(told.states(KEY, other)).toEqual(['resolved']);

    // A cluster whose schedule is gone has no problem any more.
    await breakLogin(scene);
    await told.untilTold(KEY, 'open', other);
    await scene.schedule(null);
    await until('the end', async () => (told.states(KEY, other).at(-1) === 'resolved' ? true : undefined));
    expect(told.told(KEY, other).at(-1)?.text).toContain('not in the config any more');
    expect((await worker.end()).code).toBe(0);
  });
});

describe.concurrent('the metrics of a worker', () => {
  it('agree with the destinations, and say what became of Redis and of the sinks', async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, told } = await open(stack, LONG_AGO, { listen: '127.0.0.1:0' });
    await scene.change((document) => {
      document['serve'] = { refreshEvery: '1s' };
    });
    told.hook.usual = { status: 403 };
    const worker = scene.worker(told.env);
    const asked = async (series: string, value: number): Promise<void> => {
      await until(`${series} ${value}`, async () => ((await metricsOf(worker))(series) === value ? true : undefined));
    };
    await asked('strongroom_runs_total{cluster="prod",job="backup",outcome="done"}', 1);
    await asked('strongroom_missed_runs_total{cluster="prod",job="backup"}', 1);
    await asked('strongroom_queue_up', 1);
    await asked('strongroom_queue_depth{queue="backup",state="active"}', 0);
    await asked('strongroom_last_run_failed{cluster="prod",job="backup"}', 0);
    // The webhook refuses for good, and only that.
    await asked('strongroom_notify_up{sink="hook"}', 0);
    await asked('strongroom_notify_up{sink="pager"}', 1);
    await asked('strongroom_notify_delivered_total{sink="alive"}', 1);
    await worker.says('a sink refuses a notification');
    expect(worker.stderr).not.toContain(told.hook.url);

    const { stdout } = await scene.cli('snapshots', 'list', '--json');
    const { snapshots } = JSON.parse(stdout) as { snapshots: { takenAt: string }[] };
    expect(snapshots).toHaveLength(1);
    const value = await metricsOf(worker);
    const success = value('strongroom_last_success_timestamp_seconds{cluster="prod",job="backup"}') ?? 0;
    const newest = value('strongroom_newest_backup_timestamp_seconds{cluster="prod",destination="a"}') ?? 0;
    // The run begins, and a moment later its snapshot.
    expect(newest - success).toBeGreaterThanOrEqual(0);
    expect(newest - success).toBeLessThan(30);

    told.hook.usual = { status: 200 };
    await scene.redis.kill();
    await asked('strongroom_queue_up', 0);
    expect((await metricsOf(worker))('strongroom_queue_depth{queue="backup",state="active"}')).toBeUndefined();
    const away = await told.untilTold('worker/queue', 'open');
    expect(away).toMatchObject({ severity: 'critical', title: 'the worker does not reach Redis' });
    await told.untilPaged('worker/queue', 'trigger');
    await scene.redis.restart();
    await told.untilTold('worker/queue', 'resolved');
    await told.untilPaged('worker/queue', 'resolve');
    await asked('strongroom_queue_up', 1);
    await asked('strongroom_notify_up{sink="hook"}', 1);
    // Right after Redis came back: no connection of the queues may keep the worker from ending.
    expect((await worker.end()).code).toBe(0);
  });
});

describe.concurrent('a CronJob', () => {
  it('tells the same, and neither a dead sink nor a slow one changes how it ends', async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, told } = await open(stack, LONG_AGO);
    const { env } = told;
    const backup = () => scene.cliWith(env, 'job', 'run', 'backup');
    const mend = await breakLogin(scene);
    const failed = await backup();
    expect(failed.code).not.toBe(0);
    expect([told.states(KEY), told.paged(KEY), told.pings]).toEqual([['open'], ['trigger'], ['/prod/fail']]);
    told.hook.usual = 'hang';
    const began = performance.now();
    expect((await backup()).code).toBe(failed.code);
    expect(performance.now() - began).toBeLessThan(40_000);
    expect(told.paged(KEY)).toEqual(['trigger', 'trigger']);
    await told.hook[Symbol.asyncDispose]();
    await mend();
    const good = await backup();
    expect(good.code).toBe(0);
    expect(good.stderr).toContain('a sink does not take a notification; later again');
    expect(told.paged(KEY)).toEqual(['trigger', 'trigger', 'resolve']);
    expect(told.pings.filter((path) => path === '/prod')).toHaveLength(1);
  });
});
