/** Which snapshots are held: the newest act that can be believed, and time. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { actsBySnapshot, currentHolds, isHolding, readHolds } from '../../../src/catalogue/holds.ts';
import { Records } from '../../../src/catalogue/records.ts';
import { newRunId, newSnapshotId, parseClusterName, type RunId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { FileStore } from '../../../src/store/file.ts';
import { holdKey } from '../../../src/store/record-layout.ts';
import { holdOf } from '../../support/audited.ts';

const never = new AbortController().signal;
const cluster = parseClusterName('prod');
const signer = localSigner(generateSigningKey().privateKeyPem);
const stranger = localSigner(generateSigningKey().privateKeyPem);
const trusted = [await signer.publicKeyPem(never)];
const now = new Date('2027-03-01T00:00:00Z');
const one = newSnapshotId(new Date('2027-01-01T00:00:00Z'));
const two = newSnapshotId(new Date('2027-01-02T00:00:00Z'));
let root: string;
let stores: FileStore[];
let records: Records;
let foreign: Records;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'strongroom-holds-'));
  stores = [];
  for (const name of ['a', 'b']) {
    await mkdir(join(root, name));
    stores.push(new FileStore({ name, directory: join(root, name) }));
  }
  records = new Records({ cluster, stores, trusted, signer });
  foreign = new Records({ cluster, stores, trusted, signer: stranger });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const day = (date: number): Date => new Date(Date.UTC(2027, 1, date));
const at = (date: number): { id: RunId; at: string } => ({ id: newRunId(day(date)), at: day(date).toISOString() });
const heldAt = async (time: Date): Promise<string[]> => [...(await currentHolds(records, time, never)).keys()].sort();

describe('an act', () => {
  it.each([
    ['a hold without end', 'hold', null, true],
    ['a hold until later', 'hold', '2027-03-01T00:00:00.001Z', true],
    ['a hold that ends now', 'hold', '2027-03-01T00:00:00.000Z', false],
    ['a hold that is over', 'hold', '2026-03-01T00:00:00.000Z', false],
    ['a release', 'release', null, false],
  ] as const)('%s', (_name, act, until, expected) => {
    expect(isHolding({ act, until }, now)).toBe(expected);
  });

  it('is sorted by its time, whatever the order of the names', () => {
    const ids = [1, 2, 3].map((date) => newRunId(day(date)));
    const names = ids.map((id, i) => ({ snapshot: one, id, act: i === 1 ? ('release' as const) : ('hold' as const) }));
    for (const order of [names, names.toReversed()]) {
      expect(
        actsBySnapshot(order)
          .get(one)
          ?.map(({ id }) => id),
      ).toEqual(ids.toReversed());
    }
  });
});

describe('a snapshot', () => {
  it('is held from a hold to its release, and again from the next hold on', async () => {
    await records.writeHold(holdOf(cluster, one, at(1)), never);
    await records.writeHold(holdOf(cluster, two, { ...at(1), until: day(20).toISOString() }), never);
    expect(await heldAt(day(10))).toEqual([one, two]);
    expect(await heldAt(day(20))).toEqual([one]);
    await records.writeHold(holdOf(cluster, one, { ...at(2), act: 'release' }), never);
    expect(await heldAt(day(10))).toEqual([two]);
    const again = holdOf(cluster, one, { ...at(3), why: 'a second time' });
    await records.writeHold(again, never);
    expect((await currentHolds(records, day(10), never)).get(one)).toEqual(again);
  });

  it('is not released by a record that nobody trusted signed, nor by one that is none, nor by that of another', async () => {
    const hold = holdOf(cluster, one, at(1));
    await records.writeHold(hold, never);
    await foreign.writeHold(holdOf(cluster, one, { ...at(2), act: 'release' }), never);
    const planted = async (date: number, text: string): Promise<void> => {
      const name = { snapshot: one, act: 'release', id: newRunId(day(date)) } as const;
      for (const place of ['a', 'b']) {
        const path = join(root, place, holdKey(cluster, name));
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, text);
      }
    };
    await planted(3, '{}');
    const { holds, refused } = await readHolds(records, now, never);
    expect([...holds.values()]).toEqual([hold]);
    expect(refused.map(({ code }) => code).sort()).toEqual(['E_MANIFEST', 'E_SIGNATURE']);
  });

  it('is not held by a record that nobody trusted signed', async () => {
    await foreign.writeHold(holdOf(cluster, one, at(1)), never);
    expect(await heldAt(now)).toEqual([]);
  });
});

describe('a destination that does not answer', () => {
  const break_ = async (place: string): Promise<void> => {
    await rm(join(root, place), { recursive: true });
    await writeFile(join(root, place), 'no folder');
  };

  it('is told to whoever looks, and stops whoever removes', async () => {
    await records.writeHold(holdOf(cluster, one, at(1)), never);
    await break_('a');
    const { holds, failures } = await readHolds(records, now, never);
    expect([...holds.keys()]).toEqual([one]);
    expect(failures).toMatchObject([{ code: 'E_STORE_BUCKET' }]);
    await expect(currentHolds(records, now, never)).rejects.toMatchObject({ code: 'E_STORE_BUCKET' });
  });

  it('may have the good copy of an act that is spoilt elsewhere: then nothing is said at all', async () => {
    const hold = holdOf(cluster, one, at(1));
    await records.writeHold(hold, never);
    await writeFile(join(root, 'a', holdKey(cluster, { snapshot: one, act: 'hold', id: hold.id as RunId })), '{}');
    await break_('b');
    await expect(readHolds(records, now, never)).rejects.toMatchObject({ code: 'E_STORE_BUCKET' });
  });
});
