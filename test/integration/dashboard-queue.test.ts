/** What operators ask for on the pages ends in the queue of a real Redis, and in a backup by a real worker. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { followEvents, type Served, serveConfig } from '../support/serve-config.ts';
import { openApp } from '../support/strongroom-app.ts';
import { until } from '../support/until.ts';
import { WorkerScene } from '../support/worker-scene.ts';

const TOKEN = 'operator-token-of-the-test';
const never = new AbortController().signal;

async function serveScene(scene: WorkerScene): Promise<Served> {
  await writeFile(join(scene.world.directory, 'operator'), TOKEN, { mode: 0o600 });
  await scene.change((document) => {
    document['serve'] = { auth: { operatorToken: 'file:operator' }, allowActions: true, refreshEvery: '1s' };
  });
  return await serveConfig(scene.config);
}

const headers = { authorization: `Bearer ${TOKEN}`, 'x-strongroom-user': 'grace' };

describe('a backup that is asked for on the page', () => {
  it('stands in the queue with a name, is made by a worker, and is told of while it goes on', async () => {
    // Not due while the test runs, nor missed before: what is made was asked for.
    await using scene = await WorkerScene.open({ backup: { cron: '0 0 1 1 *' }, verify: { cron: '0 0 1 1 *' } });
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
    expect(await page('/runs')).toContain('>waits</td>');
    expect(await scene.snapshots()).toEqual([]);

    await using live = await followEvents(served.url, headers);
    expect(live.response.headers.get('content-type')).toBe('text/event-stream');
    const worker = scene.worker();
    await worker.says('run ended');
    await until('the stream tells of the end', async () => (live.text().includes('"kind":"ended"') ? true : undefined));
    expect(live.text()).toContain('"kind":"progress"');
    expect(live.text()).toContain('"cluster":"prod","job":"backup"');

    const [snapshot = ''] = await scene.snapshots();
    await using app = await openApp({ configFile: scene.config, env: {} });
    const records = await app.records('prod', never);
    const { names } = await records.runs(new Date(Date.now() - 86_400_000), never);
    const runs = await Promise.all(names.map((name) => records.readRun(name, never)));
    expect(runs).toContainEqual(
      expect.objectContaining({ door: 'command', outcome: 'done', snapshot, askedBy: 'grace' }),
    );
    expect(await page('/clusters/prod')).toContain(snapshot);

    // The worker takes what is asked for whoever asks: the record says who.
    const again = await fetch(`${served.url}/clusters/prod/ask`, {
      method: 'POST',
      headers: { ...headers, 'x-strongroom-user': 'ada' },
      body: new URLSearchParams({ job: 'verify' }),
    });
    expect(again.status).toBe(202);
    const verified = await until('the verify that ada asked for is recorded', async () => {
      const listed = await records.runs(new Date(Date.now() - 86_400_000), never);
      const found = await Promise.all(
        listed.names.filter(({ job }) => job === 'verify').map((name) => records.readRun(name, never)),
      );
      return found.find(({ askedBy }) => askedBy !== undefined);
    });
    expect(verified).toMatchObject({ job: 'verify', door: 'command', outcome: 'done', askedBy: 'ada' });
    expect(await page('/clusters/prod')).toContain('asked for by ada');
    expect(await page('/clusters/prod')).toContain('asked for by grace');
    await worker.end();
  });
});
