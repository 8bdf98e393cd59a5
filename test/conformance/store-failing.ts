/** The part of the store suite about what must leave nothing behind, or must stay. */
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { isError } from '../../src/core/errors.ts';
import { type Bytes, collect } from '../../src/core/flow.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import { bufferBody } from '../../src/store/parts.ts';
import { never, type StoreBench } from './store-bench.ts';

/** All or nothing, unfinished uploads, locks, versions. */
export function failing(on: StoreBench): void {
  const { keys, put, read, unfinished } = on;
  describe('all or nothing', () => {
    const nothingAt = async (prefix: string, key: ObjectKey) => {
      expect(await on.store.head(key, { signal: never })).toBeNull();
      expect(await unfinished(prefix)).toEqual([]);
      expect(await Array.fromAsync(on.store.list(prefix, { signal: never }))).toEqual([]);
    };

    test('refuses bytes that do not fit their checksum', async () => {
      const { key, prefix } = keys();
      const bytes = randomBytes(2 * on.setup.partBytes);
      const body = bufferBody(bytes, on.setup.partBytes);
      const lying = { ...body, partSha256: [body.partSha256[0] ?? bytes, createHash('sha256').digest()] };
      await expect(put(key('lie'), lying)).rejects.toMatchObject({ code: 'E_STORE_CHECKSUM' });
      await nothingAt(prefix, key('lie'));
    });

    test('a body that breaks is not the fault of the store, and leaves nothing', async () => {
      const { key, prefix } = keys();
      const body = bufferBody(randomBytes(2 * on.setup.partBytes), on.setup.partBytes);
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
      const body = bufferBody(randomBytes(3 * on.setup.partBytes), on.setup.partBytes);
      async function* slow(start: number, end: number): Bytes {
        for await (const chunk of body.read(start, end)) {
          yield chunk;
          if (start === on.setup.partBytes) stop.abort(reason);
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
    await on.store.probeWrite(prefix, { signal: never });
    expect(await unfinished(prefix)).toEqual([]);
    expect(await Array.fromAsync(on.store.list(prefix, { signal: never }))).toEqual([]);
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
    await on.store.abortUnfinished(upload, { signal: never });
    await on.store.abortUnfinished(upload, { signal: never });
    expect(await unfinished(prefix)).toEqual([]);
    goOn.resolve();
    // The store may begin anew or give up; either way it says the truth.
    if ((await settled) === 'stored') expect(await read(key('held'))).toHaveLength(1000);
    else expect(await on.store.head(key('held'), { signal: never })).toBeNull();
    expect(await unfinished(prefix)).toEqual([]);
  });

  test('object lock holds, or is refused', async () => {
    const { key, prefix } = keys();
    const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    const lock = { mode: 'governance', until } as const;
    if (!on.setup.locks) {
      await expect(put(key('locked'), 'x', { lock })).rejects.toMatchObject({ code: 'E_PRECONDITION' });
      await expect(put(key('parts'), bufferBody(randomBytes(10)), { lock })).rejects.toMatchObject({
        code: 'E_PRECONDITION',
      });
      expect(await Array.fromAsync(on.store.list(prefix, { signal: never }))).toEqual([]);
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
      const gone = on.store.delete(at, { signal: never, versionId });
      await expect(gone).rejects.toMatchObject({ code: 'E_STORE_LOCKED', retryable: false });
      expect(await on.store.head(at, { signal: never })).toEqual(stored);
    }
  });

  test('a legal hold holds until it is lifted, or there is none', async () => {
    const { key } = keys();
    const { versionId } = await put(key('held'), 'x');
    const at = versionId === undefined ? { signal: never } : { signal: never, versionId };
    if (!on.setup.locks) {
      expect(await on.store.legalHold(key('held'), at)).toBeNull();
      await expect(on.store.setLegalHold(key('held'), true, at)).rejects.toMatchObject({ code: 'E_PRECONDITION' });
      await on.store.delete(key('held'), at);
      expect(await on.store.head(key('held'), at)).toBeNull();
      return;
    }
    expect(await on.store.legalHold(key('held'), at)).toBe(false);
    for (const _ of ['set', 'set again']) await on.store.setLegalHold(key('held'), true, at);
    expect(await on.store.legalHold(key('held'), { signal: never })).toBe(true);
    await expect(on.store.delete(key('held'), at)).rejects.toMatchObject({ code: 'E_STORE_LOCKED', retryable: false });
    expect(await on.store.head(key('held'), { signal: never })).toMatchObject({ bytes: 1 });
    for (const _ of ['lifted', 'lifted again']) await on.store.setLegalHold(key('held'), false, at);
    expect(await on.store.legalHold(key('held'), at)).toBe(false);
    await on.store.delete(key('held'), at);
    expect(await on.store.head(key('held'), at)).toBeNull();
    await expect(on.store.legalHold(key('nothing'), { signal: never })).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    await expect(on.store.setLegalHold(key('nothing'), true, { signal: never })).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
    });
  });

  test('versions: what is deleted is hidden, and readable by its version', async () => {
    const { key } = keys();
    const stored = await put(key('a'), 'first');
    if (!on.setup.versions) {
      expect(stored.versionId).toBeUndefined();
      return;
    }
    const { versionId } = stored;
    if (versionId === undefined) throw new Error('no version');
    await on.store.delete(key('a'), { signal: never });
    expect(await on.store.head(key('a'), { signal: never })).toBeNull();
    expect(await on.store.head(key('a'), { signal: never, versionId })).toMatchObject({ versionId, bytes: 5 });
    expect(Buffer.from(await collect(on.store.get(key('a'), { signal: never, versionId }), 100)).toString()).toBe(
      'first',
    );
    await on.store.delete(key('a'), { signal: never, versionId });
    await on.store.delete(key('a'), { signal: never, versionId });
    expect(await on.store.head(key('a'), { signal: never, versionId })).toBeNull();
  });
}
