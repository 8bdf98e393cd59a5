/** Copies that are harmed in every way on real servers, versioned and not, and made again from the other one. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import type { Destination } from '../../src/backup/options.ts';
import { exitCodeOf } from '../../src/core/errors.ts';
import { collect } from '../../src/core/flow.ts';
import { snapshotTime } from '../../src/core/ids.ts';
import { KINDS, lookAtCopies } from '../../src/snapshots/presence.ts';
import { FileStore } from '../../src/store/file.ts';
import { type ObjectKey, type ObjectKind, objectKey } from '../../src/store/layout.ts';
import type { StoredObject } from '../../src/store/store.ts';
import { FailingS3 } from '../support/failing-s3.ts';
import { ReplicateTrial, type Snapshot } from '../support/replicate-trial.ts';
import { s3Client } from '../support/s3-connection.ts';
import { startVersityGw } from '../support/s3-servers.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { worldEnv } from '../support/world.ts';

const never = new AbortController().signal;
const other = inject('localStackMissing') === '' ? 'localstack' : 'versitygw';
const bucket = `replicate-${randomUUID()}`;

type Gateway = Awaited<ReturnType<typeof startVersityGw>>;
let gateway: Gateway;
let proxy: FailingS3;
/** to the versioned bucket of `a`, past the proxy */
let direct: S3Client;
let shelf: Shelf;
let trial: ReplicateTrial;
let older: Snapshot;
let hurt: Snapshot;

beforeAll(async () => {
  gateway = await startVersityGw();
  proxy = await FailingS3.start(gateway.endpoint);
  direct = s3Client(gateway);
  await gateway.createBucket(bucket, { versioning: true });
  const second = await sharedServer(other);
  await second.createBucket(bucket, { versioning: other === 'localstack' });
  const destinations = {
    a: { type: 's3', server: { ...gateway, endpoint: proxy.url }, bucket },
    b: { type: 's3', server: second, bucket, extra: other === 'versitygw' ? credentialsOf(second) : {} },
  } as const;
  shelf = await Shelf.open(destinations, worldEnv(gateway));
  trial = new ReplicateTrial(shelf);
  older = await shelf.publish();
});
afterAll(async () => {
  await shelf?.[Symbol.asyncDispose]();
  direct?.destroy();
  await proxy?.[Symbol.asyncDispose]();
  await gateway?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  hurt = await shelf.publish();
});
afterEach(() => proxy.reset());

function credentialsOf({ accessKeyId, secretAccessKey }: { accessKeyId: string; secretAccessKey: string }) {
  return { credentials: { accessKeyId, secretAccessKey } };
}

const storeOf = (name: 'a' | 'b'): Destination => {
  const found = shelf.deps.destinations.find(({ store }) => store.name === name);
  if (found === undefined) throw new Error(`no destination ${name}`);
  return found;
};
const keyOf = (kind: ObjectKind, { snapshot } = hurt) => objectKey(shelf.deps.cluster, kind, snapshot);
const fileOf = (kind: ObjectKind) => join(gateway.objects, bucket, keyOf(kind));
/** For good, version and all. */
async function remove(kind: ObjectKind, Key = keyOf(kind)): Promise<void> {
  const { VersionId } = await direct.send(new HeadObjectCommand({ Bucket: bucket, Key }));
  await direct.send(new DeleteObjectCommand({ Bucket: bucket, Key, VersionId }));
}
/** As anybody may who may delete: in a bucket with versions a marker lies over the object then. */
const hide = async (kind: ObjectKind, name: 'a' | 'b' = 'b'): Promise<void> => {
  await storeOf(name).store.delete(keyOf(kind), { signal: never });
};
const heads = async (name: 'a' | 'b', of = hurt): Promise<(StoredObject | null)[]> =>
  await Promise.all(KINDS.map((kind) => storeOf(name).store.head(keyOf(kind, of), { signal: never })));

/** Turns one bit of the file behind the object: what the server keeps of it, sums included, stays as it was. */
async function rot(kind: ObjectKind): Promise<void> {
  await using file = await open(fileOf(kind), 'r+');
  const { size } = await file.stat();
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, Math.floor(size / 2));
  await file.write(Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, Math.floor(size / 2));
}

/** Takes away every marker of the object, so that its newest version shows again. */
async function removeMarker(kind: ObjectKind): Promise<void> {
  const { DeleteMarkers = [] } = await direct.send(
    new ListObjectVersionsCommand({ Bucket: bucket, Prefix: keyOf(kind) }),
  );
  expect(DeleteMarkers).toHaveLength(1);
  for (const { Key, VersionId } of DeleteMarkers) {
    await direct.send(new DeleteObjectCommand({ Bucket: bucket, Key, VersionId }));
  }
}

/** In `b`, version and all. */
async function purge(kind: ObjectKind): Promise<void> {
  const { store } = storeOf('b');
  const { versionId } = (await store.head(keyOf(kind), { signal: never })) ?? {};
  await store.delete(keyOf(kind), { signal: never, ...(versionId === undefined ? {} : { versionId }) });
}

const overwrite = (kind: ObjectKind, Body: Buffer) =>
  direct.send(new PutObjectCommand({ Bucket: bucket, Key: keyOf(kind), Body }));

/** Repairs, proves that both copies are whole, and that there is nothing left to do. */
async function expectMended(wrote: ObjectKind[], from: 'a' | 'b' = 'b'): Promise<void> {
  const good = [await heads(from), await heads('a', older), await heads('b', older)];
  const result = await trial.run();
  expect(result.unmended.map(({ error }) => error.message)).toEqual([]);
  expect(result.repaired).toMatchObject([{ snapshot: hurt.snapshot, destination: from === 'b' ? 'a' : 'b', wrote }]);
  expect([await heads(from), await heads('a', older), await heads('b', older)]).toEqual(good);
  await trial.expectWhole(hurt);
  proxy.reset();
  expect(await trial.run()).toMatchObject({ repaired: [], cleared: [], unmended: [] });
  for (const operation of ['put', 'create', 'part', 'complete', 'delete'] as const) {
    expect(proxy.count(operation)).toBe(0);
  }
}

it('nothing is wrong: four listings, the proofs, and not one request more', async () => {
  proxy.reset();
  const result = await trial.run();
  expect(result).toMatchObject({ young: 0, repaired: [], cleared: [], unmended: [] });
  expect(proxy.calls.map(({ operation }) => operation)).toEqual(Array.from({ length: 5 }, () => 'list'));
});

describe('an object is gone', () => {
  it.each(KINDS)('%s', async (kind) => {
    await remove(kind);
    await expectMended([kind]);
  });

  it('all of them, by ordinary deletes', async () => {
    for (const kind of KINDS) await hide(kind);
    await expectMended(['keys', 'data', 'sigs', 'manifests'], 'a');
  });

  it('hidden by a delete marker in a store that writes over none: said in words that fit, and nothing is lost', async () => {
    await hide('data', 'a');
    const { repaired, unmended } = await trial.run();
    expect(repaired).toEqual([]);
    expect(unmended).toMatchObject([
      {
        snapshot: hurt.snapshot,
        destination: 'a',
        error: { code: 'E_STORE_CONFLICT', hint: expect.stringContaining('delete marker') as string },
      },
    ]);
    await removeMarker('data');
    await trial.expectWhole(hurt);
  });

  it('the manifest here and the signature there: each has what the other lacks', async () => {
    await remove('manifests');
    await hide('sigs');
    const { repaired } = await trial.run();
    expect(repaired).toMatchObject([
      { destination: 'a', wrote: ['manifests'] },
      { destination: 'b', wrote: ['sigs'] },
    ]);
    await trial.expectWhole(hurt);
  });
});

it('the bucket is emptied: every snapshot comes back, the newest first', async () => {
  const { Contents = [] } = await direct.send(new ListObjectsV2Command({ Bucket: bucket }));
  for (const { Key } of Contents) await remove('data', Key as ObjectKey);
  const { snapshots, repaired, unmended } = await trial.run();
  expect(unmended).toEqual([]);
  expect(repaired).toHaveLength(snapshots);
  expect(repaired.map(({ snapshot }) => snapshot)).toEqual(
    repaired
      .map(({ snapshot }) => snapshot)
      .sort()
      .reverse(),
  );
  for (const copy of repaired) expect(copy).toMatchObject({ destination: 'a', wrote: KINDS, proof: 'checksum' });
  await trial.expectWhole(older);
  await trial.expectWhole(hurt);
  const { names } = await (await trial.records()).proofs(never);
  const proven = names.filter(({ destination, verdict }) => destination === 'a' && verdict === 'good');
  expect(new Set(proven.map(({ snapshot }) => snapshot))).toEqual(new Set(repaired.map(({ snapshot }) => snapshot)));
  expect((await trial.run()).repaired).toEqual([]);
});

describe('the data is not what was signed', () => {
  it('something of the same length was put over it: read again, found, and put right above it', async () => {
    await overwrite('data', Buffer.alloc(hurt.ciphertext.bytes, 7));
    await expect(trial.readNewest()).rejects.toMatchObject({
      message: expect.stringContaining('was deleted or overwritten') as string,
    });
    await expectMended(['data']);
  });

  it('something shorter was put over it: the listing shows that', async () => {
    await overwrite('data', Buffer.from('short'));
    await expectMended(['data']);
  });

  it('the recorded version itself rotted: readers read the one that was put above it', async () => {
    await rot('data');
    const recorded = await heads('a');
    await expect(trial.readNewest()).rejects.toMatchObject({ code: 'E_STORE_CHECKSUM' });
    const manifest = hurt.destinations.find(({ name }) => name === 'a');
    expect(recorded[1]?.versionId).toBe(manifest?.status === 'stored' ? manifest.versionId : '');
    await expectMended(['data']);
    // That the bytes above are the right ones is told by the checksum: nothing had to be read for it.
    const seen = await lookAtCopies(await shelf.snapshots(), hurt, never);
    expect(seen.map(({ problems }) => problems)).toEqual([[], []]);
    // The store still keeps what was harmed, under its version.
    const version = recorded[1]?.versionId;
    if (version === undefined) throw new Error('a bucket with versions gave none');
    const kept = storeOf('a').store.get(keyOf('data'), { signal: never, versionId: version });
    expect(await collect(kept, 2 ** 24)).not.toEqual(
      await collect(storeOf('b').store.get(keyOf('data'), { signal: never }), 2 ** 24),
    );
  });

  it('the file behind it was cut off', async () => {
    await truncate(fileOf('data'), 1000);
    await expectMended(['data']);
  });
});

it('a small object is not what was signed: the manifest, the signature, the keys', async () => {
  await overwrite('manifests', Buffer.from('{"not":"ours"}'));
  await expectMended(['manifests']);
  await overwrite('sigs', Buffer.from('nobody'));
  await expectMended(['sigs']);
  await overwrite('keys', Buffer.from('{}'));
  await expectMended(['keys']);
});

it('a destination that came later gets everything, and what was never promised there is verified there', async () => {
  const directory = join(shelf.world.directory, 'later');
  await mkdir(directory);
  const later: Destination = { store: new FileStore({ name: 'later', directory }), lock: null };
  const three = new ReplicateTrial(shelf, [...shelf.deps.destinations, later]);
  const { snapshots, repaired, unmended } = await three.run();
  expect(unmended).toEqual([]);
  expect(repaired).toHaveLength(snapshots);
  await three.expectWhole(hurt);
  expect((await three.run()).repaired).toEqual([]);
  await three.expectWhole(older);
});

describe('the destination fails in the middle of it', () => {
  it('refuses the data: nothing of it is visible there, the other snapshots wait, and the next run does it', async () => {
    for (const kind of KINDS) await remove(kind);
    proxy.fail('part', { kind: 'answer', status: 403, code: 'AccessDenied' }, 99);
    const { repaired, unmended } = await trial.run();
    expect(repaired).toEqual([]);
    expect(unmended).toMatchObject([{ snapshot: null, destination: 'a', error: { code: 'E_STORE_DENIED' } }]);
    expect((await heads('a')).map((head) => head !== null)).toEqual([true, false, false, false]);
    proxy.reset();
    await expectMended(['data', 'sigs', 'manifests']);
  });

  it('dies before the manifest: the data is not sent again', async () => {
    for (const kind of KINDS) await remove(kind);
    const isManifest = ({ key }: { key: string }) => key.includes('/manifests/');
    proxy.fail('put', { kind: 'answer', status: 503, code: 'SlowDown' }, 99, isManifest);
    const { unmended } = await trial.run();
    expect(unmended).toMatchObject([{ destination: 'a', error: { code: 'E_STORE_THROTTLED' } }]);
    proxy.reset();
    await expectMended(['manifests']);
  });

  it('is away from the start: said once, and the other one is still mended from what is left', async () => {
    await hide('keys');
    proxy.fail('list', { kind: 'answer', status: 403, code: 'AccessDenied' }, 99);
    const { repaired, unmended } = await trial.run();
    expect(repaired).toEqual([]);
    expect(unmended[0]).toMatchObject({ snapshot: null, destination: 'a', error: { code: 'E_STORE_DENIED' } });
    // Only `a` has the keys: with it away they cannot be had, and that is said, too.
    expect(unmended[1]).toMatchObject({ snapshot: hurt.snapshot, destination: 'b', error: { code: 'E_NOT_FOUND' } });
    proxy.reset();
    await expectMended(['keys'], 'a');
  });
});

it('in a bucket that locks, what is put above is locked as long as the copy was to be, and no longer', async () => {
  const locked = `locked-${randomUUID()}`;
  await gateway.createBucket(locked, { objectLock: true });
  const extra = { objectLock: { mode: 'governance', keep: '3h' } };
  await using under = await Shelf.open(
    { a: { type: 's3', server: gateway, bucket: locked, extra }, b: { type: 'directory', path: 'b' } },
    worldEnv(gateway),
  );
  const manifest = await under.publish();
  const Key = objectKey(under.deps.cluster, 'data', manifest.snapshot);
  await direct.send(new PutObjectCommand({ Bucket: locked, Key, Body: Buffer.from('not it') }));
  const other = new ReplicateTrial(under);
  expect((await other.run()).repaired).toMatchObject([{ destination: 'a', wrote: ['data'], proof: 'checksum' }]);
  await other.expectWhole(manifest);
  const head = await under.deps.destinations[0]?.store.head(Key, { signal: never });
  const meant = snapshotTime(manifest.snapshot).getTime() + 3 * 3_600_000;
  expect(head?.lock?.mode).toBe('governance');
  expect(Math.abs((head?.lock?.until.getTime() ?? 0) - meant)).toBeLessThan(60_000);
});

it('the data is gone here, and rotten there but for a version that something was put over: that one is found', async () => {
  await overwrite('data', Buffer.alloc(100));
  await hide('data');
  const { repaired } = await trial.run();
  expect(repaired).toMatchObject([
    { destination: 'a', wrote: ['data'] },
    { destination: 'b', wrote: ['data'] },
  ]);
  await trial.expectWhole(hurt);
});

it('the data is whole nowhere: exit 13 in the end, after the others were mended', async () => {
  await rot('data');
  for (const kind of KINDS) await purge(kind);
  const beyond = hurt;
  hurt = await shelf.publish();
  await remove('sigs');
  const e: unknown = await trial.run().catch((failure: unknown) => failure);
  expect(e).toMatchObject({ code: 'E_STORE_CHECKSUM', details: { lost: [beyond.snapshot], repaired: 1 } });
  expect(exitCodeOf(e)).toBe(13);
  await trial.expectWhole(hurt);
  hurt = beyond;
  // No manifest over data that is not there.
  expect((await heads('b')).map((head) => head !== null)).toEqual([true, false, false, false]);
  for (const kind of KINDS) await remove(kind);
  await hide('keys');
});
