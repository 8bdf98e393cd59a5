/** Replication over directories: what is mended, what is left alone, and what is believed on the way. */
import { open, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Destination } from '../../../src/backup/options.ts';
import { serialiseManifest } from '../../../src/catalogue/manifest.ts';
import { newRunId, snapshotTime } from '../../../src/core/ids.ts';
import { silentLog } from '../../../src/core/log.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { serialiseSidecar } from '../../../src/crypt/sidecar.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { lockFor } from '../../../src/snapshots/copy-lock.ts';
import { KINDS } from '../../../src/snapshots/presence.ts';
import {
  type ReplicateDeps,
  type ReplicateOptions,
  type ReplicateResult,
  replicate,
  summariseReplicate,
} from '../../../src/snapshots/replicate.ts';
import { FileStore } from '../../../src/store/file.ts';
import type { ObjectKind } from '../../../src/store/layout.ts';
import { leaseTaker } from '../../support/leases.ts';
import { PlainSnapshots } from '../../support/plain-snapshots.ts';
import { NOTHING } from '../retention/series.ts';

const never = new AbortController().signal;
const NOW = new Date('2027-03-01T12:00:00Z');
const ago = (hours: number): Date => new Date(NOW.getTime() - hours * 3_600_000);

let on: PlainSnapshots;
let good: Awaited<ReturnType<PlainSnapshots['publish']>>;
beforeEach(async () => {
  on = await PlainSnapshots.create('a', 'b');
  good = await on.publish(ago(5));
});
afterEach(() => on[Symbol.asyncDispose]());

const lease = () => leaseTaker(on.cluster, on.stores);

async function run(
  options: Partial<ReplicateOptions & Pick<ReplicateDeps, 'policies' | 'takeLease'>> & {
    destinations?: readonly Destination[];
    now?: Date;
  } = {},
): Promise<ReplicateResult> {
  const { destinations = on.destinations, now = NOW, policies = new Map(), takeLease = lease(), ...rest } = options;
  return await replicate(
    {
      cluster: on.cluster,
      catalogue: await on.catalogue(),
      destinations,
      policies,
      records: await on.records(),
      takeLease,
      clock: { now: () => now },
      log: silentLog,
      onProgress: () => undefined,
    },
    { run: newRunId(now), prove: 'checksum', ...rest },
    never,
  );
}

const path = (name: string, kind: ObjectKind, { snapshot } = good): string => on.path(name, kind, snapshot);

/** Turns a bit in each of these parts of 1000 bytes; what the store knows of the object stays as it was. */
async function spoil(name: string, parts: readonly number[], of = good): Promise<void> {
  await using file = await open(path(name, 'data', of), 'r+');
  for (const part of parts) {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, (part - 1) * 1000 + 7);
    await file.write(Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, (part - 1) * 1000 + 7);
  }
}

const accuse = async (name: string, change = {}, of = good, at = ago(2)): Promise<void> => {
  await (await on.records()).writeProof(on.proof(of.snapshot, name, at, { verdict: 'bad', ...change }), never);
};

async function expectSame(of = good): Promise<void> {
  for (const kind of KINDS) expect(await readFile(path('a', kind, of))).toEqual(await readFile(path('b', kind, of)));
}

describe('nothing is done', () => {
  it('where nothing is wrong', async () => {
    expect(await run()).toEqual({ snapshots: 1, young: 0, repaired: [], cleared: [], leftAlone: 0, unmended: [] });
  });

  it.each([
    ['younger than an hour', 4.1, 1],
    ['from the future', 5.5, 1],
  ])('to a snapshot that is %s: its backup may be at work', async (_name, hoursBack, young) => {
    await rm(path('b', 'manifests'));
    const now = new Date(NOW.getTime() - hoursBack * 3_600_000);
    expect(await run({ now })).toMatchObject({ young, repaired: [], unmended: [] });
    expect((await run()).repaired).toHaveLength(1);
  });

  it('to what has no manifest anywhere', async () => {
    for (const name of ['a', 'b']) await rm(path(name, 'manifests'));
    await rm(path('b', 'data'));
    expect(await run()).toEqual({ snapshots: 0, young: 0, repaired: [], cleared: [], leftAlone: 0, unmended: [] });
  });

  it('to a copy that is not wanted there, and it is not missed', async () => {
    for (const kind of KINDS) await rm(path('b', kind));
    await on.publish(ago(4));
    const policies = new Map([['b', { ...NOTHING, keepLast: 1 }]]);
    expect(await run({ policies })).toMatchObject({ repaired: [], leftAlone: 1, unmended: [] });
    await expect(readFile(path('b', 'manifests'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('every set of objects that can be gone', () => {
  const subsets = Array.from({ length: 15 }, (_, i) => KINDS.filter((_kind, bit) => ((i + 1) & (1 << bit)) !== 0));

  it.each(subsets.map((kinds) => [kinds.join(' '), kinds] as const))('%s', async (_name, kinds) => {
    for (const kind of kinds) await rm(path('b', kind));
    const { repaired, unmended } = await run();
    expect(unmended).toEqual([]);
    expect(repaired).toEqual([
      { snapshot: good.snapshot, destination: 'b', wrote: kinds, proof: kinds.includes('data') ? 'checksum' : null },
    ]);
    await expectSame();
    expect((await run()).repaired).toEqual([]);
  });
});

describe('the bytes of the data', () => {
  it('come from wherever a part is right: two halves make a whole, here and there', async () => {
    await spoil('a', [1]);
    await spoil('b', [2, 3]);
    await accuse('a');
    await accuse('b');
    const { repaired, unmended } = await run();
    expect(unmended).toEqual([]);
    expect(repaired).toMatchObject([
      { destination: 'a', wrote: ['data'], proof: 'read' },
      { destination: 'b', wrote: ['data'], proof: 'read' },
    ]);
    await expectSame();
    expect(await run()).toMatchObject({ repaired: [], cleared: [], leftAlone: 0, unmended: [] });
  });

  it('come from what is left of a copy that was cut off', async () => {
    await truncate(path('a', 'data'), 1500);
    await spoil('b', [1]);
    await accuse('b');
    const { repaired } = await run();
    expect(repaired).toMatchObject([
      { destination: 'a', wrote: ['data'] },
      { destination: 'b', wrote: ['data'], proof: 'read' },
    ]);
    await expectSame();
  });

  it('are right nowhere: lost is what is said, and the next snapshot is mended before that', async () => {
    const older = await on.publish(ago(50));
    await rm(path('a', 'keys', older));
    await spoil('a', [2]);
    await rm(path('b', 'data'));
    const e: unknown = await run().catch((failure: unknown) => failure);
    expect(e).toMatchObject({
      code: 'E_STORE_CHECKSUM',
      message: `no destination holds part 2 of 3 of ${good.snapshot} as it was signed`,
      retryable: false,
      details: { lost: [good.snapshot], repaired: 1 },
    });
    await expectSame(older);
    await expect(readFile(path('b', 'data'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('may be where nobody can look now: then nothing is called lost', async () => {
    await spoil('a', [2]);
    await rm(path('b', 'data'));
    const gone: Destination = { store: new FileStore({ name: 'c', directory: join(on.root, 'c') }), lock: null };
    const { unmended } = await run({ destinations: [...on.destinations, gone] });
    expect(unmended).toMatchObject([
      { snapshot: null, destination: 'c', error: { code: 'E_STORE_BUCKET' } },
      { snapshot: good.snapshot, destination: 'b', error: { code: 'E_PARTIAL' } },
    ]);
  });

  it('are read to the end before a copy is called bad or good', async () => {
    // Whoever said so may have looked at a disk that is mended since.
    await accuse('b');
    const before = await readFile(path('b', 'data'));
    expect(await run()).toMatchObject({
      repaired: [],
      cleared: [{ snapshot: good.snapshot, destination: 'b' }],
      unmended: [],
    });
    expect(await readFile(path('b', 'data'))).toEqual(before);
    expect(await run()).toMatchObject({ repaired: [], cleared: [] });
  });
});

describe('what is believed', () => {
  it('the newest reading that is signed: a planted good one does not hide a bad one', async () => {
    await spoil('b', [1]);
    await accuse('b');
    const stranger = await on.records(localSigner(generateSigningKey().privateKeyPem));
    await stranger.writeProof(on.proof(good.snapshot, 'b', ago(1)), never);
    expect((await run()).repaired).toMatchObject([{ destination: 'b', wrote: ['data'] }]);
    await expectSame();
  });

  it('a good one after a bad one: nothing is read for it', async () => {
    await spoil('b', [1]);
    await accuse('b');
    await (await on.records()).writeProof(on.proof(good.snapshot, 'b', ago(1)), never);
    expect(await run()).toMatchObject({ repaired: [], cleared: [], leftAlone: 0, unmended: [] });
  });

  it('a bad one of a clock that is a year ahead is answered all the same, once', async () => {
    await spoil('b', [1]);
    await accuse('b', {}, good, new Date('2028-03-01T00:00:00Z'));
    expect((await run()).repaired).toHaveLength(1);
    expect(await run()).toMatchObject({ repaired: [], cleared: [], leftAlone: 0, unmended: [] });
  });

  it('bytes that are the signed ones and hold no archive: no copy helps, and none is written', async () => {
    await accuse('b', { error: { code: 'E_SNAPSHOT_CHECKSUM', message: 'a record does not fit' } });
    const { repaired, cleared, unmended } = await run();
    expect([repaired, cleared]).toEqual([[], []]);
    expect(unmended).toMatchObject([
      { destination: 'b', error: { code: 'E_PARTIAL', message: expect.stringContaining('no copy helps') as string } },
    ]);
  });

  it('no manifest that nobody trusted signed, and it is said', async () => {
    const stranger = localSigner(generateSigningKey().privateKeyPem);
    for (const name of ['a', 'b']) {
      await writeFile(path(name, 'sigs'), await stranger.sign(serialiseManifest(good), never));
    }
    await rm(path('b', 'data'));
    const { repaired, unmended } = await run();
    expect(repaired).toEqual([]);
    expect(unmended).toMatchObject([{ snapshot: good.snapshot, destination: null, error: { code: 'E_SIGNATURE' } }]);
  });

  it('neither of two signed manifests of one snapshot', async () => {
    const bytes = serialiseManifest({ ...good, warnings: ['another one'] });
    await writeFile(path('b', 'manifests'), bytes);
    await writeFile(path('b', 'sigs'), await on.signer.sign(bytes, never));
    const before = await readFile(path('a', 'manifests'));
    const { repaired, unmended } = await run();
    expect(repaired).toEqual([]);
    expect(unmended).toMatchObject([{ destination: null, error: { code: 'E_MANIFEST' } }]);
    expect(await readFile(path('a', 'manifests'))).toEqual(before);
    expect(await readFile(path('b', 'manifests'))).toEqual(Buffer.from(bytes));
  });

  it('a signed manifest of another snapshot is none of this one, and its place is found by a reading', async () => {
    const older = await on.publish(ago(50));
    for (const kind of ['manifests', 'sigs'] as const) {
      await writeFile(path('b', kind), await readFile(path('b', kind, older)));
    }
    await accuse('b', { level: 'archive', error: { code: 'E_MANIFEST', message: 'that of another' } });
    expect((await run()).repaired).toMatchObject([
      { destination: 'b', wrote: ['sigs', 'manifests'], proof: 'checksum' },
    ]);
    await expectSame();
    await expectSame(older);
    expect(await run()).toMatchObject({ repaired: [], cleared: [] });
  });
});

describe('keys.json', () => {
  it('that is gone comes in its newest revision; one that can be read is left alone, whoever wrote it', async () => {
    await writeFile(path('a', 'keys'), serialiseSidecar(on.sidecar(good.snapshot, 7)));
    const before = await readFile(path('b', 'keys'));
    expect(await run()).toMatchObject({ repaired: [], unmended: [] });
    expect(await readFile(path('b', 'keys'))).toEqual(before);
    await rm(path('b', 'keys'));
    await run();
    expect(JSON.parse(await readFile(path('b', 'keys'), 'utf8'))).toMatchObject({ revision: 7 });
  });

  it('comes from whoever has the newest, in whatever order they stand', async () => {
    for (const order of [
      [2, 3],
      [3, 2],
    ]) {
      await using three = await PlainSnapshots.create('a', 'b', 'c');
      const { snapshot } = await three.publish(ago(5));
      for (const [i, revision] of order.entries()) {
        await writeFile(
          three.path(['a', 'b'][i] ?? '', 'keys', snapshot),
          serialiseSidecar(three.sidecar(snapshot, revision)),
        );
      }
      await rm(three.path('c', 'keys', snapshot));
      const catalogue = await three.catalogue();
      const { cluster, destinations } = three;
      const deps = {
        cluster,
        destinations,
        catalogue,
        policies: new Map(),
        records: await three.records(),
        takeLease: leaseTaker(cluster, three.stores),
        clock: { now: () => NOW },
        log: silentLog,
      };
      await replicate({ ...deps, onProgress: () => undefined }, { run: newRunId(NOW), prove: 'checksum' }, never);
      expect(JSON.parse(await readFile(three.path('c', 'keys', snapshot), 'utf8'))).toMatchObject({ revision: 3 });
    }
  });

  it('that is gone everywhere: the rest is mended, and that is said each time', async () => {
    for (const name of ['a', 'b']) await rm(path(name, 'keys'));
    await rm(path('b', 'data'));
    const { repaired, unmended } = await run();
    expect(repaired).toMatchObject([{ destination: 'b', wrote: ['data'] }]);
    expect(unmended).toMatchObject([
      { destination: 'a', error: { code: 'E_NOT_FOUND' } },
      { destination: 'b', error: { code: 'E_NOT_FOUND' } },
    ]);
    const again = await run();
    expect([again.repaired, again.unmended.length]).toEqual([[], 2]);
  });

  it('of another snapshot is none', async () => {
    const older = await on.publish(ago(50));
    await rename(path('b', 'keys', older), path('b', 'keys'));
    await rm(join(on.root, 'b', '.strongroom', 'meta'), { recursive: true });
    const { repaired } = await run();
    expect(repaired.map(({ snapshot, wrote }) => [snapshot, wrote])).toEqual([[older.snapshot, ['keys']]]);
  });
});

it('a destination that is away is said once, and whoever is left is compared', async () => {
  await rm(join(on.root, 'a'), { recursive: true });
  const { unmended, repaired } = await run();
  expect(repaired).toEqual([]);
  expect(unmended).toMatchObject([{ snapshot: null, destination: 'a', error: { code: 'E_STORE_BUCKET' } }]);
  await rm(join(on.root, 'b'), { recursive: true });
  await expect(run()).rejects.toMatchObject({ code: 'E_STORE_BUCKET' });
});

it('tells in its first line whether all is well', async () => {
  expect(summariseReplicate(await run())[0]).toBe(
    'every destination has what it should: 1 snapshots, 0 copies made again',
  );
  for (const name of ['a', 'b']) await rm(path(name, 'keys'));
  expect(summariseReplicate(await run())[0]).toMatch(/^not every destination has what it should/);
});

describe('the lock of what is written again', () => {
  const taken = new Date('2027-01-01T00:00:00Z');
  const day = 86_400_000;
  const daysOn = (days: number): Date => new Date(taken.getTime() + days * day);
  const destination = (keepDays: number | null): Destination => ({
    store: on.stores[0] ?? never_(),
    lock: keepDays === null ? null : { mode: 'compliance', keepMs: keepDays * day },
  });
  const never_ = (): never => {
    throw new Error('no store');
  };

  it.each([
    ['none where the destination locks nothing', null, 40, 10, null],
    ['as the manifest says, where the config was shortened since', 7, 40, 10, 40],
    ['as the config says, where it was lengthened since', 90, 40, 10, 90],
    ['as the config says, for a destination that came later', 30, null, 10, 30],
    ['none, where its time is over', 30, 40, 41, null],
    ['never from now: the copy goes when its snapshot goes', 30, 30, 29, 30],
  ])('%s', async (_name, keepDays, signedDays, nowDays, expectedDays) => {
    const manifest = await on.publish(taken, (plain) => ({
      ...plain,
      destinations: plain.destinations.map((copy) => ({
        ...copy,
        ...(signedDays === null ? {} : { lock: { mode: 'compliance', until: daysOn(signedDays).toISOString() } }),
      })),
    }));
    expect(snapshotTime(manifest.snapshot)).toEqual(taken);
    expect(lockFor(destination(keepDays), manifest, [], daysOn(nowDays))).toEqual(
      expectedDays === null ? {} : { lock: { mode: 'compliance', until: daysOn(expectedDays) } },
    );
  });
});

it('keeps the folder of what is not ours', async () => {
  const foreign = join(dirname(path('b', 'manifests')), 'notes.txt');
  await writeFile(foreign, 'mine');
  await run();
  expect(await readFile(foreign, 'utf8')).toBe('mine');
});
