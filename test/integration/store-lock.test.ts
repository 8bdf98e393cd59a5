/** Object locks: a bucket without one is found before anything is sent, and with one nothing can be taken away. */
import { randomUUID } from 'node:crypto';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Destination } from '../../src/backup/options.ts';
import { clearTraces } from '../../src/backup/sweep.ts';
import { collect } from '../../src/core/flow.ts';
import { newSnapshotId, type SnapshotId } from '../../src/core/ids.ts';
import { KINDS, lookAtCopies } from '../../src/snapshots/presence.ts';
import { verifySnapshot } from '../../src/snapshots/verify.ts';
import { objectKey } from '../../src/store/layout.ts';
import type { PutOptions } from '../../src/store/store.ts';
import { inBucket } from '../support/backup-trial.ts';
import { FailingS3 } from '../support/failing-s3.ts';
import { never } from '../support/faulty-store.ts';
import type { BucketOptions, S3Server } from '../support/s3-connection.ts';
import { type OpenedS3Store, openS3Store } from '../support/s3-store.ts';
import { type SharedName, sharedServer } from '../support/shared-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { worldEnv } from '../support/world.ts';

const KEEP_MS = 3_600_000;
const RETRY = { attempts: 2, baseMs: 1, maxMs: 1 };
const servers: SharedName[] = inject('localStackMissing') === '' ? ['versitygw', 'localstack'] : ['versitygw'];
const lock = (): NonNullable<PutOptions['lock']> => ({ mode: 'governance', until: new Date(Date.now() + KEEP_MS) });

describe.each(servers)('the probe of %s', (name) => {
  let server: S3Server;
  beforeAll(async () => {
    server = await sharedServer(name);
  });

  async function probe(bucketOptions: BucketOptions, fault?: (proxy: FailingS3) => void): Promise<unknown> {
    await using proxy = await FailingS3.start(server.endpoint);
    await using opened = await openS3Store(server, bucketOptions, { via: proxy.url, retry: RETRY, prefix: '' });
    fault?.(proxy);
    const e: unknown = await opened.store.probeWrite('v1/', { signal: never, lock: lock() }).catch((e_: unknown) => e_);
    proxy.reset();
    // A bucket that takes the upload and one that refuses it: nothing of it is left.
    expect(await inBucket(server, opened.bucket)).toEqual({ objects: [], uploads: [] });
    // Without a lock, any of them will do.
    await opened.store.probeWrite('v1/', { signal: never });
    return e;
  }

  it.each([
    ['without versions', {}],
    ['with versions alone', { versioning: true }],
  ])('refuses a bucket %s that is to keep a lock', async (_name, bucketOptions) => {
    expect(await probe(bucketOptions)).toMatchObject({
      code: 'E_PRECONDITION',
      retryable: false,
      message: expect.stringContaining('the bucket has no object lock') as string,
      hint: 'make the bucket with object lock enabled, or take objectLock out of this destination',
    });
  });

  it('takes a bucket with object lock', async () => {
    expect(await probe({ objectLock: true })).toBeUndefined();
  });

  it.each([
    ['may not be asked', 403, 'AccessDenied'],
    ['does not know the question', 501, 'NotImplemented'],
  ])('goes on where the configuration %s: every put looks again', async (_name, status, code) => {
    const fault = (proxy: FailingS3) => proxy.fail('other', { kind: 'answer', status, code }, 9);
    expect(await probe({ objectLock: true }, fault)).toBeUndefined();
  });

  it('names the right that is missing for the lock', async () => {
    const fault = (proxy: FailingS3) => proxy.fail('create', { kind: 'answer', status: 403, code: 'AccessDenied' }, 9);
    expect(await probe({ objectLock: true }, fault)).toMatchObject({
      code: 'E_STORE_DENIED',
      hint: expect.stringContaining('s3:PutObjectRetention') as string,
    });
  });
});

describe('a bucket that locks', () => {
  let server: S3Server;
  let shelf: Shelf;
  let locked: OpenedS3Store;
  let destination: Destination;
  const bucket = `locked-${randomUUID()}`;

  beforeAll(async () => {
    server = await sharedServer('versitygw');
    await server.createBucket(bucket, { objectLock: true });
    const extra = { objectLock: { mode: 'governance', keep: '1h' } };
    shelf = await Shelf.open({ primary: { type: 's3', server, bucket, extra } }, worldEnv(server));
    locked = await openS3Store(server, {}, { bucket, prefix: '', retry: RETRY });
    const [configured] = shelf.deps.destinations;
    if (configured === undefined) throw new Error('one destination is configured');
    expect(configured.lock).toEqual({ mode: 'governance', keepMs: KEEP_MS });
    destination = { ...configured, store: locked.store };
  });
  afterAll(async () => {
    await locked?.[Symbol.asyncDispose]();
    await shelf?.[Symbol.asyncDispose]();
  });

  const keysOf = (id: SnapshotId) => KINDS.map((kind) => objectKey(shelf.deps.cluster, kind, id));

  it('locks all four objects, and gives none of them back', async () => {
    const { snapshot, destinations } = await shelf.publish({ destinations: [destination] });
    expect(destinations).toMatchObject([{ status: 'stored', lock: { mode: 'governance' } }]);
    for (const key of keysOf(snapshot)) {
      const before = await locked.store.head(key, { signal: never });
      expect(before?.lock?.until.getTime()).toBeGreaterThan(Date.now() + KEEP_MS - 60_000);
      const { versionId } = before ?? {};
      if (versionId === undefined) throw new Error('a locked object without a version');
      await expect(locked.store.delete(key, { signal: never, versionId })).rejects.toMatchObject({
        code: 'E_STORE_LOCKED',
        retryable: false,
        message: expect.stringMatching(/locked in governance mode until 20|an object lock forbids it/) as string,
        hint: expect.stringContaining('wait until the lock ends') as string,
      });
      // Written once: neither is it overwritten.
      const put = { signal: never, condition: 'absent', contentType: 'text/plain' } as const;
      await expect(locked.store.put(key, Buffer.from('other'), put)).rejects.toMatchObject({
        code: 'E_STORE_CONFLICT',
      });
      expect(await locked.store.head(key, { signal: never })).toEqual(before);
    }
  });

  it('keeps what a run left that never published: it is told, tried once, and never seen', async () => {
    const warnings: unknown[] = [];
    const log = { ...shelf.deps.log, warn: (...args: unknown[]) => warnings.push(args) };
    const orphan = newSnapshotId(new Date());
    const put = { signal: never, condition: 'absent', contentType: 'text/plain', lock: lock() } as const;
    for (const kind of ['keys', 'data'] as const) {
      await locked.store.put(objectKey(shelf.deps.cluster, kind, orphan), Buffer.from(kind), put);
    }
    const catalogue = await shelf.catalogue([locked.store]);
    const deps = { ...shelf.deps, catalogue, destinations: [destination], log };
    const traces = await clearTraces(deps, orphan, { isLast: true }, never);
    // A lock lasts longer than anybody waits: no note is kept for it.
    expect(traces).toMatchObject({ published: false, removed: [], incomplete: false });
    expect(JSON.stringify(warnings)).toContain('E_STORE_LOCKED');
    expect((await catalogue.list(never)).entries.map(({ snapshot }) => snapshot)).not.toContain(orphan);
    await expect(catalogue.read(orphan, never)).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      message: expect.stringContaining('its data is in primary') as string,
    });
  });

  describe('and somebody who may write to it', () => {
    it.each([
      ['hides the data behind a delete marker', ['data']],
      ['puts something else over the data', []],
    ])('%s: show and verify tell, and the locked version is read', async (what, lacks) => {
      const manifest = await shelf.publish({ destinations: [destination] });
      const Key = objectKey(shelf.deps.cluster, 'data', manifest.snapshot);
      const at = { Bucket: bucket, Key };
      if (what.startsWith('hides')) await locked.client.send(new DeleteObjectCommand(at));
      else await locked.client.send(new PutObjectCommand({ ...at, Body: Buffer.alloc(manifest.ciphertext.bytes) }));

      const deps = await shelf.snapshots([locked.store]);
      const problem = { code: 'E_NOT_FOUND', message: expect.stringMatching(/kept as version \S+$/) as string };
      const [seen] = await lookAtCopies(deps, manifest, never);
      expect(seen?.lacks).toEqual(lacks);
      expect(seen?.problems[0]).toMatchObject(problem);
      const { copies } = await verifySnapshot(deps, manifest, never);
      expect(copies).toMatchObject([{ level: 'archive', error: problem }]);
      const verify = await runCli(['snapshots', 'verify', manifest.snapshot, '--config', shelf.app.configFile], {
        env: shelf.app.env,
      });
      expect(verify.code).toBe(10);
      expect(verify.stdout).toMatch(/primary: whole: .*was deleted or overwritten/);
    });
  });

  it('a copy of the bucket elsewhere, whose versions are others, is read as it is', async () => {
    const manifest = await shelf.publish({ destinations: [destination] });
    await using elsewhere = await openS3Store(server, { versioning: true }, { prefix: '', retry: RETRY });
    const put = { signal: never, condition: 'absent', contentType: 'text/plain' } as const;
    for (const key of keysOf(manifest.snapshot)) {
      await elsewhere.store.put(key, await collect(locked.store.get(key, { signal: never }), 2 ** 20), put);
    }
    const { copies } = await verifySnapshot(await shelf.snapshots([elsewhere.store]), manifest, never);
    expect(copies).toMatchObject([{ level: 'archive', lacks: [], error: null }]);
  });
});
