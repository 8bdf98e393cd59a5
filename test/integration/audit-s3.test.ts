/** Audit and holds on real buckets with versions and object lock: what a directory does not have. */
import { randomUUID } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { collect } from '../../src/core/flow.ts';
import { newSnapshotId, type SnapshotId } from '../../src/core/ids.ts';
import { type HoldDeps, holdSnapshot, releaseSnapshot } from '../../src/snapshots/hold.ts';
import { KINDS } from '../../src/snapshots/presence.ts';
import { type ObjectKind, objectKey } from '../../src/store/layout.ts';
import { bufferBody } from '../../src/store/parts.ts';
import type { Store } from '../../src/store/store.ts';
import { Audited, DAY_MS, findingsOf } from '../support/audited.ts';
import { FailingS3 } from '../support/failing-s3.ts';
import { type S3Server, s3Client } from '../support/s3-connection.ts';
import { type SharedName, sharedServer } from '../support/shared-servers.ts';
import { worldEnv } from '../support/world.ts';

const never = new AbortController().signal;
const servers: SharedName[] = inject('localStackMissing') === '' ? ['versitygw', 'localstack'] : ['versitygw'];

describe.each(servers)('on %s', (name) => {
  let server: S3Server;
  let proxy: FailingS3;
  let client: S3Client;
  let on: Audited;
  let ids: readonly SnapshotId[];
  let locked: Store;
  let plain: Store;
  const buckets = { locked: `audit-locked-${randomUUID()}`, plain: `audit-plain-${randomUUID()}` };

  beforeAll(async () => {
    server = await sharedServer(name);
    await server.createBucket(buckets.locked, { objectLock: true });
    await server.createBucket(buckets.plain, { versioning: true });
    proxy = await FailingS3.start(server.endpoint);
    client = s3Client(server);
    on = await Audited.create(
      {
        locked: { type: 's3', server, bucket: buckets.locked },
        plain: { type: 's3', server: { ...server, endpoint: proxy.url }, bucket: buckets.plain },
      },
      worldEnv(server),
    );
    ids = on.ids;
    const [a, b] = on.stores;
    if (a === undefined || b === undefined) throw new Error('two destinations');
    [locked, plain] = [a, b];
  });
  afterAll(async () => {
    await on?.[Symbol.asyncDispose]();
    client?.destroy();
    await proxy?.[Symbol.asyncDispose]();
  });
  afterEach(() => proxy.reset());

  const idAt = (i: number): SnapshotId => ids[i] ?? newSnapshotId(new Date());
  const keyOf = (kind: ObjectKind, id: SnapshotId) => objectKey(on.shelf.deps.cluster, kind, id);
  const found = async (options: Parameters<Audited['audit']>[0] = {}) => findingsOf(await on.audit(options));

  it('what nobody touched is right, but for the hold that a record alone set', async () => {
    // The shelf writes the record and no legal hold, as a failure right behind it would.
    expect(await found({ isDeep: true })).toEqual([`hold-ineffective locked ${idAt(0)}`]);
  });

  describe('a hold', () => {
    const deps = async (): Promise<HoldDeps> => ({
      catalogue: await on.shelf.catalogue(on.stores),
      records: on.records,
      stores: on.stores,
      clock: { now: () => new Date() },
    });
    const legalHolds = async (id: SnapshotId): Promise<unknown[]> =>
      Promise.all(KINDS.map((kind) => locked.legalHold(keyOf(kind, id), { signal: never })));
    const request = { who: 'ben', why: 'the auditors', until: null };

    it('sets legal holds where the bucket has them, and says where there are none', async () => {
      const { legalHolds: outcomes } = await holdSnapshot(await deps(), idAt(0), request, never);
      expect(outcomes).toEqual([
        { destination: 'locked', isSupported: true, changed: 4, error: null },
        { destination: 'plain', isSupported: false, changed: 0, error: null },
      ]);
      expect(await legalHolds(idAt(0))).toEqual([true, true, true, true]);
      expect(await found()).toEqual([]);
      for (const kind of KINDS) {
        const { versionId } = (await locked.head(keyOf(kind, idAt(0)), { signal: never })) ?? {};
        if (versionId === undefined) throw new Error('no version');
        await expect(locked.delete(keyOf(kind, idAt(0)), { signal: never, versionId })).rejects.toMatchObject({
          code: 'E_STORE_LOCKED',
        });
      }
    });

    it('is missed where somebody lifts one of them, and set again by another hold', async () => {
      await locked.setLegalHold(keyOf('data', idAt(0)), false, { signal: never });
      const { findings } = await on.audit();
      expect(findings).toMatchObject([
        { kind: 'hold-ineffective', message: expect.stringMatching(/: data$/) as string },
      ]);
      const {
        legalHolds: [outcome],
      } = await holdSnapshot(await deps(), idAt(0), request, never);
      expect(outcome).toMatchObject({ changed: 1 });
      expect(await found()).toEqual([]);
    });

    it('that is over leaves its legal holds until it is released', async () => {
      const until = new Date(Date.now() + DAY_MS);
      await holdSnapshot(await deps(), idAt(0), { ...request, until }, never);
      expect(await found()).toEqual([]);
      expect(await found({ now: until })).toEqual([`hold-left locked ${idAt(0)}`]);
      const {
        legalHolds: [outcome],
      } = await releaseSnapshot(await deps(), idAt(0), request, never);
      expect(outcome).toMatchObject({ destination: 'locked', changed: 4 });
      expect(await legalHolds(idAt(0))).toEqual([false, false, false, false]);
      expect(await found({ now: until })).toEqual([]);
    });

    it('that was released, and whose legal holds are left, is released again; those of others are not touched', async () => {
      await locked.setLegalHold(keyOf('keys', idAt(0)), true, { signal: never });
      const { record, legalHolds: outcomes } = await releaseSnapshot(await deps(), idAt(0), request, never);
      expect([record, outcomes[0]?.changed]).toEqual([null, 1]);
      await locked.setLegalHold(keyOf('data', idAt(1)), true, { signal: never });
      await expect(releaseSnapshot(await deps(), idAt(1), request, never)).rejects.toMatchObject({
        code: 'E_PRECONDITION',
      });
      expect(await locked.legalHold(keyOf('data', idAt(1)), { signal: never })).toBe(true);
      await locked.setLegalHold(keyOf('data', idAt(1)), false, { signal: never });
      expect(await found()).toEqual([]);
    });

    it('keeps the version that was stored, also when something was put over it', async () => {
      const key = keyOf('data', idAt(1));
      const stored = await locked.head(key, { signal: never });
      await client.send(new PutObjectCommand({ Bucket: buckets.locked, Key: key, Body: 'something else' }));
      await holdSnapshot(await deps(), idAt(1), request, never);
      const versionId = stored?.versionId ?? '';
      expect(await locked.legalHold(key, { signal: never, versionId })).toBe(true);
      await releaseSnapshot(await deps(), idAt(1), request, never);
      expect(await locked.legalHold(key, { signal: never, versionId })).toBe(false);
      const { versionId: over } = (await locked.head(key, { signal: never })) ?? {};
      if (over === undefined) throw new Error('no version');
      await locked.delete(key, { signal: never, versionId: over });
      expect(await locked.head(key, { signal: never })).toMatchObject({ versionId, bytes: stored?.bytes });
    });
  });

  describe('data', () => {
    it.each(['locked', 'plain'] as const)(
      'that was hidden or written over in %s is told, with the version that is kept',
      async (destination) => {
        const Key = keyOf('data', idAt(2));
        const at = { Bucket: buckets[destination], Key };
        const store = destination === 'locked' ? locked : plain;
        const before = await store.head(Key, { signal: never });
        const kept = { message: expect.stringContaining(`kept as version ${before?.versionId}`) as string };

        const hidden = await client.send(new DeleteObjectCommand(at));
        expect((await on.audit()).findings).toMatchObject([{ kind: 'data-missing', destination, ...kept }]);
        await client.send(new DeleteObjectCommand({ ...at, VersionId: hidden.VersionId }));

        const over = await client.send(new PutObjectCommand({ ...at, Body: Buffer.alloc(before?.bytes ?? 0) }));
        expect((await on.audit()).findings).toMatchObject([{ kind: 'data-rewritten', destination, ...kept }]);
        await client.send(new DeleteObjectCommand({ ...at, VersionId: over.VersionId }));
        expect(await found()).toEqual([]);
      },
    );

    it('that was copied back with its checksum is right without a reading', async () => {
      const key = keyOf('data', idAt(2));
      const { manifest } = await (await on.shelf.catalogue(on.stores)).read(idAt(2), never);
      const bytes = await collect(plain.get(key, { signal: never }), 2 ** 24);
      await plain.delete(key, { signal: never });
      const { versionId, ...put } = await plain
        .put(key, bufferBody(bytes, manifest.ciphertext.partSize), {
          signal: never,
          condition: 'absent',
          contentType: 'application/octet-stream',
        })
        .catch(async () => {
          // This store takes a delete marker for an object: then over it.
          const response = await client.send(
            new PutObjectCommand({ Bucket: buckets.plain, Key: key, Body: bytes, ChecksumAlgorithm: 'SHA256' }),
          );
          return { versionId: response.VersionId, bytes: bytes.byteLength };
        });
      expect(put.bytes).toBe(manifest.ciphertext.bytes);
      expect(versionId).toBeDefined();
      expect(await found()).toEqual([]);
    });
  });

  it('a manifest that is hidden everywhere is missed by the one after it', async () => {
    const hidden: { Bucket: string; Key: string; VersionId: string | undefined }[] = [];
    for (const Bucket of Object.values(buckets)) {
      for (const kind of KINDS) {
        const at = { Bucket, Key: keyOf(kind, idAt(1)) };
        hidden.push({ ...at, VersionId: (await client.send(new DeleteObjectCommand(at))).VersionId });
      }
    }
    expect(await found()).toEqual([`taken-away ${idAt(1)}`]);
    for (const marker of hidden) await client.send(new DeleteObjectCommand(marker));
    expect(await found()).toEqual([]);
  });

  it('an upload that never ended is told by its age', async () => {
    const at = { Bucket: buckets.plain, Key: keyOf('data', newSnapshotId(new Date())) };
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(at));
    expect(await found()).toEqual(['uploading plain']);
    expect(await found({ now: new Date(Date.now() + DAY_MS + 60_000) })).toEqual(['unfinished plain']);
    await client.send(new AbortMultipartUploadCommand({ ...at, UploadId }));
    expect(await found()).toEqual([]);
  });

  it('a destination that refuses its listings is no good end, and nothing is said to be missing for it', async () => {
    proxy.fail('list', { kind: 'answer', status: 403, code: 'AccessDenied' }, 1000);
    const { findings, destinations } = await on.audit();
    expect([...new Set(findings.map(({ kind }) => kind))]).toEqual(['unread']);
    expect(findings[0]).toMatchObject({ destination: 'plain', severity: 'wrong' });
    expect(destinations).toMatchObject([{ isComplete: true }, { isComplete: false }]);
  });
});
