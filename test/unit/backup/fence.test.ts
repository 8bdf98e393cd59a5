/** Publishing against a fence: a run that lost its lease leaves nothing to be seen, and one that was quicker is completed. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fencedBy, tombstones } from '../../../src/backup/fence.ts';
import { clearTraces } from '../../../src/backup/sweep.ts';
import { commitIn } from '../../../src/catalogue/tombstone.ts';
import { StrongroomError } from '../../../src/core/errors.ts';
import { newRunId, newSnapshotId, type SnapshotId } from '../../../src/core/ids.ts';
import { objectKey } from '../../../src/store/layout.ts';
import type { Store } from '../../../src/store/store.ts';
import { filesIn } from '../../support/backup-trial.ts';
import { hooked } from '../../support/hooked-store.ts';
import { Shelf } from '../../support/shelf.ts';

const never = new AbortController().signal;

let shelf: Shelf;
beforeEach(async () => {
  shelf = await Shelf.open({ a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } });
});
afterEach(() => shelf?.[Symbol.asyncDispose]());

const store = (name: string): Store => {
  const found = shelf.deps.destinations.find((destination) => destination.store.name === name)?.store;
  if (found === undefined) throw new Error(`no store ${name}`);
  return found;
};
const both = (): Store[] => [store('a'), store('b')];
const fence = (snapshot: SnapshotId, stores = both()): Promise<string[]> =>
  tombstones(shelf.deps, newRunId(new Date()))(snapshot, stores, never);
const kindIn = async (name: string, snapshot: SnapshotId): Promise<string> =>
  (await commitIn(shelf.deps.catalogue, store(name), snapshot, never)).kind;
const removeManifest = async (name: string, snapshot: SnapshotId): Promise<void> =>
  await rm(join(shelf.world.directory, name, objectKey(shelf.deps.cluster, 'manifests', snapshot)));
const objectsOf = async (snapshot: SnapshotId): Promise<string[]> =>
  (await Promise.all(['a', 'b'].map((name) => filesIn(join(shelf.world.directory, name)))))
    .flat()
    .filter((path) => path.includes(snapshot) && !path.includes('/.strongroom/'));

describe('a fence', () => {
  it('stops a publication in every destination, and it is twice the same', async () => {
    const snapshot = newSnapshotId(new Date());
    expect(await fence(snapshot)).toEqual(['a', 'b']);
    expect(await fence(snapshot)).toEqual(['a', 'b']);
    await expect(shelf.publish({ snapshot })).rejects.toMatchObject({
      code: 'E_LOCKED',
      message: expect.stringContaining('may not be published') as string,
    });
    expect((await shelf.deps.catalogue.list(never)).entries).toEqual([]);
  });

  it('leaves a published snapshot alone, also where only one destination has it yet', async () => {
    const { snapshot } = await shelf.publish();
    expect(await fence(snapshot)).toEqual(['a', 'b']);
    await removeManifest('a', snapshot);
    expect(await fence(snapshot)).toEqual(['a', 'b']);
    expect(await kindIn('a', snapshot)).toBe('absent');
    expect(await kindIn('b', snapshot)).toBe('manifest');
    expect(await fencedBy(shelf.deps, store('b'), snapshot, never)).toBeNull();
  });

  it('that a destination does not take is not settled there', async () => {
    const refusal = new StrongroomError('E_STORE_DENIED', 'read-only');
    const stores = [store('a'), hooked(store('b'), { put: () => Promise.reject(refusal) })];
    expect(await fence(newSnapshotId(new Date()), stores)).toEqual(['a']);
  });
});

describe('the sweep', () => {
  /** Everything of a run that was fenced between its signature and its manifest. */
  async function fencedRun(): Promise<SnapshotId> {
    const { snapshot } = await shelf.publish();
    for (const name of ['a', 'b']) await removeManifest(name, snapshot);
    await fence(snapshot);
    return snapshot;
  }

  it('removes what a fenced run left, at once, and leaves the fence', async () => {
    const snapshot = await fencedRun();
    expect(await objectsOf(snapshot)).toHaveLength(8);
    const traces = await clearTraces(shelf.deps, snapshot, { isLast: false }, never);
    expect(traces).toMatchObject({ published: false, incomplete: false });
    const manifest = objectKey(shelf.deps.cluster, 'manifests', snapshot);
    const left = await objectsOf(snapshot);
    expect(left).toEqual(['a', 'b'].map((name) => join(shelf.world.directory, name, manifest)));
  });

  it('completes a copy over a fence that came too late', async () => {
    const { snapshot } = await shelf.publish();
    await removeManifest('b', snapshot);
    await fence(snapshot, [store('b')]);
    expect(await kindIn('b', snapshot)).toBe('tombstone');
    const { entries } = await shelf.deps.catalogue.list(never);
    expect(entries).toEqual([{ snapshot, destinations: ['a'] }]);
    const traces = await clearTraces(shelf.deps, snapshot, { isLast: true }, never);
    expect(traces).toMatchObject({ published: true, completed: ['b'], incomplete: false });
    expect(await kindIn('b', snapshot)).toBe('manifest');
  });

  it('waits for a manifest that may still come where no fence stands', async () => {
    const snapshot = await fencedRun();
    await removeManifest('b', snapshot);
    const traces = await clearTraces(shelf.deps, snapshot, { isLast: false }, never);
    expect(traces).toMatchObject({ published: false, incomplete: true, removed: [] });
  });
});
