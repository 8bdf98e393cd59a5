/** `strongroom serve` as a process: asked over HTTP, with real directories behind it that are spoilt meanwhile. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { request } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { METRICS } from '../../src/observe/metrics.ts';
import { observedConfig } from '../support/observed-clusters.ts';
import { type CliResult, type RunningCli, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { HOUR, Scene } from '../unit/observe/scene.ts';

const LIMITS = { maxAge: '8h' };
const TOKEN = 'a-token-of-this-test';
let scene: Scene;
let running: RunningCli | null = null;
const ago = (hours: number): Date => new Date(Date.now() - hours * HOUR);

beforeEach(async () => {
  scene = await Scene.create();
});
afterEach(async () => {
  await stop();
  await scene[Symbol.asyncDispose]();
});

type Change = {
  serve?: Record<string, unknown>;
  limits?: Record<string, unknown>;
  more?: Record<string, Record<string, unknown>>;
};

const configure = ({ serve = {}, limits = LIMITS, more = {} }: Change = {}): Promise<string> =>
  observedConfig(
    scene,
    { top: { serve: { listen: '127.0.0.1:0', refreshEvery: '100ms', ...serve } }, cluster: { limits } },
    more,
  );

/** Starts it; resolves with the address that it prints. */
async function start(change: Change = {}, args: readonly string[] = []): Promise<string> {
  const config = await configure(change);
  const started = startCli(['serve', '--config', config, ...args], { env: { SERVE_TOKEN: TOKEN } });
  running = started;
  let printed = '';
  started.child.stdout?.on('data', (text: string) => {
    printed += text;
  });
  return await until('the address', async () => {
    const url = /^listening on (http:\S+)$/m.exec(printed)?.[1];
    if (url === undefined && started.child.exitCode !== null) throw new Error((await started.finished).stderr);
    return url;
  });
}

async function stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<CliResult | null> {
  const stopped = running;
  running = null;
  if (stopped === null) return null;
  stopped.child.kill(signal);
  return await stopped.finished;
}

type Answer = { status: number; text: string; headers: Record<string, string | string[] | undefined> };

async function get(url: string, token?: string): Promise<Answer> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const { statusCode, body, headers: own } = await request(url, { headers });
  return { status: statusCode, text: await body.text(), headers: own };
}

/** The answer once it satisfies `wanted`. */
const eventually = (url: string, wanted: (answer: Answer) => boolean): Promise<Answer> =>
  until(url, async () => {
    const answer = await get(url);
    return wanted(answer) ? answer : undefined;
  });
const valueIn = (text: string, series: string): number | undefined => {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
};

describe('health', () => {
  it('alive is not the same as backed up: /readyz is 200 only while every cluster is within its limits', async () => {
    await scene.backup(ago(9));
    const url = await start();
    expect(await get(`${url}/healthz`)).toMatchObject({ status: 200, text: 'alive\n' });
    const old = await eventually(`${url}/readyz`, ({ text }) => /9h( \d+s)? old, 8h at most/.test(text));
    expect(old.status).toBe(503);
    await scene.backup(ago(1));
    const ready = await eventually(`${url}/readyz`, ({ status }) => status === 200);
    expect(JSON.parse(ready.text)).toMatchObject({
      ready: true,
      clusters: [{ cluster: 'prod', level: 'ok', reasons: [] }],
    });
    await scene.takeAway('b');
    const away = await eventually(`${url}/readyz`, ({ status }) => status === 503);
    expect(JSON.parse(away.text)).toMatchObject({
      ready: false,
      clusters: [
        {
          level: 'critical',
          reasons: [{ level: 'critical', text: expect.stringContaining('b cannot be read') as string }],
        },
      ],
    });
    expect((await get(`${url}/healthz`)).status).toBe(200);
  });

  it('is not ready before anything was read, nor for a cluster that nobody limits', async () => {
    await scene.backup(ago(1));
    const url = await start({ more: { bare: {} } });
    const { status, text } = await eventually(
      `${url}/readyz`,
      (answer) => answer.text.includes('there is no backup') && answer.text.includes('"ok"'),
    );
    expect(status).toBe(503);
    expect(JSON.parse(text)).toMatchObject({
      ready: false,
      clusters: [{ cluster: 'bare' }, { cluster: 'prod', level: 'ok' }],
    });
  });
});

describe('/metrics', () => {
  it('are what the destinations hold, and only what the table has', async () => {
    await scene.backup(ago(2));
    await scene.run(ago(2));
    const url = await start();
    const { text, headers } = await eventually(`${url}/metrics`, (answer) =>
      answer.text.includes('recovery_point_age'),
    );
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(valueIn(text, 'strongroom_recovery_point_age_seconds{cluster="prod"}')).toBeCloseTo(7200, -2);
    expect(valueIn(text, 'strongroom_recovery_point_limit_seconds{cluster="prod"}')).toBe(28_800);
    expect(valueIn(text, 'strongroom_last_run_failed{cluster="prod",job="backup"}')).toBe(0);
    expect(valueIn(text, 'strongroom_destination_up{cluster="prod",destination="b"}')).toBe(1);
    expect(valueIn(text, 'strongroom_config_valid')).toBe(1);
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name);
    expect(names.filter((name) => !Object.hasOwn(METRICS, name))).toEqual([]);
    // Nothing of a worker: there is none.
    expect(text).not.toContain('strongroom_queue_up');
    expect(text).not.toContain('strongroom_runs_total');
  });

  it('keep the age growing when nothing can be read any more, and say that nothing can', async () => {
    await scene.backup(ago(2));
    const url = await start();
    const before = await eventually(`${url}/metrics`, (answer) => answer.text.includes('recovery_point_age'));
    for (const name of ['a', 'b']) await scene.takeAway(name);
    const after = await eventually(`${url}/metrics`, (answer) =>
      answer.text.includes('destination_up{cluster="prod",destination="b"} 0'),
    );
    const age = (text: string) => valueIn(text, 'strongroom_recovery_point_age_seconds{cluster="prod"}') ?? 0;
    expect(age(after.text)).toBeGreaterThan(age(before.text));
    expect(valueIn(after.text, 'strongroom_destination_up{cluster="prod",destination="a"}')).toBe(0);
    expect(valueIn(after.text, 'strongroom_whole_known{cluster="prod"}')).toBe(0);
    const stale = await eventually(
      `${url}/metrics`,
      ({ text }) => (valueIn(text, 'strongroom_status_age_seconds{cluster="prod"}') ?? 0) > 0.5,
    );
    expect(age(stale.text)).toBeGreaterThan(age(after.text));
  });
});

describe('the config file', () => {
  it('is followed: a new cluster is watched, and a mistake is told while the one before stays in force', async () => {
    await scene.backup(ago(2));
    const url = await start();
    await eventually(`${url}/readyz`, ({ status }) => status === 200);
    const file = await configure({ more: { bare: {} } });
    await eventually(`${url}/metrics`, ({ text }) => text.includes('strongroom_destination_up{cluster="bare"'));
    await writeFile(file, 'version: 1\nclusters: []\n');
    const { text } = await eventually(
      `${url}/metrics`,
      (answer) => valueIn(answer.text, 'strongroom_config_valid') === 0,
    );
    expect(text).toContain('strongroom_destination_up{cluster="bare"');
    await configure();
    const healed = await eventually(
      `${url}/metrics`,
      (answer) => valueIn(answer.text, 'strongroom_config_valid') === 1,
    );
    expect(healed.text).not.toContain('cluster="bare"');
  });
});

describe('access', () => {
  it('with a token, shows nothing without it but that it lives and whether it is ready', async () => {
    await scene.backup(ago(9));
    const url = await start({ serve: { listen: '0.0.0.0:0', token: 'env:SERVE_TOKEN' } });
    const local = url.replace('0.0.0.0', '127.0.0.1');
    expect((await get(`${local}/healthz`)).status).toBe(200);
    const bare = await get(`${local}/readyz`);
    expect(bare).toMatchObject({ status: 503, text: '{"ready":false}' });
    for (const wrong of [undefined, '', `${TOKEN}x`, TOKEN.slice(0, -1)]) {
      const denied = await get(`${local}/metrics`, wrong);
      expect(denied).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
      expect(JSON.parse(denied.text)).toMatchObject({ status: 401, code: 'E_DENIED' });
      expect(denied.text).not.toContain(TOKEN);
    }
    expect((await get(`${local}/metrics`, TOKEN)).status).toBe(200);
    expect((await get(`${local}/readyz`, TOKEN)).text).toContain('"cluster":"prod"');
  });

  it('without a token, listens to this machine only', async () => {
    const byConfig = await startCli(['serve', '--config', await configure({ serve: { listen: '0.0.0.0:0' } })])
      .finished;
    expect(byConfig).toMatchObject({ code: 15, stdout: '' });
    expect(byConfig.stderr).toContain('serve.listen: open to other machines without a token');
    const byFlag = await startCli(['serve', '--config', await configure(), '--listen', '0.0.0.0:0']).finished;
    expect(byFlag).toMatchObject({ code: 15, stdout: '' });
    expect(byFlag.stderr).toContain('0.0.0.0 is open to other machines, and there is no serve.token');
  });

  it('does not start with a token that cannot be read', async () => {
    const { code, stderr } = await startCli([
      'serve',
      '--config',
      await configure({ serve: { token: 'env:NOT_THERE' } }),
    ]).finished;
    expect(code).toBe(15);
    expect(stderr).toContain('environment variable NOT_THERE is not set');
  });

  it('says what there is when something else is asked for', async () => {
    const url = await start();
    const { status, text, headers } = await get(`${url}/admin`);
    expect(status).toBe(404);
    expect(JSON.parse(text)).toMatchObject({
      code: 'E_NOT_FOUND',
      hint: 'there is /metrics, /healthz and /readyz, and the pages begin at /',
    });
    expect(headers).toMatchObject({
      'content-type': 'application/problem+json; charset=utf-8',
      'x-content-type-options': 'nosniff',
    });
  });
});

describe('start and stop', () => {
  it('refuses a port that is taken, and says which', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { code, stderr } = await startCli(['serve', '--config', await configure(), '--listen', `127.0.0.1:${port}`])
      .finished;
    other.close();
    expect(code).toBe(14);
    expect(stderr).toContain(`127.0.0.1:${port} cannot be listened on`);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('ends with 0 after %s, idle connections or not', async (signal) => {
    await scene.backup(ago(1));
    const url = await start();
    await eventually(`${url}/readyz`, ({ status }) => status === 200);
    const idle = connect(Number(new URL(url).port), '127.0.0.1');
    idle.on('error', () => undefined);
    await once(idle, 'connect');
    const began = performance.now();
    expect(await stop(signal)).toMatchObject({ code: 0, signal: null });
    expect(performance.now() - began).toBeLessThan(15_000);
    idle.destroy();
  });

  it('speaks JSON when asked to', async () => {
    const started = startCli(['serve', '--json', '--config', await configure()]);
    running = started;
    const [first] = (await once(started.child.stdout ?? started.child, 'data')) as [string];
    expect(JSON.parse(first)).toMatchObject({
      listening: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string,
    });
  });
});
