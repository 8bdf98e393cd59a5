/** Every fault a destination has: caused on purpose in front of a real server, and what the store makes of it. */
import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { collect } from '../../src/core/flow.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import { bufferBody } from '../../src/store/parts.ts';
import type { S3StoreOptions } from '../../src/store/s3-options.ts';
import type { S3Fault } from '../support/failing-s3.ts';
import {
  accessDenied,
  FaultyStore,
  internalError,
  never,
  newKey,
  PART,
  putOptions,
  slowDown,
  small,
} from '../support/faulty-store.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { until } from '../support/until.ts';

describe('faults of a destination', () => {
  let on: FaultyStore;
  beforeAll(async () => {
    on = await FaultyStore.start(await sharedServer('versitygw'));
  });
  afterEach(() => on.proxy.reset());
  afterAll(() => on[Symbol.asyncDispose]());

  describe('a part', () => {
    const passing: [string, S3Fault][] = [
      ['503 SlowDown', slowDown],
      ['500 InternalError', internalError],
      ['a reset before the body', { kind: 'reset', afterBytes: 0 }],
      ['a reset in the body', { kind: 'reset', afterBytes: 2_000_000 }],
      ['an answer that is lost', { kind: 'lose-answer' }],
      ['bytes changed on the way', { kind: 'corrupt-request' }],
      ['BadDigest', { kind: 'answer', status: 400, code: 'BadDigest' }],
      ['an acknowledgement with another checksum', { kind: 'headers', set: { 'x-amz-checksum-sha256': 'bGllcw==' } }],
      ['a timeout on their side', { kind: 'answer', status: 400, code: 'RequestTimeout' }],
    ];
    test.each(passing)('%s, twice: is sent again', async (_, fault) => {
      const { store } = await on.open();
      const key = newKey();
      const body = bufferBody(randomBytes(PART + 1000), PART);
      on.proxy.fail('part', fault, 2);
      await store.put(key, body, putOptions());
      expect(on.proxy.count('part')).toBe(4);
      expect(on.proxy.count('create')).toBe(1);
      await on.expectStored(key, body);
    });

    const lasting: [string, string, S3Fault, number][] = [
      ['503 SlowDown', 'E_STORE_THROTTLED', slowDown, 4],
      ['resets', 'E_STORE_UNREACHABLE', { kind: 'reset', afterBytes: 100 }, 4],
      ['InternalError', 'E_STORE_RESPONSE', internalError, 4],
      ['bytes changed on the way', 'E_STORE_CHECKSUM', { kind: 'corrupt-request' }, 4],
      ['lying checksums', 'E_STORE_CHECKSUM', { kind: 'headers', set: { 'x-amz-checksum-sha256': 'bGllcw==' } }, 4],
      ['ExpiredToken', 'E_STORE_DENIED', { kind: 'answer', status: 400, code: 'ExpiredToken' }, 1],
      ['AccessDenied', 'E_STORE_DENIED', accessDenied, 1],
      ['QuotaExceeded', 'E_STORE_FULL', { kind: 'answer', status: 403, code: 'QuotaExceeded' }, 1],
      ['XMinioStorageFull', 'E_STORE_FULL', { kind: 'answer', status: 507, code: 'XMinioStorageFull' }, 1],
      ['EntityTooLarge', 'E_PRECONDITION', { kind: 'answer', status: 400, code: 'EntityTooLarge' }, 1],
    ];
    test.each(lasting)('%s for good: %s, and nothing is left', async (_, code, fault, tries) => {
      on.proxy.fail('part', fault, 99);
      await on.expectRefused(code);
      expect(on.proxy.count('part')).toBe(tries);
      expect(on.proxy.count('abort')).toBe(1);
    });

    test('silence: cut off by its own deadline, and sent again', async () => {
      const { store } = await on.open({ partTimeoutMs: 500 });
      const key = newKey();
      const body = small();
      on.proxy.fail('part', { kind: 'hang' });
      await store.put(key, body, putOptions());
      await on.expectStored(key, body);
      on.proxy.fail('part', { kind: 'hang' }, 99);
      expect(await on.expectRefused('E_STORE_UNREACHABLE', { partTimeoutMs: 200 })).toMatchObject({
        message: expect.stringContaining('no answer within 0.2 s') as string,
      });
    });

    test('an upload that somebody aborted is begun again', async () => {
      const { store } = await on.open();
      const key = newKey();
      const body = small();
      on.proxy.fail('part', { kind: 'answer', status: 404, code: 'NoSuchUpload' }, 4);
      await store.put(key, body, putOptions());
      expect(on.proxy.count('create')).toBe(2);
      await on.expectStored(key, body);
    });

    test('one failing part stops the others, and all have ended before put rejects', async () => {
      const { store } = await on.open({ partConcurrency: 3, retry: { attempts: 1, baseMs: 1, maxMs: 1 } });
      const key = newKey();
      on.proxy.fail('part', accessDenied);
      on.proxy.fail('part', { kind: 'hang' }, 2);
      const began = performance.now();
      const putting = store.put(key, bufferBody(randomBytes(6 * PART), PART), putOptions());
      await expect(putting).rejects.toMatchObject({ code: 'E_STORE_DENIED' });
      expect(performance.now() - began).toBeLessThan(10_000);
      expect(on.proxy.count('part')).toBeLessThanOrEqual(3);
      await on.expectNothing(key);
    });
  });

  test('a clock that is wrong is said with both times, and not tried again', async () => {
    const there = new Date(Date.now() - 17 * 60_000).toISOString();
    on.proxy.fail(
      'part',
      {
        kind: 'answer',
        status: 403,
        code: 'RequestTimeTooSkewed',
        fields: { ServerTime: there, RequestTime: 'x', MaxAllowedSkewMilliseconds: '900000' },
      },
      99,
    );
    const e = await on.expectRefused('E_STORE_SKEW');
    expect(e.message).toMatch(/here 20\d\d-.*Z, there 20\d\d-.*Z, 17 min apart/);
    expect(on.proxy.count('part')).toBe(1);
  });

  describe('a small object', () => {
    test('its answer is lost: found out', async () => {
      const { store } = await on.open();
      const key = newKey();
      on.proxy.fail('put', { kind: 'lose-answer' });
      expect(await store.put(key, Buffer.from('once'), putOptions())).toMatchObject({ bytes: 4 });
      expect(on.proxy.count('put')).toBe(1);
    });

    test('the answer of a compare-and-swap is lost: found out', async () => {
      const { store } = await on.open();
      const key = newKey();
      const { etag } = await store.put(key, Buffer.from('one'), putOptions());
      on.proxy.fail('put', { kind: 'lose-answer' });
      const second = await store.put(key, Buffer.from('two'), putOptions({ condition: { etag } }));
      expect(second.etag).not.toBe(etag);
      expect(Buffer.from(await on.read(key)).toString()).toBe('two');
    });

    test.each(['sha256', 'none'] as const)(
      'replaced by another writer before it was looked at, with checksum %s: his is left alone',
      async (checksum) => {
        const { store } = await on.open({ checksum, requestTimeoutMs: 2_000 });
        const key = newKey();
        const { etag } = await store.put(key, Buffer.from('one'), putOptions());
        // The look behind the put is held up until the other has written, then it is tried again.
        on.proxy.fail('head', { kind: 'hang' });
        const late = store.put(key, Buffer.from('two'), putOptions({ condition: { etag } })).catch((e: unknown) => e);
        const ours = await until('ours to be there', async () => {
          const head = await on.direct.store.head(key, { signal: never });
          return head === null || head.etag === etag ? undefined : head.etag;
        });
        await on.direct.store.put(key, Buffer.from('six'), putOptions({ condition: { etag: ours } }));
        expect(await late).toMatchObject({ code: 'E_STORE_CONFLICT' });
        expect((await on.read(key)).toString()).toBe('six');
      },
    );

    test.each(['crc32', 'none'] as const)('the same with checksum %s', async (checksum) => {
      const { store } = await on.open({ checksum });
      const key = newKey();
      on.proxy.fail('put', { kind: 'lose-answer' });
      expect(await store.put(key, Buffer.from('once'), putOptions())).toMatchObject({ bytes: 4 });
      const body = bufferBody(randomBytes(PART + 7), PART);
      const parts = newKey();
      on.proxy.fail('complete', { kind: 'lose-answer' });
      expect(await store.put(parts, body, putOptions())).toMatchObject({ bytes: PART + 7 });
      expect(on.proxy.count('complete')).toBe(1);
      // Without a checksum to compare it was read back.
      expect(on.proxy.count('get') > 0).toBe(checksum === 'none');
    });

    test.each(['sha256', 'crc32', 'none'] as const)(
      'changed on the way with checksum %s: refused',
      async (checksum) => {
        const { store } = await on.open({ checksum });
        const key = newKey();
        on.proxy.fail('put', { kind: 'corrupt-request' }, 99);
        await expect(store.put(key, Buffer.from('true'), putOptions())).rejects.toMatchObject({
          code: 'E_STORE_CHECKSUM',
        });
        await on.expectNothing(key);
      },
    );
  });

  describe('reading', () => {
    let key: ObjectKey;
    let bytes: Buffer;
    beforeAll(async () => {
      key = newKey();
      bytes = randomBytes(3_000_000);
      await on.direct.store.put(key, bytes, putOptions());
    });
    const read = async (more: Partial<S3StoreOptions> = {}, range?: { start: number; end: number }) => {
      const { store } = await on.open(more);
      const got = store.get(key, { signal: never, ...(range === undefined ? {} : { range }) });
      return Buffer.from(await collect(got, 2 ** 24));
    };

    test.each<[string, S3Fault]>([
      ['is cut', { kind: 'truncate', afterBytes: 1_000_000 }],
      ['stalls', { kind: 'stall', afterBytes: 1_000_000 }],
    ])('a body that %s is resumed where it broke', async (_, fault) => {
      on.proxy.fail('get', fault, 2);
      expect((await read({ stallTimeoutMs: 300 })).equals(bytes)).toBe(true);
      const ranges = on.proxy.calls.map((call) => call.headers.range);
      expect(ranges).toHaveLength(3);
      expect(ranges[0]).toBeUndefined();
      expect(ranges[2]).toMatch(/^bytes=2000000-2999999$/);
      expect(on.proxy.calls[2]?.headers['if-match']).toBeDefined();
    });

    test('so is a range', async () => {
      on.proxy.fail('get', { kind: 'truncate', afterBytes: 500 });
      expect((await read({}, { start: 1000, end: 3000 })).equals(bytes.subarray(1000, 3000))).toBe(true);
      expect(on.proxy.calls.map((call) => call.headers.range)).toEqual(['bytes=1000-2999', 'bytes=1500-2999']);
    });

    test('without progress it gives up, and never ends early', async () => {
      on.proxy.fail('get', { kind: 'truncate', afterBytes: 0 }, 99);
      await expect(read()).rejects.toMatchObject({ code: 'E_STORE_UNREACHABLE' });
      expect(on.proxy.count('get')).toBe(4);
    });

    test('one bit that changed is found at the end', async () => {
      on.proxy.fail('get', { kind: 'corrupt-answer' }, 99);
      await expect(read()).rejects.toMatchObject({ code: 'E_STORE_CHECKSUM' });
    });

    test('an object replaced meanwhile is not glued together', async () => {
      const { store } = await on.open();
      const at = newKey();
      const { etag } = await on.direct.store.put(at, randomBytes(1_000_000), putOptions());
      on.proxy.fail('get', { kind: 'truncate', afterBytes: 400_000 });
      const reading = (async () => {
        let isReplaced = false;
        for await (const _ of store.get(at, { signal: never })) {
          if (!isReplaced) await on.direct.store.put(at, randomBytes(1_000_000), putOptions({ condition: { etag } }));
          isReplaced = true;
        }
      })();
      await expect(reading).rejects.toMatchObject({ code: 'E_STORE_CONFLICT' });
    });

    test('SlowDown is waited out, AccessDenied is not', async () => {
      on.proxy.fail('get', slowDown, 3);
      expect((await read()).equals(bytes)).toBe(true);
      on.proxy.reset();
      on.proxy.fail('get', accessDenied, 99);
      await expect(read()).rejects.toMatchObject({
        code: 'E_STORE_DENIED',
        hint: expect.stringContaining('s3:GetObject') as string,
      });
      expect(on.proxy.count('get')).toBe(1);
    });

    test('a HEAD without a reason is asked for one', async () => {
      const { store } = await on.open();
      on.proxy.fail('head', { kind: 'answer', status: 400, code: 'ExpiredToken' });
      on.proxy.fail('get', { kind: 'answer', status: 400, code: 'ExpiredToken' });
      await expect(store.head(key, { signal: never })).rejects.toMatchObject({
        code: 'E_STORE_DENIED',
        message: expect.stringContaining('expired') as string,
      });
    });
  });

  describe('listing', () => {
    test('a page that fails is asked for again; a torn one is no end', async () => {
      const prefix = `v1/${randomUUID()}/`;
      for (const name of ['a', 'b', 'c'])
        await on.direct.store.put(`${prefix}${name}` as ObjectKey, Buffer.from(name), putOptions());
      const { store } = await on.open();
      const list = async () =>
        (await Array.fromAsync(store.list(prefix, { signal: never }))).map(({ key }) => key.at(-1));
      on.proxy.fail('list', slowDown, 2);
      expect(await list()).toEqual(['a', 'b', 'c']);
      on.proxy.reset();
      on.proxy.fail('list', { kind: 'rewrite', body: (xml) => xml.slice(0, xml.length / 2) }, 99);
      await expect(list()).rejects.toMatchObject({ code: 'E_STORE_RESPONSE' });
      on.proxy.reset();
      const more = (xml: string) => xml.replace('<IsTruncated>false<', '<IsTruncated>true<');
      on.proxy.fail('list', { kind: 'rewrite', body: more });
      await expect(list()).rejects.toMatchObject({
        code: 'E_STORE_RESPONSE',
        message: expect.stringContaining('more is announced') as string,
      });
    });
  });
});
