/** A versioned bucket that keeps no checksums, beside a directory: what is shown can be told from what is hidden by reading only. */
import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { objectKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import { ReplicateTrial, type Snapshot } from '../support/replicate-trial.ts';
import { s3Client } from '../support/s3-connection.ts';
import { startVersityGw } from '../support/s3-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { worldEnv } from '../support/world.ts';

const never = new AbortController().signal;
const bucket = `plain-${randomUUID()}`;

let gateway: Awaited<ReturnType<typeof startVersityGw>>;
let client: S3Client;
let shelf: Shelf;
let trial: ReplicateTrial;
let hurt: Snapshot;

beforeAll(async () => {
  gateway = await startVersityGw();
  client = s3Client(gateway);
  await gateway.createBucket(bucket, { versioning: true });
  const a = { type: 's3', server: gateway, bucket, extra: { checksum: 'none' } } as const;
  const schedule = { schedule: { backup: { cron: '0 6 * * *' }, report: { cron: '@monthly' } } };
  shelf = await Shelf.open({ a, b: { type: 'directory', path: 'b' } }, worldEnv(gateway), schedule);
  trial = new ReplicateTrial(shelf);
});
afterAll(async () => {
  await shelf?.[Symbol.asyncDispose]();
  client?.destroy();
  await gateway?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  hurt = await shelf.publish();
});

const Key = () => objectKey(shelf.deps.cluster, 'data', hurt.snapshot);
const storeA = (): Store => {
  const [a] = shelf.deps.destinations;
  if (a === undefined) throw new Error('no destination');
  return a.store;
};

async function expectMended(): Promise<void> {
  await expect(trial.readNewest()).rejects.toThrow();
  const before = await storeA().head(Key(), { signal: never });
  const { repaired, unmended } = await trial.run();
  expect(unmended).toEqual([]);
  expect(repaired).toMatchObject([{ snapshot: hurt.snapshot, destination: 'a', wrote: ['data'], proof: 'read' }]);
  const after = await storeA().head(Key(), { signal: never });
  expect(after?.sha256).toBeUndefined();
  expect(after?.versionId).not.toBe(before?.versionId);
  await trial.expectWhole(hurt);
  expect(await trial.run()).toMatchObject({ repaired: [], cleared: [], unmended: [] });
}

describe('the version that is put right above', () => {
  it('a recorded one that rotted is the one that is read', async () => {
    await using file = await open(join(gateway.objects, bucket, Key()), 'r+');
    await file.write(Buffer.alloc(64, 7), 0, 64, 20_000);
    await expectMended();
  });

  it('something else is the one that is read, and the recorded one was until then', async () => {
    const Body = Buffer.alloc(hurt.ciphertext.bytes, 7);
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: Key(), Body }));
    await expectMended();
  });
});

describe('on the command line', () => {
  const run = (...args: string[]) =>
    runCli(['job', 'run', ...args, '--config', shelf.app.configFile], { env: shelf.app.env });

  it('replicate says that it leaves a backup of this hour alone', async () => {
    await storeA().delete(Key(), { signal: never });
    const { code, stdout } = await run('replicate');
    expect(stdout.split('\n')[0]).toBe('nothing was compared: 0 snapshots, 0 copies made again');
    expect(stdout).toMatch(/left alone {2}\d+: younger than 1h/);
    expect(code).toBe(0);
  });

  it('report is a page of Markdown, and a document with --json', async () => {
    const page = await run('report');
    expect(page).toMatchObject({ code: 0 });
    expect(page.stdout).toMatch(/^# prod: \d{4}-\d\d/);
    expect(page.stdout).toMatch(/\n## Due next\n\n- (backup|report): /);
    const json = await run('report', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      cluster: 'prod',
      lacks: [],
      copies: { proven: expect.any(Number) as number },
      next: expect.arrayContaining([{ job: 'backup', due: expect.stringMatching(/T06:00:00/) as string }]) as unknown,
    });
  });
});
