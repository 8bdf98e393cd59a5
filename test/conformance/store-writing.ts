/** The part of the store suite about writes that succeed, or are refused for what is there. */
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { isError } from '../../src/core/errors.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import { bufferBody, compositeSha256 } from '../../src/store/parts.ts';
import { never, type StoreBench } from './store-bench.ts';

/** Write once, compare and swap, bodies of every shape, delete. */
export function writing(on: StoreBench): void {
  const { keys, put, read, unfinished, expectSum } = on;
  describe('write once', () => {
    test('gives back what is stored, as head does', async () => {
      const key = keys().key('a.json');
      const before = Date.now();
      const stored = await put(key, 'hello', { metadata: { 'snapshot-id': '01JD', note: 'a b=c/d+e' } });
      expect(stored).toMatchObject({ key, bytes: 5, metadata: { 'snapshot-id': '01JD', note: 'a b=c/d+e' } });
      expect(stored.etag).not.toBe('');
      expect(Math.abs(stored.modifiedAt.getTime() - before)).toBeLessThan(60_000);
      expectSum(stored, createHash('sha256').update('hello').digest('base64'));
      expect(await on.store.head(key, { signal: never })).toEqual(stored);
      expect((await read(key)).toString()).toBe('hello');
    });

    test('refuses a second object and leaves the first', async () => {
      const key = keys().key('a');
      const first = await put(key, 'first');
      await expect(put(key, 'second')).rejects.toSatisfy((e) => isError(e, 'E_STORE_CONFLICT'));
      await expect(put(key, bufferBody(randomBytes(10)))).rejects.toSatisfy((e) => isError(e, 'E_STORE_CONFLICT'));
      expect((await read(key)).toString()).toBe('first');
      expect(await on.store.head(key, { signal: never })).toEqual(first);
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
      expect((await on.store.head(key, { signal: never }))?.etag).toBe(second.etag);
    });

    test('refuses where nothing is', async () => {
      const key = keys().key('nothing');
      await expect(put(key, 'x', { condition: { etag: '"0123"' } })).rejects.toMatchObject({
        code: 'E_STORE_CONFLICT',
      });
      expect(await on.store.head(key, { signal: never })).toBeNull();
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
      const bytes = randomBytes(2 * on.setup.partBytes + 12_345);
      const body = bufferBody(bytes, on.setup.partBytes);
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
      const range = { start: on.setup.partBytes - 10, end: on.setup.partBytes + 10 };
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
      const listed = (await Array.fromAsync(on.store.list(prefix, { signal: never }))).map((found) => found.key);
      expect(listed).toEqual(all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
    });

    test('metadata that a header cannot carry is refused', async () => {
      const key = keys().key('a');
      for (const metadata of [{ Upper: 'x' }, { a: 'ü' }, { a: 'line\nbreak' }, { a: 'x'.repeat(2048) }]) {
        await expect(put(key, 'x', { metadata: metadata as Record<string, string> })).rejects.toMatchObject({
          code: 'E_PRECONDITION',
        });
      }
      expect(await on.store.head(key, { signal: never })).toBeNull();
    });
  });

  test('delete is idempotent', async () => {
    const { key, prefix } = keys();
    await put(key('a'), 'x');
    await on.store.delete(key('a'), { signal: never });
    expect(await on.store.head(key('a'), { signal: never })).toBeNull();
    await expect(read(key('a'))).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    await on.store.delete(key('a'), { signal: never });
    await on.store.delete(key('never/was'), { signal: never });
    expect(await Array.fromAsync(on.store.list(prefix, { signal: never }))).toEqual([]);
    if (on.setup.reusesDeleted) {
      await put(key('a'), 'again');
      expect((await read(key('a'))).toString()).toBe('again');
    } else {
      await expect(put(key('a'), 'again')).rejects.toMatchObject({ code: 'E_STORE_CONFLICT' });
    }
  });
}
