/** Snapshots that are bad and cannot be removed: marked, passed over by a restore, and back once they are proven good. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newRunId, type SnapshotId, snapshotTime } from '../../../src/core/ids.ts';
import { openSource } from '../../../src/restore/source.ts';
import { objectKey } from '../../../src/store/layout.ts';
import { markKey } from '../../../src/store/record-layout.ts';
import type { Store } from '../../../src/store/store.ts';
import { hooked } from '../../support/hooked-store.ts';
import { DAY_MS, PruneScene, type Published } from '../../support/prune-scene.ts';
import { openApp } from '../../support/strongroom-app.ts';

// Each test encrypts and signs several snapshots, on machines that do other things, too.
const never = new AbortController().signal;
const TWO = { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } } as const;

let scene: PruneScene;
let good: Published;
let bad: Published;
beforeEach(async () => {
  scene = await PruneScene.open(TWO, { keepLast: 2 });
  good = await scene.publish(2);
  bad = await scene.publish(1);
});
afterEach(() => scene?.[Symbol.asyncDispose]());

/** A directory locks nothing: as a bucket would show the data of the bad one. */
const locked = (store: Store): Store =>
  hooked(store, {
    head: async (next, key) => {
      const head = await next();
      const isIt = key === objectKey(scene.shelf.deps.cluster, 'data', bad.snapshot);
      const until = new Date(scene.now.getTime() + DAY_MS);
      return head === null || !isIt ? head : { ...head, lock: { mode: 'compliance', until } };
    },
  });

const proveBad = async (): Promise<void> => {
  for (const where of ['a', 'b']) await scene.prove(bad.snapshot, where, 'bad', new Date(scene.now.getTime() - 1_000));
};

const newest = async (notAfter?: Date): Promise<string | undefined> =>
  (await scene.shelf.deps.catalogue.latest(never, notAfter === undefined ? {} : { notAfter })).newest?.manifest
    .snapshot;

async function source(
  name: SnapshotId | 'latest' | { notAfter: Date },
  takeMarked = false,
): Promise<{ id: string | undefined; warnings: string[] }> {
  await using app = await openApp(scene.shelf.app);
  const options = {
    targetToken: null,
    withSafety: false,
    nextShare: () => Promise.resolve(null),
    askRestart: () => undefined,
  };
  const deps = await app.restoreDeps('prod', options, never);
  await using opened = await openSource(deps, name, never, { takeMarked });
  return { id: opened.manifest?.snapshot, warnings: opened.warnings };
}

it('marks what is bad everywhere and locked, and a restore passes it over and says so', async () => {
  await proveBad();
  const result = await scene.prune(locked);
  expect(result.marks).toEqual([{ snapshot: bad.snapshot, act: 'ignore', why: 'a: other bytes; b: other bytes' }]);
  expect(await newest()).toBe(good.snapshot);
  expect(await newest(snapshotTime(bad.snapshot))).toBe(good.snapshot);
  const passed = expect.stringMatching(
    new RegExp(`^passed over ${bad.snapshot}, marked on .* ignored for restore: a: other`),
  ) as string;
  expect(await source('latest')).toEqual({ id: good.snapshot, warnings: [passed] });
  expect(await source({ notAfter: scene.now })).toEqual({ id: good.snapshot, warnings: [passed] });
  await expect(source(bad.snapshot)).rejects.toMatchObject({
    code: 'E_PRECONDITION',
    message: expect.stringContaining('to be ignored for restore: a: other bytes; b: other bytes') as string,
  });
  // Whoever names it, and says that it is known, gets it: it is verified like any other.
  expect(await source(bad.snapshot, true)).toEqual({
    id: bad.snapshot,
    warnings: [expect.stringMatching(/^\S+ is marked on .* it is taken because --marked says so$/) as string],
  });
  expect(await source(good.snapshot)).toEqual({ id: good.snapshot, warnings: [] });
  // It was decided: the second run writes nothing.
  expect((await scene.prune(locked)).marks).toEqual([]);
  const planned = (await scene.plan(locked)).destinations[0]?.snapshots[0];
  expect(planned).toMatchObject({ snapshot: bad.snapshot, action: 'keep', reasons: ['without a newer verified copy'] });
});

it('lifts the mark when a copy was read again and found good', async () => {
  await proveBad();
  await scene.prune(locked);
  await scene.prove(bad.snapshot, 'b', 'good', new Date(Date.now() + 60_000));
  expect((await scene.prune(locked)).marks).toEqual([
    { snapshot: bad.snapshot, act: 'lift', why: 'found good in b since' },
  ]);
  expect(await newest()).toBe(bad.snapshot);
  expect(await source(bad.snapshot)).toEqual({ id: bad.snapshot, warnings: [] });
});

it('lifts it under a clock that is behind the one under which it was set', async () => {
  await proveBad();
  const records = (await scene.deps()).records;
  const ahead = new Date(scene.now.getTime() + 1_800_000);
  const mark = { schema: '1', cluster: records.cluster, snapshot: bad.snapshot, id: newRunId(ahead) } as const;
  const at = new Date(scene.now.getTime() - 500).toISOString();
  await records.writeMark({ ...mark, act: 'ignore', at, who: 'ana', why: 'other bytes' }, never);
  expect(await newest()).toBe(good.snapshot);
  await scene.prove(bad.snapshot, 'b', 'good', new Date(scene.now.getTime() + 60_000));
  expect((await scene.prune(locked)).marks).toMatchObject([{ act: 'lift' }]);
  expect(await newest()).toBe(bad.snapshot);
});

it('does not mark what is good somewhere, or is not locked', async () => {
  await scene.prove(bad.snapshot, 'a', 'bad', new Date(scene.now.getTime() - 1_000));
  expect((await scene.plan(locked)).marks).toEqual([]);
  await proveBad();
  expect((await scene.plan()).marks).toEqual([]);
  expect((await scene.plan(locked)).marks).toHaveLength(1);
});

it('believes no mark that nobody trusted signed', async () => {
  const key = markKey(scene.shelf.deps.cluster, { snapshot: bad.snapshot, act: 'ignore', id: newRunId(new Date()) });
  await proveBad();
  await scene.prune(locked);
  const lift = key.replace('-ignore', '-lift');
  await writeFile(join(scene.shelf.world.directory, 'a', lift), '{}');
  expect(await newest()).toBe(good.snapshot);
});
