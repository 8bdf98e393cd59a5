/** The moment an upload becomes an object, with everything that can go wrong in it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Bytes } from '../../src/core/flow.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import { compositeSha256 } from '../../src/store/parts.ts';
import type { UnfinishedUpload } from '../../src/store/store.ts';
import type { S3Fault } from '../support/failing-s3.ts';
import { accessDenied, FaultyStore, never, newKey, putOptions, slowDown, small } from '../support/faulty-store.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { until } from '../support/until.ts';

describe('faults of a commit', () => {
  let on: FaultyStore;
  beforeAll(async () => {
    on = await FaultyStore.start(await sharedServer('versitygw'));
  });
  afterEach(() => on.proxy.reset());
  afterAll(() => on[Symbol.asyncDispose]());

  describe('the commit of an upload', () => {
    test('its answer is lost: found out, not sent again', async () => {
      const { store } = await on.open({}, on.versioned.bucket);
      const key = newKey();
      const body = small();
      on.proxy.fail('complete', { kind: 'lose-answer' });
      const stored = await store.put(key, body, putOptions());
      expect(stored).toMatchObject({ bytes: 2000, sha256: compositeSha256(body.partSha256) });
      expect(on.proxy.count('complete')).toBe(1);
      expect(on.proxy.count('create')).toBe(1);
      expect(await on.versioned.store.head(key, { signal: never })).toEqual(stored);
    });

    test('its request is lost: sent again', async () => {
      const { store } = await on.open();
      const key = newKey();
      const body = small();
      on.proxy.fail('complete', { kind: 'reset', afterBytes: 0 });
      await store.put(key, body, putOptions());
      expect(on.proxy.count('complete')).toBe(2);
      expect(on.proxy.count('create')).toBe(1);
      await on.expectStored(key, body);
    });

    test('an error inside a 200 is an error', async () => {
      const { store } = await on.open();
      const key = newKey();
      const body = small();
      const inside = '<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We lost it</Message></Error>';
      on.proxy.fail('complete', { kind: 'rewrite', body: () => inside });
      await store.put(key, body, putOptions());
      await on.expectStored(key, body);
      on.proxy.fail('complete', { kind: 'answer', status: 200, code: 'InternalError' }, 99);
      await on.expectRefused('E_STORE_RESPONSE');
    });

    test('the request is lost, and the object there is of somebody else: a conflict', async () => {
      const { store } = await on.open();
      const key = newKey();
      const body = small();
      const other = Buffer.from('of somebody else');
      on.proxy.fail('complete', { kind: 'reset', afterBytes: 0 });
      // The other writer comes between the first look and the commit.
      async function* slow(start: number, end: number): Bytes {
        await on.direct.store.put(key, other, putOptions());
        yield* body.read(start, end);
      }
      await expect(store.put(key, { ...body, read: slow }, putOptions())).rejects.toMatchObject({
        code: 'E_STORE_CONFLICT',
      });
      expect(on.proxy.count('complete')).toBe(2);
      expect(await on.read(key)).toEqual(other);
      expect(await on.unfinished(key)).toEqual([]);
    });

    test('a 409 begins a new upload, three in all', async () => {
      const { store } = await on.open();
      const key = newKey();
      const body = small();
      const raced: S3Fault = { kind: 'answer', status: 409, code: 'ConditionalRequestConflict' };
      on.proxy.fail('complete', raced, 2);
      await store.put(key, body, putOptions());
      expect(on.proxy.count('create')).toBe(3);
      await on.expectStored(key, body);
      on.proxy.reset();
      on.proxy.fail('complete', raced, 99);
      await on.expectRefused('E_STORE_CONFLICT');
      expect(on.proxy.count('create')).toBe(3);
      expect(on.proxy.count('abort')).toBe(3);
    });

    test('the destination keeps something else than was sent: found out by the look behind it, and removed', async () => {
      on.proxy.fail('head', { kind: 'answer', status: 404, code: 'NotFound' });
      on.proxy.fail('head', { kind: 'headers', set: { 'x-amz-checksum-sha256': 'bGllcw==-1' } });
      const e = await on.expectRefused('E_STORE_CHECKSUM');
      expect(e.retryable).toBe(false);
      expect(on.proxy.count('delete')).toBe(1);
    });

    test('stored, and nobody can tell: says so', async () => {
      const { store } = await on.open({ cleanupTimeoutMs: 1000 });
      const key = newKey();
      on.proxy.fail('head', { kind: 'headers', set: {} });
      on.proxy.fail('head', slowDown, 99);
      on.proxy.fail('complete', { kind: 'lose-answer' }, 99);
      await expect(store.put(key, small(), putOptions())).rejects.toMatchObject({
        message: expect.stringContaining('it is not known whether it was stored') as string,
      });
      expect(await on.direct.store.head(key, { signal: never })).not.toBeNull();
    });

    test('an abort while it is under way waits for the answer', async () => {
      const { store } = await on.open({ commitGraceMs: 300 });
      const stop = new AbortController();
      const key = newKey();
      const body = small();
      on.proxy.fail('complete', { kind: 'hold-answer' });
      const putting = store.put(key, body, putOptions({ signal: stop.signal }));
      await until('Complete to arrive', async () => (on.proxy.count('complete') > 0 ? true : undefined));
      stop.abort(new Error('stopped'));
      // The object is there: saying "stopped" would be wrong, and it could not be taken back under a lock.
      expect(await putting).toMatchObject({ bytes: 2000 });
      await on.expectStored(key, body);
    });

    test('an abort while it hangs leaves nothing', async () => {
      const { store } = await on.open({ commitGraceMs: 100 });
      const stop = new AbortController();
      const reason = new Error('stopped');
      const key = newKey();
      on.proxy.fail('complete', { kind: 'hang' });
      const putting = store.put(key, small(), putOptions({ signal: stop.signal }));
      const settled = putting.catch((e: unknown) => e);
      await until('Complete to arrive', async () => (on.proxy.count('complete') > 0 ? true : undefined));
      stop.abort(reason);
      expect(await settled).toBe(reason);
      await on.expectNothing(key);
    });
  });

  test('an upload that cannot be aborted either is named', async () => {
    const left: UnfinishedUpload[] = [];
    const { store } = await on.open({ onLeftover: (upload) => left.push(upload) });
    const key = newKey();
    on.proxy.fail('part', { kind: 'answer', status: 403, code: 'AccessDenied' });
    on.proxy.fail('abort', { kind: 'answer', status: 403, code: 'AccessDenied' }, 99);
    await expect(store.put(key, small(), putOptions())).rejects.toMatchObject({
      code: 'E_STORE_DENIED',
      message: expect.stringContaining('its unfinished upload is left behind') as string,
    });
    const [found] = await on.unfinished(key);
    expect(left).toMatchObject([{ key, uploadId: found?.uploadId }]);
    await on.direct.store.abortUnfinished(found ?? { key, uploadId: '', startedAt: new Date() }, { signal: never });
    await on.expectNothing(key);
  });

  test('AccessDenied for a locked version is told from a missing permission', async () => {
    const { store } = await on.open({}, on.versioned.bucket);
    const until_ = new Date(Math.ceil(Date.now() / 1000) * 1000 + 600_000);
    const locked = await on.versioned.store.put(
      newKey(),
      Buffer.from('x'),
      putOptions({ lock: { mode: 'governance', until: until_ } }),
    );
    const free = await on.versioned.store.put(newKey(), Buffer.from('x'), putOptions());
    on.proxy.fail('delete', accessDenied, 2);
    const remove = (key: ObjectKey, versionId: string | undefined) =>
      store.delete(key, { signal: never, versionId: versionId ?? '' });
    await expect(remove(locked.key, locked.versionId)).rejects.toMatchObject({
      code: 'E_STORE_LOCKED',
      message: expect.stringContaining(until_.toISOString()) as string,
    });
    await expect(remove(free.key, free.versionId)).rejects.toMatchObject({
      code: 'E_STORE_DENIED',
      hint: expect.stringContaining('s3:DeleteObjectVersion') as string,
    });
  });

  test('a lock that the destination does not show is no lock', async () => {
    const { store } = await on.open({}, on.versioned.bucket);
    const key = newKey();
    const lock = { mode: 'governance', until: new Date(Date.now() + 600_000) } as const;
    // As moto does with uploads in parts: the look behind shows no lock. The object really has one, and stays.
    const forgotten = { 'x-amz-object-lock-mode': undefined };
    on.proxy.fail('head', { kind: 'headers', set: forgotten });
    on.proxy.fail('head', { kind: 'headers', set: forgotten });
    await expect(store.put(key, small(), putOptions({ lock }))).rejects.toMatchObject({
      code: 'E_PRECONDITION',
      message: expect.stringMatching(/without the lock that was asked for; it is locked and stays/) as string,
    });
  });
});
