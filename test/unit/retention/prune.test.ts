/** Prunes of real directories with real, signed snapshots in them: what goes is what the plan says, and nothing else. */
import { rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Records } from '../../../src/catalogue/records.ts';
import { StrongroomError } from '../../../src/core/errors.ts';
import { newRunId, newSnapshotId, type SnapshotId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { takeLease } from '../../../src/lease/take.ts';
import { prune } from '../../../src/retention/prune.ts';
import { openTmp } from '../../../src/store/file-write.ts';
import { latestKey, type ObjectKey, type ObjectKind, objectKey } from '../../../src/store/layout.ts';
import { holdKey, proofKey, recordPrefix } from '../../../src/store/record-layout.ts';
import { filesIn } from '../../support/backup-trial.ts';
import { hooked } from '../../support/hooked-store.ts';
import { DAY_MS, HOUR_MS, PruneScene } from '../../support/prune-scene.ts';

// Each test encrypts and signs several snapshots, on machines that do other things, too.
const never = new AbortController().signal;
const TWO = { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } } as const;
const denied = (): StrongroomError => new StrongroomError('E_STORE_DENIED', 'deleting is not allowed');

let scene: PruneScene;
beforeEach(async () => {
  scene = await PruneScene.open(TWO, { keepLast: 2 });
});
afterEach(() => scene?.[Symbol.asyncDispose]());

const pathOf = (where: string, key: string): string => join(scene.shelf.world.directory, where, key);
const remove = (where: string, key: string): Promise<void> => rm(pathOf(where, key));
const key = (kind: ObjectKind, id: SnapshotId): ObjectKey => objectKey(scene.shelf.deps.cluster, kind, id);

/** Which snapshots have any object in `where`, and how many. */
async function objectsIn(where: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const file of await filesIn(pathOf(where, 'v1'))) {
    if (!/\/(?:keys|data|sigs|manifests)\//.test(file)) continue;
    const id = /([0-9A-Z]{26})\.(?:keys\.json|snap\.age|json\.sig|json)$/.exec(file)?.[1] ?? file;
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

const removedIn = (result: Awaited<ReturnType<PruneScene['prune']>>, where: string): SnapshotId[] =>
  result.destinations.find(({ destination }) => destination === where)?.removed.map(({ snapshot }) => snapshot) ?? [];

describe('a prune', () => {
  it('removes what its plan says from every destination, journaled first, and does nothing the second time', async () => {
    const all = [];
    for (const daysAgo of [5, 4, 3, 2, 1]) all.push(await scene.publish(daysAgo));
    const [first, second, third, fourth, fifth] = all.map(({ snapshot }) => snapshot) as [
      SnapshotId,
      SnapshotId,
      SnapshotId,
      SnapshotId,
      SnapshotId,
    ];
    const plan = await scene.plan();
    const names = { [first]: '1', [second]: '2', [third]: '3', [fourth]: '4', [fifth]: '5' };
    for (const where of ['a', 'b']) {
      expect(PruneScene.lines(plan, where, names)).toEqual([
        '1 remove: no rule keeps it',
        '2 remove: no rule keeps it',
        '3 remove: no rule keeps it',
        '4 keep: last (2 of 2)',
        '5 keep: last (1 of 2); the newest good one; the newest verified one',
      ]);
    }
    expect(Object.keys(await objectsIn('a'))).toHaveLength(5);

    const result = await scene.prune();
    expect(removedIn(result, 'a')).toEqual([first, second, third]);
    expect(removedIn(result, 'b')).toEqual([first, second, third]);
    for (const where of ['a', 'b']) expect(await objectsIn(where)).toEqual({ [fourth]: 4, [fifth]: 4 });
    const { names: journal } = await scene.records.prunes(never);
    expect(journal.map(({ destination, part }) => `${destination} ${part}`)).toEqual(['a 1', 'b 1']);
    const [entry] = journal;
    if (entry === undefined) throw new Error('no journal');
    expect((await scene.records.readPrune(entry, never)).removals).toEqual(
      [first, second, third].map((snapshot) => ({
        snapshot,
        what: 'snapshot',
        bytes: expect.any(Number) as number,
        reasons: ['no rule keeps it'],
      })),
    );

    const again = await scene.prune();
    expect(again.destinations.flatMap((one) => [one.removed, one.orphans, one.deferred, one.extended]).flat()).toEqual(
      [],
    );
    expect((await scene.records.prunes(never)).names).toHaveLength(2);
  });

  it('does not delete a thing before every destination has the journal', async () => {
    for (const daysAgo of [3, 2, 1]) await scene.publish(daysAgo);
    const journals: number[] = [];
    await scene.prune((store) =>
      hooked(store, {
        delete: async (next) => {
          const found = await Promise.all(
            ['a', 'b'].map((where) => filesIn(pathOf(where, recordPrefix(scene.shelf.deps.cluster, 'prunes')))),
          );
          journals.push(...found.map((files) => files.length));
          await next();
        },
      }),
    );
    expect(Math.min(...journals)).toBeGreaterThan(0);

    await scene.publish(0.5);
    const before = await objectsIn('a');
    const refused = await scene.prune((store) =>
      hooked(store, {
        put: (next, at) => (store.name === 'b' && at.includes('/prunes/') ? Promise.reject(denied()) : next()),
      }),
    );
    expect(refused.destinations.map(({ error }) => error?.code)).toEqual(['E_STORE_DENIED', 'E_STORE_DENIED']);
    expect(await objectsIn('a')).toEqual(before);
  });

  it('removes nothing when its journal would not be believed', async () => {
    for (const daysAgo of [3, 2, 1]) await scene.publish(daysAgo);
    const deps = await scene.deps();
    const signer = localSigner(generateSigningKey().privateKeyPem);
    const trusted = [await scene.shelf.deps.signer.publicKeyPem(never)];
    const records = new Records({ cluster: deps.cluster, stores: scene.stores, trusted, signer });
    const result = await prune({ ...deps, records }, { run: newRunId(new Date()) }, never);
    expect(result.destinations.map(({ error }) => error?.code)).toEqual(['E_SIGNATURE', 'E_SIGNATURE']);
    for (const where of ['a', 'b']) expect(Object.keys(await objectsIn(where))).toHaveLength(3);
  });

  it('of one destination leaves the other alone', async () => {
    for (const daysAgo of [3, 2, 1]) await scene.publish(daysAgo);
    const result = await scene.prune(undefined, 'b');
    expect(result.destinations.map(({ destination }) => destination)).toEqual(['b']);
    expect(Object.keys(await objectsIn('a'))).toHaveLength(3);
    expect(Object.keys(await objectsIn('b'))).toHaveLength(2);
  });

  it('waits for nobody who is at work', async () => {
    for (const daysAgo of [3, 2, 1]) await scene.publish(daysAgo);
    const { cluster, log, clock } = scene.shelf.deps;
    const self = { host: 'elsewhere', pid: 1, startTime: null, space: null };
    const deps = { cluster, stores: scene.stores.slice(1), clock, log, ttlMs: 20_000, self };
    const options = { need: 'any', waitMs: 0, run: newRunId(new Date()), door: 'backup', fence: null } as const;
    await using lease = await takeLease(deps, options, never);
    expect(lease.heldIn).toEqual(['b']);
    await expect(scene.prune()).rejects.toMatchObject({ code: 'E_LOCKED' });
    expect(Object.keys(await objectsIn('a'))).toHaveLength(3);
  });
});

describe('what is never removed', () => {
  it('is what is held, until the hold ends or a release that can be believed', async () => {
    const [old] = [await scene.publish(9), await scene.publish(3), await scene.publish(2), await scene.publish(1)];
    const { snapshot } = old;
    const action = async (): Promise<string | undefined> =>
      (await scene.plan()).destinations[0]?.snapshots.find((one) => one.snapshot === snapshot)?.action;
    expect(await action()).toBe('remove');
    await scene.hold(snapshot, 'hold', new Date(), new Date(scene.now.getTime() + HOUR_MS));
    expect(await action()).toBe('keep');
    const release = holdKey(scene.shelf.deps.cluster, { snapshot, act: 'release', id: newRunId(new Date()) });
    for (const where of ['a', 'b']) await writeFile(pathOf(where, release), '{"payloadType":"x"}');
    expect(await action()).toBe('keep');
    scene.now = new Date(scene.now.getTime() + 2 * HOUR_MS);
    expect(await action()).toBe('remove');
    await scene.hold(snapshot, 'hold', new Date(Date.now() + 1_000));
    expect(await action()).toBe('keep');
    const kept = await scene.prune();
    expect(removedIn(kept, 'a')).not.toContain(snapshot);
    await scene.hold(snapshot, 'release', new Date(Date.now() + 2_000));
    expect(await action()).toBe('remove');
  });

  it('is anything after a failed backup, until there is a newer good one', async () => {
    for (const daysAgo of [4, 3, 2]) await scene.publish(daysAgo);
    await scene.run({ startedAt: new Date(scene.now.getTime() - 3 * DAY_MS).toISOString() });
    expect((await scene.plan()).lastRunFailed).toBe(false);
    await scene.run({ startedAt: new Date(scene.now.getTime() - DAY_MS).toISOString(), outcome: 'failed' });
    const plan = await scene.plan();
    expect(plan.lastRunFailed).toBe(true);
    expect(plan.destinations[0]?.snapshots.at(-1)).toMatchObject({ action: 'keep', reasons: ['after a failed run'] });
    expect(removedIn(await scene.prune(), 'a')).toEqual([]);
    // Of another job, and not signed: neither speaks for a backup.
    await scene.run({ startedAt: scene.now.toISOString(), outcome: 'done', job: 'verify' });
    expect((await scene.plan()).lastRunFailed).toBe(true);
    await scene.publish(0.1);
    expect((await scene.plan()).lastRunFailed).toBe(false);
  });

  it('is the newest copy that is not known to be bad: a bad one stands for nobody', async () => {
    const [first, second, third] = [await scene.publish(4), await scene.publish(2), await scene.publish(1)];
    expect(PruneScene.lines(await scene.plan(), 'a', { [first.snapshot]: '1' })[0]).toBe('1 remove: no rule keeps it');
    await scene.prove(third.snapshot, 'a', 'bad', new Date(scene.now.getTime() - 2 * HOUR_MS));
    const names = { [first.snapshot]: '1', [second.snapshot]: '2', [third.snapshot]: '3' };
    expect(PruneScene.lines(await scene.plan(), 'a', names)).toEqual([
      '1 keep: last (2 of 2)',
      '2 keep: last (1 of 2); the newest good one; the newest verified one',
      '3 keep: found bad when it was read again; if it were good: last (1 of 2)',
    ]);
    // In b it is still good, and a, which is to have it, has it bad: the copy in b is what it is repaired from.
    expect(PruneScene.lines(await scene.plan(), 'b', names)[0]).toBe('1 remove: no rule keeps it');
    // Somebody who cannot sign says that it is good again.
    const proof = newRunId(scene.now);
    const forged = { snapshot: third.snapshot, destination: 'a', proof, verdict: 'good' } as const;
    await writeFile(pathOf('a', proofKey(scene.shelf.deps.cluster, forged)), '{}');
    expect(PruneScene.lines(await scene.plan(), 'a', names)[0]).toBe('1 keep: last (2 of 2)');
    await scene.prove(third.snapshot, 'a', 'good', new Date(scene.now.getTime() + 1));
    expect(PruneScene.lines(await scene.plan(), 'a', names)[0]).toBe('1 remove: no rule keeps it');
  });

  it('is a snapshot that another destination is to keep and has not', async () => {
    const first = await scene.publish(4, ['a']);
    for (const daysAgo of [3, 2, 1]) await scene.publish(daysAgo, daysAgo === 3 ? ['a', 'b'] : ['a']);
    // b lacks three, and would keep the two newest of all: this one it would not.
    expect(PruneScene.lines(await scene.plan(), 'a', { [first.snapshot]: '1' })[0]).toBe('1 remove: no rule keeps it');
    await using other = await PruneScene.open(TWO, { keepLast: 1, destinations: { b: { keepLast: 3 } } });
    const old = await other.publish(4, ['a']);
    await other.publish(3);
    await other.publish(1);
    const here = PruneScene.lines(await other.plan(), 'a', { [old.snapshot]: 'old' });
    expect(here[0]).toBe('old keep: no rule keeps it; b is to keep it, and has no good copy');
    expect(here[1]).toMatch(/ remove: no rule keeps it$/);
  });

  it('is what latest.json points to, whoever wrote that', async () => {
    const [first] = [await scene.publish(4), await scene.publish(2), await scene.publish(1)];
    const { cluster } = scene.shelf.deps;
    await writeFile(pathOf('a', latestKey(cluster)), JSON.stringify({ snapshot: first.snapshot, manifest: 'x' }));
    const lines = PruneScene.lines(await scene.plan(), 'a', { [first.snapshot]: '1' });
    expect(lines[0]).toBe('1 keep: no rule keeps it; latest.json points to it');
  });

  it('is anything when a manifest cannot be read now: that is not known to be bad', async () => {
    const [, second] = [await scene.publish(4), await scene.publish(2), await scene.publish(1)];
    const away = (store: Parameters<typeof hooked>[0]): ReturnType<typeof hooked> =>
      hooked(store, {
        get: (next, at) => {
          if (store.name !== 'b' || at !== key('manifests', second.snapshot)) return next();
          throw new StrongroomError('E_STORE_UNREACHABLE', 'b is away');
        },
      });
    await expect(scene.prune(away)).rejects.toMatchObject({ code: 'E_STORE_UNREACHABLE' });
    for (const where of ['a', 'b']) expect(Object.keys(await objectsIn(where))).toHaveLength(3);
  });
});

describe('a prune that does not come to its end', () => {
  it('leaves no half of a snapshot that is ever listed, and what is left goes at the next one', async () => {
    const [first] = [await scene.publish(4), await scene.publish(2), await scene.publish(1)];
    const { snapshot } = first;
    const dying = (store: Parameters<typeof hooked>[0]): ReturnType<typeof hooked> =>
      hooked(store, {
        delete: (next, at) => (at.includes('/data/') ? Promise.reject(new Error('the machine lost power')) : next()),
      });
    await expect(scene.prune(dying)).rejects.toThrow('lost power');
    expect((await objectsIn('a'))[snapshot]).toBe(2);
    const catalogue = (await scene.deps()).catalogue.only('a');
    expect((await catalogue.list(never)).entries.map((entry) => entry.snapshot)).not.toContain(snapshot);
    // It has a proof, and b has its manifest: without the journal it would be left alone.
    await scene.prove(snapshot, 'a', 'good', scene.now);
    const result = await scene.prune();
    expect(result.destinations[0]?.orphans).toEqual([
      { what: 'objects', name: snapshot, bytes: expect.any(Number) as number },
    ]);
    for (const where of ['a', 'b']) expect((await objectsIn(where))[snapshot]).toBeUndefined();
  });

  it('for want of the right to delete is said once, and the other destinations are carried out', async () => {
    const [first] = [await scene.publish(4), await scene.publish(2), await scene.publish(1)];
    let asked = 0;
    const result = await scene.prune((store) =>
      hooked(store, {
        delete: (next) => {
          if (store.name !== 'a') return next();
          asked += 1;
          return Promise.reject(denied());
        },
      }),
    );
    expect(asked).toBe(1);
    expect(result.destinations.map(({ error }) => error?.code ?? null)).toEqual(['E_STORE_DENIED', null]);
    expect((await objectsIn('a'))[first.snapshot]).toBe(4);
    expect(removedIn(result, 'b')).toEqual([first.snapshot]);
  });
});

describe('what belongs to no snapshot', () => {
  const orphansIn = async (where: string): Promise<string[]> =>
    (await scene.plan()).destinations
      .filter(({ destination }) => destination === where)
      .flatMap(({ orphans }) => orphans.map(({ what, action, reason }) => `${what} ${action}: ${reason}`));

  /** As a backup leaves it that was killed before its signature. */
  async function leave(kinds: readonly ('keys' | 'data')[], where = 'a'): Promise<SnapshotId> {
    const snapshot = newSnapshotId(scene.now);
    const store = scene.stores.find(({ name }) => name === where);
    const put = { signal: never, condition: 'absent', contentType: 'x' } as const;
    for (const kind of kinds) await store?.put(key(kind, snapshot), Buffer.from('left'), put);
    return snapshot;
  }

  it('goes after a day', async () => {
    await scene.publish(1);
    const snapshot = await leave(['keys', 'data']);
    const tmp = pathOf('a', `.strongroom/tmp/${key('data', snapshot)}`);
    const { handle } = await openTmp(tmp);
    await handle.close();
    expect(await orphansIn('a')).toEqual([
      'objects keep: no manifest, and younger than a day',
      expect.stringMatching(/^upload keep: .*younger than a day$/) as string,
    ]);
    expect((await scene.prune()).destinations[0]?.orphans).toEqual([]);
    scene.now = new Date(scene.now.getTime() + 2 * DAY_MS);
    expect(await orphansIn('a')).toEqual([
      'objects remove: no manifest for over a day: its backup never ended',
      expect.stringMatching(/^upload remove: unfinished upload of /) as string,
    ]);
    const { destinations } = await scene.prune();
    expect(destinations[0]?.orphans.map(({ what }) => what)).toEqual(['objects', 'upload']);
    expect((await objectsIn('a'))[snapshot]).toBeUndefined();
    expect(await orphansIn('a')).toEqual([]);
  });

  it('stays where its manifest was taken away by somebody else, or is in another destination', async () => {
    const [first] = [await scene.publish(3), await scene.publish(2), await scene.publish(1)];
    scene.now = new Date(scene.now.getTime() + 2 * DAY_MS);
    await remove('a', key('manifests', first.snapshot));
    expect(await orphansIn('a')).toEqual(['objects keep: its manifest is in b: replicate completes it here']);
    await remove('b', key('manifests', first.snapshot));
    await scene.prove(first.snapshot, 'b', 'good', scene.now);
    expect(await orphansIn('a')).toEqual([
      'objects keep: its manifest was taken away by somebody else than a prune: there is a proof of it',
    ]);
    await scene.prune();
    expect((await objectsIn('a'))[first.snapshot]).toBe(3);
  });

  it('stays when a later manifest names it', async () => {
    const first = await scene.shelf.publish({ now: new Date(scene.now.getTime() - 3 * DAY_MS) });
    const found = await (await scene.deps()).catalogue.read(first.snapshot, never);
    await scene.shelf.publish({ now: new Date(scene.now.getTime() - DAY_MS), previous: found });
    for (const where of ['a', 'b']) await remove(where, key('manifests', first.snapshot));
    scene.now = new Date(scene.now.getTime() + 2 * DAY_MS);
    expect(await orphansIn('a')).toEqual([
      'objects keep: its manifest was taken away by somebody else than a prune: a later manifest names it',
    ]);
  });

  it('counts a snapshot without its data as no good one', async () => {
    const [first, , third] = [await scene.publish(3), await scene.publish(2), await scene.publish(1)];
    await remove('a', key('data', third.snapshot));
    const lines = PruneScene.lines(await scene.plan(), 'a', { [first.snapshot]: '1', [third.snapshot]: '3' });
    expect(lines[0]).toBe('1 keep: last (2 of 2)');
    expect(lines[2]).toBe('3 keep: no data here; if it were good: last (1 of 2)');
    await writeFile(pathOf('a', key('data', third.snapshot)), 'short');
    await utimes(pathOf('a', key('data', third.snapshot)), new Date(), new Date());
    const after = PruneScene.lines(await scene.plan(), 'a', { [first.snapshot]: '1', [third.snapshot]: '3' });
    expect(after[2]).toMatch(/^3 keep: 5 bytes of data instead of \d+; if it were good/);
  });
});
