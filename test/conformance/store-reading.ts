/** The part of the store suite about reading and listing. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { collect } from '../../src/core/flow.ts';
import type { StoredObject } from '../../src/store/store.ts';
import { MIB, never, type StoreBench } from './store-bench.ts';

/** Head, get, ranges, list. */
export function reading(on: StoreBench): void {
  const { keys, put, read } = on;
  describe('reading', () => {
    test('head of nothing is null', async () => {
      const { key } = keys();
      await put(key('folder/file'), 'x');
      expect(await on.store.head(key('nothing'), { signal: never })).toBeNull();
      expect(await on.store.head(key('folder'), { signal: never })).toBeNull();
      expect(await on.store.head(key('folder/file/below'), { signal: never })).toBeNull();
    });

    test('get of nothing rejects when it is read, not before', async () => {
      const bytes = on.store.get(keys().key('nothing'), { signal: never });
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
      for await (const chunk of on.store.get(key, { signal: never })) {
        seen += chunk.byteLength;
        break;
      }
      expect(seen).toBeGreaterThan(0);
      const stop = new AbortController();
      const reason = new Error('enough');
      const reading = (async () => {
        for await (const _ of on.store.get(key, { signal: stop.signal })) stop.abort(reason);
      })();
      await expect(reading).rejects.toBe(reason);
    });
  });

  describe('list', () => {
    test('gives every key once, in order, and only what is behind `after`', async () => {
      const { key, prefix } = keys();
      const all = Array.from({ length: on.setup.manyKeys }, (_, i) => key(`m/${String(i).padStart(5, '0')}`));
      const queue = all.values();
      await Promise.all(
        Array.from({ length: 16 }, async () => {
          for (const at of queue) await put(at, 'x');
        }),
      );
      const list = async (below: string, after?: string) =>
        (await Array.fromAsync(on.store.list(below, { signal: never, ...(after === undefined ? {} : { after }) }))).map(
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
      // The last two stand the other way round in UTF-16.
      const all = ['a', 'a-b', 'a.b', 'b/a', 'b/c/d', 'b-', 'b0', 'b～', 'b🗝'].map(key);
      for (const at of all) await put(at, 'x');
      const inOrder = all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      const listed: StoredObject[] = await Array.fromAsync(on.store.list(prefix, { signal: never }));
      expect(listed.map((found) => found.key)).toEqual(inOrder);
      for (const after of [...inOrder, `${prefix}b/`, `${prefix}b/b`, `${prefix}b/c`]) {
        const rest = await Array.fromAsync(on.store.list(prefix, { signal: never, after }));
        expect(rest.map((found) => found.key)).toEqual(
          inOrder.filter((at) => Buffer.compare(Buffer.from(at), Buffer.from(after)) > 0),
        );
      }
    });

    test('has the size, ETag and time of head', async () => {
      const { key, prefix } = keys();
      const stored = await put(key('one'), 'some bytes');
      const [listed] = await Array.fromAsync(on.store.list(prefix, { signal: never }));
      expect(listed).toMatchObject({ key: stored.key, bytes: 10, etag: stored.etag });
      expect(Math.abs((listed?.modifiedAt.getTime() ?? 0) - stored.modifiedAt.getTime())).toBeLessThan(1000);
    });
  });
}
