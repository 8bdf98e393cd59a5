/** What operators ask for on the pages ends in the queue of a real Redis, and in a backup by a real worker. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { silentLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import { serve } from '../../src/watch/serve.ts';
import { openApp } from '../support/strongroom-app.ts';
import { until } from '../support/until.ts';
import { WorkerScene } from '../support/worker-scene.ts';

const TOKEN = 'operator-token-of-the-test';
const never = new AbortController().signal;

type Served = AsyncDisposable & { url: string };

async function serveScene(scene: WorkerScene): Promise<Served> {
  await writeFile(join(scene.world.directory, 'operator'), TOKEN, { mode: 0o600 });
  await scene.change((document) => {
    document['serve'] = { auth: { operatorToken: 'file:operator' }, allowActions: true, refreshEvery: '1s' };
  });
  const load = () => loadConfig(scene.config, { env: {} });
  const stop = new AbortController();
  const listening = Promise.withResolvers<string>();
  const options = {
    config: await load(),
    load,
    listen: { host: '127.0.0.1', port: 0 },
    clock: systemClock,
    log: silentLog,
    onListening: listening.resolve,
  };
  const served = serve(options, stop.signal);
  served.catch(listening.reject);
  const url = await listening.promise;
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await served;
    },
  };
}

const headers = { authorization: `Bearer ${TOKEN}`, 'x-strongroom-user': 'grace' };

describe('a backup that is asked for on the page', () => {
  it('stands in the queue with a name, is made by a worker, and is told of while it goes on', async () => {
    // Not due while the test runs, nor missed before: what is made was asked for.
    await using scene = await WorkerScene.open({ backup: { cron: '0 0 1 1 *' } });
    await using served = await serveScene(scene);
    const page = async (path: string): Promise<string> => await (await fetch(served.url + path, { headers })).text();

    const asked = await fetch(`${served.url}/clusters/prod/ask`, {
      method: 'POST',
      headers,
      body: new URLSearchParams({ job: 'backup' }),
    });
    expect(asked.status).toBe(202);
    expect(await asked.text()).toContain('It is not done yet');
    const keys = (await scene.redis.command('keys', 'strongroom:backup:*')) as string[];
    const jobs = keys.filter((key) => /:\d+$/.test(key));
    const datas = await Promise.all(jobs.map((key) => scene.redis.command('hget', key, 'data')));
    expect(datas.join()).toContain('"askedBy":"grace"');
    expect(await page('/runs')).toContain('<td>waits</td>');
    expect(await scene.snapshots()).toEqual([]);

    const events: string[] = [];
    const stream = new AbortController();
    const live = await fetch(`${served.url}/events`, { headers, signal: stream.signal });
    expect(live.headers.get('content-type')).toBe('text/event-stream');
    const reading = (async () => {
      for await (const chunk of live.body ?? []) events.push(Buffer.from(chunk).toString());
    })().catch(() => undefined);
    const worker = scene.worker();
    await worker.says('run ended');
    await until('the stream tells of the end', async () =>
      events.join('').includes('"kind":"ended"') ? true : undefined,
    );
    expect(events.join('')).toContain('"kind":"progress"');
    expect(events.join('')).toContain('"cluster":"prod","job":"backup"');

    const [snapshot = ''] = await scene.snapshots();
    await using app = await openApp({ configFile: scene.config, env: {} });
    const records = await app.records('prod', never);
    const { names } = await records.runs(new Date(Date.now() - 86_400_000), never);
    const runs = await Promise.all(names.map((name) => records.readRun(name, never)));
    expect(runs).toContainEqual(expect.objectContaining({ door: 'command', outcome: 'done', snapshot }));
    expect(await page('/clusters/prod')).toContain(snapshot);
    stream.abort();
    await reading;
    await worker.end();
  });
});
