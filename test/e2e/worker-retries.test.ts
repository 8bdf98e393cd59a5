/** What a worker tries again, and what it does not: as the error says. */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { FailingS3 } from '../support/failing-s3.ts';
import { startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { startKms } from '../support/kms-emulator.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { type RunningWorker, WorkerScene } from '../support/worker-scene.ts';
import { worldEnv } from '../support/world.ts';

const LONG_AGO = { backup: { cron: '30 4 1 1 *' } };
const LOOKED = 'looked for missed runs';
const MISSED = 'a run was missed; it is made up for now';
type Document = Record<string, unknown>;

function clusterOf(document: Document): Document {
  return (document['clusters'] as Record<string, Document>)['prod'] as Document;
}

/** Fails with `code`, is not tried again, and not taken for missed either. */
async function failsOnce(worker: RunningWorker, code: string): Promise<void> {
  const { willRetry, err } = await worker.says('run failed');
  expect([willRetry, (err as { code: string }).code]).toEqual([false, code]);
  await worker.saysAgain(LOOKED, 5);
  expect(worker.count('run started')).toBe(1);
  expect((await worker.end()).code).toBe(0);
}

/** Fails with something that may pass; once `mend` is done, a later try makes the backup. */
async function isTriedAgain(
  worker: RunningWorker,
  scene: WorkerScene,
  codes: string[],
  mend: () => unknown,
): Promise<void> {
  const { willRetry, err } = await worker.says('run failed');
  expect(willRetry).toBe(true);
  expect(codes).toContain((err as { code: string }).code);
  await mend();
  await worker.says('run ended');
  expect((await worker.end()).code).toBe(0);
  expect(await scene.snapshots()).toHaveLength(1);
}

it.concurrent('a wrong password: one login, and no second one', async () => {
  await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
  await using http = await startHttpFaultProxy(scene.cluster.first.url);
  await scene.cluster.call('POST', 'sys/auth/userpass', { type: 'userpass' });
  await scene.cluster.call('POST', 'auth/userpass/users/backup', { password: 'right', token_policies: ['strongroom'] });
  await scene.change((document) => {
    const cluster = clusterOf(document);
    cluster['nodes'] = [http.url];
    cluster['auth'] = { method: 'userpass', username: 'backup', password: 'env:VAULT_PASSWORD' };
  });
  const logins = () => http.requests.filter((line) => line.includes('auth/userpass/login')).length;
  await failsOnce(scene.worker({ VAULT_PASSWORD: 'wrong' }), 'E_VAULT_LOGIN');
  expect(logins()).toBe(1);
});

it.concurrent('a node that is down: tried again, with time between', async () => {
  await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
  await scene.proxy.set({ kind: 'refuse' });
  const worker = scene.worker();
  await isTriedAgain(worker, scene, ['E_VAULT_UNREACHABLE', 'E_NO_ACTIVE_NODE', 'E_QUORUM_LOST'], () =>
    scene.proxy.set({ kind: 'pass' }),
  );
  const timesOf = (what: string): number[] =>
    worker.lines.filter(({ msg }) => msg === what).map(({ time }) => Date.parse(String(time)));
  const [started, failed] = [timesOf('run started'), timesOf('run failed')];
  expect(started).toHaveLength(2);
  // Half of 30 s at least, from the failure to the second try.
  expect((started[1] ?? 0) - (failed[0] ?? 0)).toBeGreaterThan(14_000);
});

it.concurrent('a try that Redis forgot: made by the next look, once', async () => {
  await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
  await scene.proxy.set({ kind: 'refuse' });
  const worker = scene.worker();
  const { willRetry } = await worker.says('run failed');
  expect(willRetry).toBe(true);
  await worker.saysAgain(LOOKED, 2);
  expect(worker.count(MISSED)).toBe(1);
  await scene.proxy.set({ kind: 'pass' });
  await scene.redis.flush();
  await worker.says('run ended');
  await worker.saysAgain(LOOKED, 3);
  expect(worker.count('run started')).toBe(2);
  // The due time was told of as missed before, and is missed once.
  expect(worker.count(MISSED)).toBe(1);
  expect((await worker.end()).code).toBe(0);
  expect(await scene.snapshots()).toHaveLength(1);
});

it.concurrent('a key that may not be used: not tried again', async () => {
  await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
  await using kms = await startKms();
  const keyId = kms.createKey({ region: 'eu-central-1' });
  kms.fail({ with: 'AccessDeniedException' });
  const credentials = { accessKeyId: 'env:WORLD_KMS_ID', secretAccessKey: 'env:WORLD_KMS_SECRET' };
  await scene.change((document) => {
    document['encryption'] = { kms: [{ keyId, endpoint: kms.url, credentials }], breakGlass: [scene.world.recipient] };
  });
  await failsOnce(scene.worker(worldEnv({ accessKeyId: '', secretAccessKey: '' })), 'E_KEY_UNAVAILABLE');
});

it.concurrent('a store that is too busy: tried again', async () => {
  await using scene = await WorkerScene.open(LONG_AGO, { lookEvery: '1s' });
  const server = await sharedServer('versitygw');
  await using s3 = await FailingS3.start(server.endpoint);
  const bucket = `busy-${randomUUID()}`;
  await server.createBucket(bucket);
  await scene.change((document) => {
    document['destinations'] = {
      a: {
        type: 's3',
        bucket,
        region: server.region,
        endpoint: s3.url,
        forcePathStyle: true,
        credentials: { accessKeyId: 'env:WORLD_S3_ID', secretAccessKey: 'env:WORLD_S3_SECRET' },
      },
    };
    clusterOf(document)['destinations'] = ['a'];
  });
  for (const operation of ['create', 'part', 'complete'] as const) {
    s3.fail(operation, { kind: 'answer', status: 503, code: 'SlowDown' }, 10_000);
  }
  const env = worldEnv(server);
  const worker = scene.worker(env);
  const { willRetry, err } = await worker.says('run failed');
  expect(willRetry, JSON.stringify(err)).toBe(true);
  s3.reset();
  await worker.says('run ended');
  expect((await worker.end()).code).toBe(0);
});
