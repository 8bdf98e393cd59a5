/** What every store must keep to, whatever is behind it. One test group per promise of src/store/store.ts. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isError } from '../../src/core/errors.ts';
import { type Bytes, collect } from '../../src/core/flow.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import { bufferBody, compositeSha256 } from '../../src/store/parts.ts';
import type { PartedBody, PutOptions, Store, StoredObject } from '../../src/store/store.ts';

export type StoreSetup = AsyncDisposable & {
  store: Store;
  /** the smallest part that is not the last one, in bytes */
  partBytes: number;
  /** how many keys the listing test writes: more than one page of the store */
  manyKeys: number;
  /** does it keep object locks? Without: E_PRECONDITION */
  locks: boolean;
  /** does it keep versions? */
  versions: boolean;
  /** does it keep the SHA-256 of what it stores? */
  keepsSha256: boolean;
  /** may "absent" be written over a delete marker, as on Amazon? */
  reusesDeleted: boolean;
};

const never = new AbortController().signal;
const MIB = 2 ** 20;

/** Declares the suite. `open` is called once, and what it gives is disposed of at the end. */
export function storeConformance(name: string, open: () => Promise<StoreSetup>): void {
  describe(`store conformance: ${name}`, () => {
    let setup: StoreSetup;
    let store: Store;
    beforeAll(async () => {
      setup = await open();
      store = setup.store;
    });
    afterAll(() => setup[Symbol.asyncDispose]());

    /** keys of one test stand below a prefix of their own */
    const keys = () => {
      const prefix = `v1/${randomUUID()}/`;
      return { prefix, key: (rest: string) => `${prefix}${rest}` as ObjectKey };
    };
    const put = (key: ObjectKey, body: Uint8Array | PartedBody | string, options: Partial<PutOptions> = {}) =>
      store.put(key, typeof body === 'string' ? Buffer.from(body) : body, {
        signal: never,
        condition: 'absent',
        contentType: 'application/octet-stream',
        ...options,
      });
    const read = async (key: ObjectKey, options: { range?: { start: number; end: number } } = {}) =>
      Buffer.from(await collect(store.get(key, { signal: never, ...options }), 64 * MIB));
    const expectSum = (stored: StoredObject, sum: string) =>
      expect(stored.sha256).toBe(setup.keepsSha256 ? sum : undefined);
    const unfinished = (prefix: string) => Array.fromAsync(store.listUnfinished(prefix, { signal: never }));

    describe('write once', () => {
      test('gives back what is stored, as head does', async () => {
        const key = keys().key('a.json');
        const before = Date.now();
        const stored = await put(key, 'hello', { metadata: { 'snapshot-id': '01JD', note: 'a b=c/d+e' } });
        expect(stored).toMatchObject({ key, bytes: 5, metadata: { 'snapshot-id': '01JD', note: 'a b=c/d+e' } });
        expect(stored.etag).not.toBe('');
        expect(Math.abs(stored.modifiedAt.getTime() - before)).toBeLessThan(60_000);
        expectSum(stored, createHash('sha256').update('hello').digest('base64'));
        expect(await store.head(key, { signal: never })).toEqual(stored);
        expect((await read(key)).toString()).toBe('hello');
      });

      test('refuses a second object and leaves the first', async () => {
        const key = keys().key('a');
        const first = await put(key, 'first');
        await expect(put(key, 'second')).rejects.toSatisfy((e) => isError(e, 'E_STORE_CONFLICT'));
        await expect(put(key, bufferBody(randomBytes(10)))).rejects.toSatisfy((e) => isError(e, 'E_STORE_CONFLICT'));
        expect((await read(key)).toString()).toBe('first');
        expect(await store.head(key, { signal: never })).toEqual(first);
      });

      test.each(['bytes', 'parts'])('has one winner of eight, sent as %s', async (kind) => {
        const { key: at, prefix } = keys();
        const key = at('race');
        const bodies = Array.from({ length: 8 }, (_, i) => Buffer.alloc(1000, `${i}`));
        const results = await Promise.allSettled(
          bodies.map((body) => put(key, kind === 'bytes' ? body : bufferBody(body))),
        );
        const winners = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []));
        expect(winners).toHaveLength(1);
        for (const result of results) {
          if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'E_STORE_CONFLICT' });
        }
        expect(await read(key)).toEqual(bodies[winners[0] ?? -1]);
        expect(await unfinished(prefix)).toEqual([]);
      });
    });

    describe('compare and swap', () => {
      test('replaces exactly the object that was read', async () => {
        const key = keys().key('latest.json');
        const first = await put(key, '{"v":1}');
        const second = await put(key, '{"v":2}', { condition: { etag: first.etag } });
        expect(second.etag).not.toBe(first.etag);
        expect((await read(key)).toString()).toBe('{"v":2}');
        await expect(put(key, '{"v":3}', { condition: { etag: first.etag } })).rejects.toMatchObject({
          code: 'E_STORE_CONFLICT',
        });
        expect((await read(key)).toString()).toBe('{"v":2}');
        expect((await store.head(key, { signal: never }))?.etag).toBe(second.etag);
      });

      test('refuses where nothing is', async () => {
        const key = keys().key('nothing');
        await expect(put(key, 'x', { condition: { etag: '"0123"' } })).rejects.toMatchObject({
          code: 'E_STORE_CONFLICT',
        });
        expect(await store.head(key, { signal: never })).toBeNull();
      });

      test('lets one of eight writers through', async () => {
        const key = keys().key('latest.json');
        const { etag } = await put(key, 'start');
        const results = await Promise.allSettled(
          Array.from({ length: 8 }, (_, i) => put(key, `writer ${i}`, { condition: { etag } })),
        );
        const winners = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []));
        expect(winners).toHaveLength(1);
        expect((await read(key)).toString()).toBe(`writer ${winners[0]}`);
      });
    });

    describe('bodies', () => {
      test('an empty object', async () => {
        const { key } = keys();
        for (const [at, body] of [
          [key('bytes'), Buffer.alloc(0)],
          [key('parts'), bufferBody(Buffer.alloc(0))],
        ] as const) {
          expect(await put(at, body)).toMatchObject({ bytes: 0 });
          expect(await read(at)).toHaveLength(0);
        }
      });

      test('three parts, with their composite checksum and progress', async () => {
        const { key: at, prefix } = keys();
        const key = at('x.snap.age');
        const bytes = randomBytes(2 * setup.partBytes + 12_345);
        const body = bufferBody(bytes, setup.partBytes);
        const progress: number[] = [];
        const stored = await put(key, body, {
          onProgress: (n) => progress.push(n),
          metadata: { cluster: 'prod-eu-1' },
        });
        expect(stored).toMatchObject({ bytes: bytes.byteLength, metadata: { cluster: 'prod-eu-1' } });
        expectSum(stored, compositeSha256(body.partSha256));
        expect(compositeSha256(body.partSha256).endsWith('-3')).toBe(true);
        expect(progress).toHaveLength(3);
        expect(progress).toEqual(progress.toSorted((a, b) => a - b));
        expect(progress.at(-1)).toBe(bytes.byteLength);
        expect((await read(key)).equals(bytes)).toBe(true);
        const range = { start: setup.partBytes - 10, end: setup.partBytes + 10 };
        expect(await read(key, { range })).toEqual(bytes.subarray(range.start, range.end));
        expect(await unfinished(prefix)).toEqual([]);
      });

      test('one part is still an object in parts', async () => {
        const body = bufferBody(randomBytes(1000));
        expectSum(await put(keys().key('one'), body), compositeSha256(body.partSha256));
      });

      test('keys of 1,000 bytes and odd characters', async () => {
        const { key, prefix } = keys();
        const long = key(`${'long-name-'.repeat(20)}/`.repeat(4).slice(0, 940));
        const odd = [`a b+c&d=e%20f,;:@!$'()*~`, 'ü/Ж/日本/🗝', '<xml>&amp;"quoted"', '-_.hidden', '100%'];
        const all = [long.replace(/\/$/, 'x') as ObjectKey, ...odd.map(key)];
        for (const at of all) await put(at, at);
        for (const at of all) expect((await read(at)).toString()).toBe(at);
        const listed = (await Array.fromAsync(store.list(prefix, { signal: never }))).map((found) => found.key);
        expect(listed).toEqual(all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
      });

      test('metadata that a header cannot carry is refused', async () => {
        const key = keys().key('a');
        for (const metadata of [{ Upper: 'x' }, { a: 'ü' }, { a: 'line\nbreak' }, { a: 'x'.repeat(2048) }]) {
          await expect(put(key, 'x', { metadata: metadata as Record<string, string> })).rejects.toMatchObject({
            code: 'E_PRECONDITION',
          });
        }
        expect(await store.head(key, { signal: never })).toBeNull();
      });
    });

    describe('reading', () => {
      test('head of nothing is null', async () => {
        const { key } = keys();
        await put(key('folder/file'), 'x');
        expect(await store.head(key('nothing'), { signal: never })).toBeNull();
        expect(await store.head(key('folder'), { signal: never })).toBeNull();
        expect(await store.head(key('folder/file/below'), { signal: never })).toBeNull();
      });

      test('get of nothing rejects when it is read, not before', async () => {
        const bytes = store.get(keys().key('nothing'), { signal: never });
        await expect(collect(bytes, 100)).rejects.toMatchObject({ code: 'E_NOT_FOUND', retryable: false });
      });

      test('ranges: inside, over the end, empty, behind the end', async () => {
        const key = keys().key('digits');
        await put(key, '0123456789');
        expect((await read(key, { range: { start: 2, end: 5 } })).toString()).toBe('234');
        expect((await read(key, { range: { start: 0, end: 1 } })).toString()).toBe('0');
        expect((await read(key, { range: { start: 8, end: 100 } })).toString()).toBe('89');
        expect(await read(key, { range: { start: 3, end: 3 } })).toHaveLength(0);
        await expect(read(key, { range: { start: 10, end: 12 } })).rejects.toMatchObject({ code: 'E_PRECONDITION' });
      });

      test('stops when the reader stops, and on abort', async () => {
        const key = keys().key('big');
        await put(key, randomBytes(6 * MIB));
        let seen = 0;
        for await (const chunk of store.get(key, { signal: never })) {
          seen += chunk.byteLength;
          break;
        }
        expect(seen).toBeGreaterThan(0);
        const stop = new AbortController();
        const reason = new Error('enough');
        const reading = (async () => {
          for await (const _ of store.get(key, { signal: stop.signal })) stop.abort(reason);
        })();
        await expect(reading).rejects.toBe(reason);
      });
    });

    describe('list', () => {
      test('gives every key once, in order, and only what is behind `after`', async () => {
        const { key, prefix } = keys();
        const all = Array.from({ length: setup.manyKeys }, (_, i) => key(`m/${String(i).padStart(5, '0')}`));
        const queue = all.values();
        await Promise.all(
          Array.from({ length: 16 }, async () => {
            for (const at of queue) await put(at, 'x');
          }),
        );
        const list = async (below: string, after?: string) =>
          (await Array.fromAsync(store.list(below, { signal: never, ...(after === undefined ? {} : { after }) }))).map(
            (found) => found.key,
          );
        expect(await list(prefix)).toEqual(all);
        const middle = all[Math.floor(all.length / 2)] ?? '';
        expect(await list(`${prefix}m/`, middle)).toEqual(all.filter((at) => at > middle));
        expect(await list(prefix, all.at(-1))).toEqual([]);
        expect(await list(`${prefix}m/0000`)).toEqual(all.slice(0, 10));
        expect(await list(`${prefix}n`)).toEqual([]);
      });

      test('orders a folder where its slash stands', async () => {
        const { key, prefix } = keys();
        const all = ['a', 'a-b', 'a.b', 'b/a', 'b/c/d', 'b-', 'b0'].map(key);
        for (const at of all) await put(at, 'x');
        const inOrder = all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        const listed: StoredObject[] = await Array.fromAsync(store.list(prefix, { signal: never }));
        expect(listed.map((found) => found.key)).toEqual(inOrder);
        for (const after of [...inOrder, `${prefix}b/`, `${prefix}b/b`, `${prefix}b/c`]) {
          const rest = await Array.fromAsync(store.list(prefix, { signal: never, after }));
          expect(rest.map((found) => found.key)).toEqual(
            inOrder.filter((at) => Buffer.compare(Buffer.from(at), Buffer.from(after)) > 0),
          );
        }
      });

      test('has the size, ETag and time of head', async () => {
        const { key, prefix } = keys();
        const stored = await put(key('one'), 'some bytes');
        const [listed] = await Array.fromAsync(store.list(prefix, { signal: never }));
        expect(listed).toMatchObject({ key: stored.key, bytes: 10, etag: stored.etag });
        expect(Math.abs((listed?.modifiedAt.getTime() ?? 0) - stored.modifiedAt.getTime())).toBeLessThan(1000);
      });
    });

    test('delete is idempotent', async () => {
      const { key, prefix } = keys();
      await put(key('a'), 'x');
      await store.delete(key('a'), { signal: never });
      expect(await store.head(key('a'), { signal: never })).toBeNull();
      await expect(read(key('a'))).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
      await store.delete(key('a'), { signal: never });
      await store.delete(key('never/was'), { signal: never });
      expect(await Array.fromAsync(store.list(prefix, { signal: never }))).toEqual([]);
      if (setup.reusesDeleted) {
        await put(key('a'), 'again');
        expect((await read(key('a'))).toString()).toBe('again');
      } else {
        await expect(put(key('a'), 'again')).rejects.toMatchObject({ code: 'E_STORE_CONFLICT' });
      }
    });

    describe('all or nothing', () => {
      const nothingAt = async (prefix: string, key: ObjectKey) => {
        expect(await store.head(key, { signal: never })).toBeNull();
        expect(await unfinished(prefix)).toEqual([]);
        expect(await Array.fromAsync(store.list(prefix, { signal: never }))).toEqual([]);
      };

      test('refuses bytes that do not fit their checksum', async () => {
        const { key, prefix } = keys();
        const bytes = randomBytes(2 * setup.partBytes);
        const body = bufferBody(bytes, setup.partBytes);
        const lying = { ...body, partSha256: [body.partSha256[0] ?? bytes, createHash('sha256').digest()] };
        await expect(put(key('lie'), lying)).rejects.toMatchObject({ code: 'E_STORE_CHECKSUM' });
        await nothingAt(prefix, key('lie'));
      });

      test('a body that breaks is not the fault of the store, and leaves nothing', async () => {
        const { key, prefix } = keys();
        const body = bufferBody(randomBytes(2 * setup.partBytes), setup.partBytes);
        const reason = new Error('the spool is gone');
        async function* broken(start: number, end: number): Bytes {
          yield* body.read(start, end - 5);
          throw reason;
        }
        await expect(put(key('broken'), { ...body, read: broken })).rejects.toBe(reason);
        await nothingAt(prefix, key('broken'));
      });

      test('a body that ends too early leaves nothing', async () => {
        const { key, prefix } = keys();
        const body = bufferBody(randomBytes(1000));
        const short = { ...body, read: (start: number, end: number) => body.read(start, end - 1) };
        await expect(put(key('short'), short)).rejects.toSatisfy((e) => isError(e));
        await nothingAt(prefix, key('short'));
      });

      test('an abort in the middle rejects with its reason and leaves nothing', async () => {
        const { key, prefix } = keys();
        const stop = new AbortController();
        const reason = new Error('stopped by hand');
        const body = bufferBody(randomBytes(3 * setup.partBytes), setup.partBytes);
        async function* slow(start: number, end: number): Bytes {
          for await (const chunk of body.read(start, end)) {
            yield chunk;
            if (start === setup.partBytes) stop.abort(reason);
          }
        }
        await expect(put(key('stopped'), { ...body, read: slow }, { signal: stop.signal })).rejects.toBe(reason);
        await nothingAt(prefix, key('stopped'));
      });

      test('an abort before the start touches nothing', async () => {
        const { key, prefix } = keys();
        const reason = new Error('too late');
        await expect(put(key('a'), 'x', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
        await nothingAt(prefix, key('a'));
      });
    });

    test('the probe leaves nothing', async () => {
      const { prefix } = keys();
      await store.probeWrite(prefix, { signal: never });
      expect(await unfinished(prefix)).toEqual([]);
      expect(await Array.fromAsync(store.list(prefix, { signal: never }))).toEqual([]);
    });

    test('an unfinished upload is listed while it runs, and can be aborted by others', async () => {
      const { key, prefix } = keys();
      const begun = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      const body = bufferBody(randomBytes(1000));
      async function* held(start: number, end: number): Bytes {
        begun.resolve();
        await goOn.promise;
        yield* body.read(start, end);
      }
      const putting = put(key('held'), { ...body, read: held });
      const settled = putting.then(
        () => 'stored',
        (e: unknown) => e,
      );
      await begun.promise;
      const [upload, ...others] = await unfinished(prefix);
      expect(others).toEqual([]);
      expect(upload).toMatchObject({ key: key('held') });
      expect(Math.abs(Date.now() - (upload?.startedAt.getTime() ?? 0))).toBeLessThan(60_000);
      expect(await unfinished(`${prefix}other`)).toEqual([]);
      if (upload === undefined) throw new Error('no upload');
      await store.abortUnfinished(upload, { signal: never });
      await store.abortUnfinished(upload, { signal: never });
      expect(await unfinished(prefix)).toEqual([]);
      goOn.resolve();
      // The store may begin anew or give up; either way it says the truth.
      if ((await settled) === 'stored') expect(await read(key('held'))).toHaveLength(1000);
      else expect(await store.head(key('held'), { signal: never })).toBeNull();
      expect(await unfinished(prefix)).toEqual([]);
    });

    test('object lock holds, or is refused', async () => {
      const { key, prefix } = keys();
      const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
      const lock = { mode: 'governance', until } as const;
      if (!setup.locks) {
        await expect(put(key('locked'), 'x', { lock })).rejects.toMatchObject({ code: 'E_PRECONDITION' });
        await expect(put(key('parts'), bufferBody(randomBytes(10)), { lock })).rejects.toMatchObject({
          code: 'E_PRECONDITION',
        });
        expect(await Array.fromAsync(store.list(prefix, { signal: never }))).toEqual([]);
        expect(await unfinished(prefix)).toEqual([]);
        return;
      }
      for (const [at, body] of [
        [key('bytes'), Buffer.from('x')],
        [key('parts'), bufferBody(randomBytes(10))],
      ] as const) {
        const stored = await put(at, body, { lock });
        expect(stored.lock).toEqual(lock);
        const { versionId } = stored;
        if (versionId === undefined) throw new Error('no version');
        const gone = store.delete(at, { signal: never, versionId });
        await expect(gone).rejects.toMatchObject({ code: 'E_STORE_LOCKED', retryable: false });
        expect(await store.head(at, { signal: never })).toEqual(stored);
      }
    });

    test('versions: what is deleted is hidden, and readable by its version', async () => {
      const { key } = keys();
      const stored = await put(key('a'), 'first');
      if (!setup.versions) {
        expect(stored.versionId).toBeUndefined();
        return;
      }
      const { versionId } = stored;
      if (versionId === undefined) throw new Error('no version');
      await store.delete(key('a'), { signal: never });
      expect(await store.head(key('a'), { signal: never })).toBeNull();
      expect(await store.head(key('a'), { signal: never, versionId })).toMatchObject({ versionId, bytes: 5 });
      expect(Buffer.from(await collect(store.get(key('a'), { signal: never, versionId }), 100)).toString()).toBe(
        'first',
      );
      await store.delete(key('a'), { signal: never, versionId });
      await store.delete(key('a'), { signal: never, versionId });
      expect(await store.head(key('a'), { signal: never, versionId })).toBeNull();
    });
  });
}
