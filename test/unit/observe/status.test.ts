/** What a cluster's destinations tell of how safe it is: by what is there and signed, never by names or old promises. */
import { cp, mkdir, rm, truncate, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalogue } from '../../../src/catalogue/catalogue.ts';
import { Records } from '../../../src/catalogue/records.ts';
import { newRunId, type RunId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import type { StatusDeps } from '../../../src/observe/cluster-status.ts';
import { RecordMemory } from '../../../src/observe/record-memory.ts';
import { readStatus } from '../../../src/observe/status.ts';
import { latestKey, objectKey } from '../../../src/store/layout.ts';
import { proofKey, runKey } from '../../../src/store/record-layout.ts';
import type { Store } from '../../../src/store/store.ts';
import { type Failing, FailingStore } from './failing-store.ts';
import { at, Scene } from './scene.ts';

const never = new AbortController().signal;
const stranger = localSigner(generateSigningKey().privateKeyPem);
let scene: Scene;

beforeEach(async () => {
  scene = await Scene.create();
});
afterEach(async () => {
  await scene[Symbol.asyncDispose]();
});

const destination = (status: Awaited<ReturnType<Scene['status']>>, name: string) =>
  status.destinations.find((one) => one.name === name);

describe('the newest backup', () => {
  it('there is none where nothing was ever stored, and that is known', async () => {
    expect(await scene.status(at(1))).toEqual({
      cluster: 'prod',
      readAt: at(1),
      newest: null,
      newestWhole: null,
      isWholeKnown: true,
      fromTheFuture: [],
      members: [],
      destinations: ['a', 'b'].map((name) => ({
        name,
        away: null,
        newest: null,
        problems: [],
        copiesMissing: 0,
        lastProofAt: null,
        badCopies: 0,
        locks: null,
      })),
      jobs: {},
      recordsProblem: null,
    });
  });

  it('is whole when every destination holds it', async () => {
    await scene.backup(at(0));
    const snapshot = await scene.backup(at(6));
    const status = await scene.status(at(7));
    const fact = { snapshot, at: at(6), finishedAt: new Date(at(6).getTime() + 60_000), bytes: 4096, records: 17 };
    expect(status).toMatchObject({ newest: fact, newestWhole: fact, isWholeKnown: true });
    expect(status.destinations).toMatchObject([
      { newest: fact, copiesMissing: 0 },
      { newest: fact, copiesMissing: 0 },
    ]);
  });

  it('that one destination lacks is the newest, and not the newest whole', async () => {
    const whole = await scene.backup(at(0));
    await scene.backup(at(6), { in: ['a'] });
    const newest = await scene.backup(at(12), { in: ['a'] });
    const status = await scene.status(at(13));
    expect(status).toMatchObject({ newest: { snapshot: newest }, newestWhole: { snapshot: whole } });
    expect(destination(status, 'b')).toMatchObject({ newest: { snapshot: whole }, copiesMissing: 2, problems: [] });
    expect(destination(status, 'a')).toMatchObject({ copiesMissing: 0 });
  });

  it('of either destination alone is not whole', async () => {
    await scene.backup(at(0), { in: ['b'] });
    await scene.backup(at(6), { in: ['a'] });
    const status = await scene.status(at(7));
    expect(status).toMatchObject({ newestWhole: null, isWholeKnown: true });
    expect(status.destinations.map(({ copiesMissing }) => copiesMissing)).toEqual([1, 1]);
  });

  it('is no safety snapshot', async () => {
    const snapshot = await scene.backup(at(0));
    await scene.backup(at(6), { purpose: 'safety' });
    expect(await scene.status(at(7))).toMatchObject({ newest: { snapshot }, newestWhole: { snapshot } });
  });

  it('that is whole is no safety snapshot either', async () => {
    const whole = await scene.backup(at(0));
    await scene.backup(at(3), { purpose: 'safety' });
    await scene.backup(at(6), { in: ['a'] });
    const status = await scene.status(at(7));
    expect(status).toMatchObject({ newestWhole: { snapshot: whole } });
    expect(destination(status, 'b')).toMatchObject({ copiesMissing: 1 });
  });

  it('is whole again when a copy that it lacked was made later', async () => {
    const snapshot = await scene.backup(at(0), { in: ['a'] });
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) {
      const key = objectKey(scene.cluster, kind, snapshot);
      await mkdir(dirname(scene.path('b', key)), { recursive: true });
      await cp(scene.path('a', key), scene.path('b', key));
    }
    expect(await scene.status(at(1))).toMatchObject({ newestWhole: { snapshot } });
  });
});

describe('a copy that was taken away after its backup', () => {
  it.each(['keys', 'data', 'sigs', 'manifests'] as const)('is told when its %s is gone', async (kind) => {
    const before = await scene.backup(at(0));
    const snapshot = await scene.backup(at(6));
    await rm(scene.path('b', objectKey(scene.cluster, kind, snapshot)));
    const status = await scene.status(at(7));
    expect(status).toMatchObject({ newest: { snapshot }, newestWhole: { snapshot: before } });
    const b = destination(status, 'b');
    expect(b).toMatchObject({ away: null, copiesMissing: 1 });
    expect(b?.problems.map(({ message }) => message).join()).toContain(snapshot);
    expect(destination(status, 'a')).toMatchObject({ problems: [], copiesMissing: 0 });
  });

  it('is told when its data is shorter', async () => {
    const snapshot = await scene.backup(at(6));
    await truncate(scene.path('b', objectKey(scene.cluster, 'data', snapshot)), 3);
    const status = await scene.status(at(7));
    expect(status).toMatchObject({ newest: { snapshot }, newestWhole: null, isWholeKnown: true });
    expect(destination(status, 'b')?.problems).toMatchObject([{ code: 'E_STORE_CHECKSUM' }]);
  });

  it('is not told while the run that makes it may still be publishing', async () => {
    const snapshot = await scene.backup(at(6), { finishedAt: at(7) });
    await rm(scene.path('b', objectKey(scene.cluster, 'manifests', snapshot)));
    await rm(scene.path('b', latestKey(scene.cluster)));
    const soon = await scene.status(new Date(at(7).getTime() + 4 * 60_000));
    expect(destination(soon, 'b')).toMatchObject({ problems: [], copiesMissing: 1 });
    const later = await scene.status(new Date(at(7).getTime() + 6 * 60_000));
    expect(destination(later, 'b')?.problems).toMatchObject([{ code: 'E_NOT_FOUND' }]);
  });
});

describe('a manifest that is refused', () => {
  it('is a problem where it is, and the one before it counts', async () => {
    const good = await scene.backup(at(0));
    await scene.backup(at(6), { signer: stranger });
    const status = await scene.status(at(7));
    expect(status).toMatchObject({ newest: { snapshot: good }, newestWhole: { snapshot: good } });
    for (const { problems } of status.destinations) {
      expect(problems).toMatchObject([{ code: 'E_SIGNATURE' }]);
    }
  });

  it('in one destination is told although another has a good one', async () => {
    const before = await scene.backup(at(0));
    const snapshot = await scene.backup(at(6));
    await writeFile(scene.path('b', objectKey(scene.cluster, 'manifests', snapshot)), '{}');
    const status = await scene.status(at(7));
    expect(status).toMatchObject({ newest: { snapshot }, newestWhole: { snapshot: before } });
    expect(destination(status, 'a')?.problems).toEqual([]);
    expect(destination(status, 'b')?.problems.map(({ code }) => code)).toContain('E_SIGNATURE');
  });
});

/** The scene with a second destination that fails, or is silent, where it is asked for certain keys. */
function spoilt(where: Failing): StatusDeps {
  const [a, b] = scene.stores;
  if (a === undefined || b === undefined) throw new Error('no stores');
  const bad = (name: string): Store => new FailingStore({ name, directory: scene.path(name, '') }, where);
  const stores = where.isFirstGood === true ? [a, bad('b')] : [bad('a'), bad('b')];
  const parts = { cluster: scene.cluster, stores, trusted: scene.trusted };
  return { catalogue: new Catalogue(parts), records: new Records({ ...parts, signer: null }), stores, locked: [] };
}

describe('a destination that is away', () => {
  it('when it goes away in the middle leaves unknown what is whole', async () => {
    const snapshot = await scene.backup(at(0));
    const key = objectKey(scene.cluster, 'data', snapshot);
    const status = await readStatus(spoilt({ head: (asked) => asked === key, isFirstGood: true }), at(1), never);
    expect(status).toMatchObject({ newest: { snapshot }, newestWhole: null, isWholeKnown: false });
    expect(status.destinations).toMatchObject([
      { away: null, copiesMissing: null },
      { away: { code: 'E_STORE_RESPONSE' }, copiesMissing: null },
    ]);
  });

  it('is not waited for once it was silent for long', async () => {
    const snapshot = await scene.backup(at(0));
    await scene.run(at(0));
    const deps = { ...spoilt({ silent: true, isFirstGood: true }), answerMs: 100 };
    const began = performance.now();
    const status = await readStatus(deps, at(1), never);
    expect(status).toMatchObject({ newest: { snapshot }, isWholeKnown: false, jobs: { backup: { failuresSince: 0 } } });
    expect(destination(status, 'b')).toMatchObject({
      away: { code: 'E_STORE_UNREACHABLE', message: expect.stringContaining('does not answer within 100ms') as string },
    });
    // Reading the records would wait for it for 15 s.
    expect(performance.now() - began).toBeLessThan(8_000);
  });

  it('leaves unknown what is whole, and hides nothing of the other', async () => {
    await scene.backup(at(0));
    const newest = await scene.backup(at(6));
    await scene.takeAway('b');
    const status = await scene.status(at(7));
    expect(status).toMatchObject({
      readAt: at(7),
      newest: { snapshot: newest },
      newestWhole: null,
      isWholeKnown: false,
    });
    expect(destination(status, 'a')).toMatchObject({ away: null, newest: { snapshot: newest }, copiesMissing: null });
    expect(destination(status, 'b')).toMatchObject({
      away: { code: expect.stringMatching(/^E_STORE/) as string },
      newest: null,
      copiesMissing: null,
    });
  });

  it('with all others leaves everything unknown', async () => {
    await scene.backup(at(0));
    await scene.run(at(0));
    for (const name of ['a', 'b']) await scene.takeAway(name);
    expect(await scene.status(at(1))).toMatchObject({
      readAt: null,
      newest: null,
      newestWhole: null,
      isWholeKnown: false,
      jobs: null,
      destinations: [{ badCopies: null }, { badCopies: null }],
    });
  });

  it('does not keep proofs and runs of the other from being read', async () => {
    const snapshot = await scene.backup(at(0));
    await scene.proof(at(1), snapshot, 'b');
    await scene.run(at(0));
    await scene.takeAway('a');
    const status = await scene.status(at(2));
    expect(status.jobs).toMatchObject({ backup: { failuresSince: 0 } });
    expect(destination(status, 'b')).toMatchObject({ lastProofAt: at(1), badCopies: 0 });
  });
});

describe('proofs', () => {
  it('are those of the destination, the newest of all its copies', async () => {
    const [one, two] = [await scene.backup(at(0)), await scene.backup(at(6))];
    await scene.proof(at(8), one, 'a');
    await scene.proof(at(7), two, 'a');
    const status = await scene.status(at(9));
    expect(destination(status, 'a')).toMatchObject({ lastProofAt: at(8), badCopies: 0 });
    expect(destination(status, 'b')).toMatchObject({ lastProofAt: null, badCopies: 0 });
  });

  it('that are bad count until a later one is good, and a bad one is no proof', async () => {
    const snapshot = await scene.backup(at(0));
    await scene.proof(at(1), snapshot, 'a');
    await scene.proof(at(2), snapshot, 'a', 'bad');
    expect(destination(await scene.status(at(3)), 'a')).toMatchObject({ lastProofAt: at(1), badCopies: 1 });
    await scene.proof(at(3), snapshot, 'a');
    expect(destination(await scene.status(at(4)), 'a')).toMatchObject({ lastProofAt: at(3), badCopies: 0 });
  });

  it('of a snapshot that was removed everywhere count no more', async () => {
    const snapshot = await scene.backup(at(0));
    await scene.backup(at(6));
    await scene.proof(at(2), snapshot, 'a', 'bad');
    for (const name of ['a', 'b']) {
      for (const kind of ['manifests', 'data', 'sigs', 'keys'] as const)
        await rm(scene.path(name, objectKey(scene.cluster, kind, snapshot)));
    }
    expect(destination(await scene.status(at(7)), 'a')).toMatchObject({ badCopies: 0 });
  });

  it('that are planted bad make no copy bad', async () => {
    const sound = await scene.backup(at(0));
    await scene.proof(at(1), sound, 'a');
    await scene.proof(at(2), sound, 'a', 'bad', stranger);
    expect(destination(await scene.status(at(3)), 'a')).toMatchObject({ lastProofAt: at(1), badCopies: 0 });
  });

  it('that are planted good, by another signer or under another name, clear none', async () => {
    const [sound, spoilt] = [await scene.backup(at(0)), await scene.backup(at(6))];
    await scene.proof(at(7), spoilt, 'a', 'bad');
    await scene.proof(at(8), spoilt, 'a', 'good', stranger);
    // A record of another copy, well signed, under the name that is wanted.
    const real = await scene.proof(at(5), sound, 'a');
    const name = { snapshot: spoilt, destination: 'a', proof: newRunId(at(9)), verdict: 'good' } as const;
    for (const folder of ['a', 'b']) {
      const to = scene.path(folder, proofKey(scene.cluster, name));
      await mkdir(dirname(to), { recursive: true });
      const from = { snapshot: sound, destination: 'a', proof: real.proof as RunId, verdict: 'good' } as const;
      await cp(scene.path(folder, proofKey(scene.cluster, from)), to);
    }
    expect(destination(await scene.status(at(10)), 'a')).toMatchObject({ lastProofAt: at(5), badCopies: 1 });
  });

  it('from the future prove nothing, and hide no bad one', async () => {
    const snapshot = await scene.backup(at(0));
    await scene.proof(at(1), snapshot, 'a', 'bad');
    await scene.proof(at(100), snapshot, 'a');
    expect(destination(await scene.status(at(2)), 'a')).toMatchObject({ lastProofAt: null, badCopies: 1 });
  });
});

describe('runs', () => {
  const failed = { outcome: 'failed', error: { code: 'E_VAULT_SEALED', message: 'sealed' } } as const;

  it('tell the last one, the last that kept every promise, and how many did not since', async () => {
    await scene.run(at(0), failed);
    const done = await scene.run(at(1));
    await scene.run(at(2), { outcome: 'partly', missing: ['b'] });
    const last = await scene.run(at(3), failed);
    await scene.run(at(2), { job: 'verify' });
    const { jobs } = await scene.status(at(4));
    expect(jobs).toEqual({
      backup: { last, lastDone: done, failuresSince: 2 },
      verify: expect.objectContaining({ failuresSince: 0 }) as object,
    });
  });

  it('that nobody believes are none, and make no job', async () => {
    const done = await scene.run(at(1), failed);
    await scene.run(at(2), {}, stranger);
    await scene.run(at(2), { job: 'planted' }, stranger);
    expect((await scene.status(at(3))).jobs).toEqual({ backup: { last: done, lastDone: null, failuresSince: 1 } });
  });

  it('from the future do not hide those of today', async () => {
    await scene.run(at(500));
    const last = await scene.run(at(1), failed);
    expect((await scene.status(at(2))).jobs).toMatchObject({ backup: { last, failuresSince: 1 } });
  });

  it('that cannot be asked for are unknown: an older good one does not stand in', async () => {
    await scene.run(at(1));
    const last = await scene.run(at(2), failed);
    const key = runKey(scene.cluster, last.run as RunId, 'backup');
    const status = await readStatus(spoilt({ get: (asked) => asked === key }), at(3), never);
    expect(status).toMatchObject({ readAt: at(3), jobs: null, recordsProblem: { code: 'E_STORE_RESPONSE' } });
  });

  it('are read once when they are remembered', async () => {
    const run = await scene.run(at(1), failed);
    const memory = new RecordMemory();
    await readStatus(scene.deps, at(2), never, memory);
    for (const folder of ['a', 'b'])
      await writeFile(scene.path(folder, runKey(scene.cluster, run.run as RunId, 'backup')), 'x');
    expect((await readStatus(scene.deps, at(2), never, memory)).jobs).toMatchObject({ backup: { last: run } });
    expect((await readStatus(scene.deps, at(2), never)).jobs).toEqual({});
  });
});

describe('clocks', () => {
  it('a backup from the future is named and counts for nothing', async () => {
    const now = await scene.backup(at(0));
    const future = await scene.backup(at(100));
    const status = await scene.status(at(1));
    expect(status).toMatchObject({
      newest: { snapshot: now },
      newestWhole: { snapshot: now },
      fromTheFuture: [future],
    });
  });

  it('a little ahead is what clocks are', async () => {
    const snapshot = await scene.backup(new Date(at(1).getTime() + 60_000));
    expect(await scene.status(at(1))).toMatchObject({ newestWhole: { snapshot }, fromTheFuture: [] });
  });
});

it('an abort is no answer', async () => {
  const gone = AbortSignal.abort(new Error('enough'));
  await expect(readStatus(scene.deps, at(1), gone)).rejects.toThrow('enough');
});
