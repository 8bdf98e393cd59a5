/** The part of the store suite about what a listing hides, and about locks that are made to last longer. */
import { describe, expect, test } from 'vitest';
import { isError } from '../../src/core/errors.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import type { StoredVersion } from '../../src/store/store.ts';
import { never, type StoreBench } from './store-bench.ts';

const HOUR_MS = 3_600_000;

export function versions(on: StoreBench): void {
  const { keys, put } = on;
  const all = (prefix: string): Promise<StoredVersion[]> =>
    Array.fromAsync(on.store.versions(prefix, { signal: never }));

  describe('versions', () => {
    test('what is there is the only version of it, and nothing is found where nothing is', async () => {
      const { key, prefix } = keys();
      expect(await all(prefix)).toEqual([]);
      const stored = await put(key('a'), 'first');
      await put(key('b/c'), 'second');
      expect(await all(key('a'))).toMatchObject([
        {
          key: key('a'),
          versionId: stored.versionId ?? null,
          isCurrent: true,
          isDeleteMarker: false,
          bytes: 5,
          modifiedAt: expect.any(Date) as Date,
        },
      ]);
      expect((await all(prefix)).map((version) => version.key).toSorted()).toEqual([key('a'), key('b/c')]);
    });

    test('shows what was replaced and what was hidden, until each of them is removed for good', async () => {
      const { key, prefix } = keys();
      const first = await put(key('a'), 'first');
      const second = await put(key('a'), 'second', { condition: { etag: first.etag } });
      await on.store.delete(key('a'), { signal: never });
      const found = await all(prefix);
      if (!on.setup.versions) {
        expect(found).toEqual([]);
        return;
      }
      const shape = ({ versionId, isCurrent, isDeleteMarker, bytes }: StoredVersion) => ({
        versionId,
        isCurrent,
        isDeleteMarker,
        bytes,
      });
      const marker = found.find(({ isDeleteMarker }) => isDeleteMarker);
      expect(found.map(shape)).toEqual(
        expect.arrayContaining([
          { versionId: first.versionId, isCurrent: false, isDeleteMarker: false, bytes: 5 },
          { versionId: second.versionId, isCurrent: false, isDeleteMarker: false, bytes: 6 },
          { versionId: marker?.versionId, isCurrent: true, isDeleteMarker: true, bytes: 0 },
        ]),
      );
      expect(found).toHaveLength(3);
      for (const { versionId } of found) await on.store.delete(key('a'), { signal: never, versionId });
      expect(await all(prefix)).toEqual([]);
    });

    test('lists more than a page of them, each once', async () => {
      const { key, prefix } = keys();
      const names = Array.from({ length: on.setup.manyKeys }, (_, i) => key(`n${i}`));
      for (let i = 0; i < names.length; i += 16)
        await Promise.all(names.slice(i, i + 16).map((name) => put(name, 'x')));
      expect((await all(prefix)).map((version) => version.key).toSorted()).toEqual(names.toSorted());
    });

    test('stops with the reason of an abort', async () => {
      const { key, prefix } = keys();
      await put(key('a'), 'x');
      const reason = new Error('enough');
      const aborted = Array.fromAsync(on.store.versions(prefix, { signal: AbortSignal.abort(reason) }));
      await expect(aborted).rejects.toBe(reason);
    });
  });

  describe('a lock that is made to last longer', () => {
    const inHours = (hours: number): Date => new Date(Math.ceil(Date.now() / 1000) * 1000 + hours * HOUR_MS);
    const lockOf = async (key: ObjectKey, versionId?: string) =>
      (await on.store.head(key, { signal: never, ...(versionId === undefined ? {} : { versionId }) }))?.lock;

    test('lasts until then, for that version, and is never made shorter', async () => {
      const { key } = keys();
      if (!on.setup.locks) {
        await put(key('a'), 'x');
        const extended = on.store.extendLock(key('a'), { until: inHours(2), mode: 'governance' }, { signal: never });
        await expect(extended).rejects.toMatchObject({ code: 'E_PRECONDITION' });
        return;
      }
      const mode = 'governance';
      const stored = await put(key('a'), 'x', { lock: { mode, until: inHours(1) } });
      const { versionId } = stored;
      if (versionId === undefined) throw new Error('no version');
      const until = inHours(5);
      await on.store.extendLock(key('a'), { until, mode }, { signal: never });
      expect(await lockOf(key('a'))).toEqual({ mode, until });
      const later = inHours(6);
      await on.store.extendLock(key('a'), { versionId, until: later, mode }, { signal: never });
      expect(await lockOf(key('a'), versionId)).toEqual({ mode, until: later });
      const shorter = on.store.extendLock(key('a'), { versionId, until: inHours(3), mode }, { signal: never });
      await expect(shorter).rejects.toMatchObject({ code: 'E_STORE_LOCKED', retryable: false });
      expect(await lockOf(key('a'), versionId)).toEqual({ mode, until: later });
      // Of a version that was replaced VersityGW forgets it: said, and never taken for done.
      await put(key('a'), 'newer', { condition: { etag: stored.etag }, lock: { mode, until: inHours(1) } });
      const last = inHours(8);
      const told = await on.store.extendLock(key('a'), { versionId, until: last, mode }, { signal: never }).then(
        () => 'done',
        (e: unknown) => (isError(e) ? e.code : e),
      );
      const isDone = (await lockOf(key('a'), versionId))?.until.getTime() === last.getTime();
      expect(told).toBe(isDone ? 'done' : 'E_STORE_RESPONSE');
      expect((await lockOf(key('a')))?.until.getTime()).toBeLessThan(inHours(2).getTime());
    });

    test('of what is not there is an error', async () => {
      const { key } = keys();
      const extended = on.store.extendLock(key('a'), { until: inHours(2), mode: 'governance' }, { signal: never });
      // Where nothing can be locked both are true, and the one that is seen first is told.
      const codes = on.setup.locks ? ['E_NOT_FOUND'] : ['E_NOT_FOUND', 'E_PRECONDITION'];
      await expect(extended).rejects.toMatchObject({ code: expect.toBeOneOf(codes) as string });
    });
  });
}
