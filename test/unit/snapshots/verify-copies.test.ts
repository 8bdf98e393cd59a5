/** Reading stored copies again, on real directories with real encrypted snapshots: the budget, what is recorded, and what is not. */
import { cp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { serialiseManifest } from '../../../src/catalogue/manifest.ts';
import type { ProofRecord } from '../../../src/catalogue/record-types.ts';
import { Records } from '../../../src/catalogue/records.ts';
import { StrongroomError } from '../../../src/core/errors.ts';
import { type Bytes, collect } from '../../../src/core/flow.ts';
import { newRunId, type SnapshotId } from '../../../src/core/ids.ts';
import { newContainer } from '../../../src/crypt/container.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { summariseVerify, type VerifyCopiesResult, verifyCopies } from '../../../src/snapshots/verify-copies.ts';
import { type ObjectKind, objectKey } from '../../../src/store/layout.ts';
import type { Store } from '../../../src/store/store.ts';
import { chunked } from '../../support/archive-builder.ts';
import { leaseTaker } from '../../support/leases.ts';
import { describeData } from '../../support/planted-snapshot.ts';
import type { Snapshot } from '../../support/replicate-trial.ts';
import { Shelf } from '../../support/shelf.ts';

const never = new AbortController().signal;
const BOTH = ['a', 'b'];
const HOUR = 3_600_000;
const ARCHIVE = fileURLToPath(new URL('../../fixtures/archives/openbao-2.7.2-shamir.snap', import.meta.url));

let shelf: Shelf;
let older: Snapshot;
let newer: Snapshot;
let records: Records;

beforeAll(async () => {
  shelf = await Shelf.open({ a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } });
  older = await shelf.publish({ now: new Date(Date.now() - HOUR) });
  newer = await shelf.publish();
  records = await recordsOf();
  for (const name of BOTH) await cp(folder(name), folder(`${name}.whole`), { recursive: true });
});
beforeEach(async () => {
  for (const name of BOTH) {
    await rm(folder(name), { recursive: true });
    await cp(folder(`${name}.whole`), folder(name), { recursive: true });
  }
});
afterAll(() => shelf?.[Symbol.asyncDispose]());

const folder = (name: string): string => join(shelf.world.directory, name);
const stores = (): Store[] => shelf.deps.destinations.map(({ store }) => store);

const leases = (of = stores()) => leaseTaker(shelf.deps.cluster, of);

async function recordsOf(signer = shelf.deps.signer): Promise<Records> {
  const trusted = [await shelf.deps.signer.publicKeyPem(never)];
  return new Records({ cluster: shelf.deps.cluster, stores: stores(), trusted, signer });
}

async function read(budgetBytes: number, { hoursOn = 0, through = stores() } = {}): Promise<VerifyCopiesResult> {
  const now = new Date(Date.now() + hoursOn * HOUR);
  const clock = { now: () => now };
  const deps = { ...(await shelf.snapshots(through)), records, log: shelf.deps.log, clock, takeLease: leases(through) };
  return await verifyCopies(deps, { run: newRunId(now), budgetBytes }, never);
}

const namesOf = ({ verified }: VerifyCopiesResult): string[] =>
  verified.map(({ snapshot, destination }) => `${snapshot === newer.snapshot ? 'newer' : 'older'} ${destination}`);
const path = (name: string, kind: ObjectKind, { snapshot }: { snapshot: SnapshotId }): string =>
  join(shelf.world.directory, name, objectKey(shelf.deps.cluster, kind, snapshot));
const recorded = async (): Promise<ProofRecord[]> => {
  const { names } = await records.proofs(never);
  return await Promise.all(names.map((name) => records.readProof(name, never)));
};

async function spoil(name: string, of: Snapshot): Promise<void> {
  await using file = await open(path(name, 'data', of), 'r+');
  await file.write(Buffer.alloc(64, 7), 0, 64, 20_000);
}

describe('the budget of a day', () => {
  it('is for the newest first, and the last copy may go over it: one larger than the budget is read', async () => {
    const first = await read(1);
    expect(namesOf(first)).toEqual(['newer a']);
    expect(first).toMatchObject({ left: 3, bytes: newer.ciphertext.bytes, spentBytes: 0 });
    expect(first.verified).toMatchObject([{ verdict: 'good', level: 'archive', provenAt: null }]);
  });

  it('is used up by what was read in the last 24 hours, and by nothing before that', async () => {
    await read(newer.ciphertext.bytes + 1);
    const sameDay = await read(newer.ciphertext.bytes + 1, { hoursOn: 23 });
    expect(namesOf(sameDay)).toEqual([]);
    expect(sameDay).toMatchObject({ left: 4, spentBytes: 2 * newer.ciphertext.bytes });
    expect(summariseVerify(sameDay)[0]).toBe('read no copy');
    const nextDay = await read(newer.ciphertext.bytes + 1, { hoursOn: 25 });
    expect(nextDay.spentBytes).toBe(0);
    expect(namesOf(nextDay)).toEqual(['older a', 'older b']);
    const dayAfter = await read(1, { hoursOn: 50 });
    expect(namesOf(dayAfter)).toEqual(['newer a']);
  });

  it('is not used up by records that nobody trusted signed', async () => {
    const stranger = await recordsOf(localSigner(generateSigningKey().privateKeyPem));
    await read(1);
    const [proof] = await recorded();
    if (proof === undefined) throw new Error('no proof');
    await stranger.writeProof({ ...proof, proof: newRunId(new Date()), bytes: 2 ** 50 }, never);
    expect((await read(2 ** 30)).spentBytes).toBe(newer.ciphertext.bytes);
  });
});

describe('a copy that is bad', () => {
  it('is recorded, and the next ones are read all the same', async () => {
    await spoil('a', newer);
    const e: unknown = await read(2 ** 30).catch((failure: unknown) => failure);
    expect(e).toMatchObject({
      code: 'E_STORE_CHECKSUM',
      retryable: false,
      message: expect.stringMatching(/^1 of 4 copies that were read are not good: /) as string,
    });
    const proofs = await recorded();
    expect(proofs.map(({ verdict, level }) => `${verdict} ${level}`).toSorted()).toEqual([
      'bad failed',
      'good archive',
      'good archive',
      'good archive',
    ]);
    expect(proofs.find(({ verdict }) => verdict === 'bad')).toMatchObject({
      snapshot: newer.snapshot,
      destination: 'a',
      error: { code: 'E_STORE_CHECKSUM' },
    });
  });

  it.each(['manifests', 'sigs', 'keys'] as const)('for want of its %s alone', async (kind) => {
    await rm(path('b', kind, newer));
    const reading = read(2 ** 30);
    // Without a manifest of its own it is no copy that a listing knows: that is for replicate to find.
    if (kind === 'manifests') expect(namesOf(await reading)).toEqual(['newer a', 'older a', 'older b']);
    else await expect(reading).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    const bad = (await recorded()).filter(({ verdict }) => verdict === 'bad');
    expect(bad).toMatchObject(kind === 'manifests' ? [] : [{ destination: 'b', level: 'archive' }]);
  });

  it('as an archive, under bytes that are the signed ones, is bad, and no other try makes it better', async () => {
    const archive = await readFile(ARCHIVE);
    const middle = Math.floor(archive.byteLength / 2);
    archive.writeUInt8(archive.readUInt8(middle) ^ 1, middle);
    const container = await newContainer([shelf.world.recipient]);
    const data = Buffer.from(await collect(container.encrypt(chunked(archive)), 2 ** 24));
    const keys = { ...newer.keys, recipient: container.recipient };
    const bytes = serialiseManifest({ ...newer, keys, ciphertext: describeData(data, container.headerSha256) });
    for (const name of BOTH) {
      await writeFile(path(name, 'data', newer), data);
      await writeFile(path(name, 'manifests', newer), bytes);
      await writeFile(path(name, 'sigs', newer), await shelf.deps.signer.sign(bytes, never));
    }
    await expect(read(2 ** 30)).rejects.toMatchObject({
      code: expect.stringMatching(/^E_SNAPSHOT_/) as string,
      retryable: false,
    });
    const bad = (await recorded()).filter(({ verdict }) => verdict === 'bad');
    expect(bad.map(({ destination, level }) => [destination, level])).toEqual([
      ['a', 'failed'],
      ['b', 'failed'],
    ]);
  });
});

describe('what could not be found out', () => {
  /** `a`, whose data cannot be got now: `calls` are the tries. */
  const failing = (error: StrongroomError, calls: string[] = []): Store[] => {
    const get = (target: Store) =>
      async function* (...args: Parameters<Store['get']>): Bytes {
        if (args[0].includes('/data/')) {
          calls.push(args[0]);
          throw error;
        }
        yield* target.get(...args);
      };
    return stores().map((store) => {
      if (store.name === 'b') return store;
      return new Proxy(store, {
        get(target, name) {
          const value: unknown = name === 'get' ? get(target) : Reflect.get(target, name);
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });
    });
  };

  it('is no word against the copy: nothing is recorded, its place is kept, the rest of that destination waits', async () => {
    const calls: string[] = [];
    const e: unknown = await read(2 ** 30, {
      through: failing(new StrongroomError('E_STORE_UNREACHABLE', 'a does not answer'), calls),
    }).catch((failure: unknown) => failure);
    expect(e).toMatchObject({
      code: 'E_STORE_UNREACHABLE',
      retryable: true,
      message: expect.stringMatching(/^0 of 3 copies that were read are not good, 1 could not be read: /) as string,
    });
    expect(calls).toHaveLength(1);
    expect((await recorded()).map(({ destination }) => destination)).toEqual(['b', 'b']);
    expect(namesOf(await read(4 * newer.ciphertext.bytes))).toEqual(['newer a', 'older a']);
  });

  it('a right that is missing is none either', async () => {
    const through = failing(new StrongroomError('E_STORE_DENIED', 'may not read'));
    await expect(read(2 ** 30, { through })).rejects.toMatchObject({ code: 'E_STORE_DENIED' });
    expect((await recorded()).map(({ destination }) => destination)).toEqual(['b', 'b']);
  });

  it('without any key: every byte is compared, and that is what is recorded', async () => {
    const now = new Date();
    const deps = {
      ...(await shelf.snapshots()),
      identities: [],
      records,
      log: shelf.deps.log,
      clock: { now: () => now },
      takeLease: leases(),
    };
    const result = await verifyCopies(deps, { run: newRunId(now), budgetBytes: 1 }, never);
    expect(result.verified).toMatchObject([{ verdict: 'good', level: 'ciphertext' }]);
    expect(summariseVerify(result)).toContain('  not decrypted   1: no key at hand opens them');
  });
});

describe('a name without a manifest that can be believed', () => {
  it('refused everywhere: told in each run, recorded in none, and nothing of the budget', async () => {
    for (const name of BOTH) await writeFile(path(name, 'sigs', newer), 'nobody');
    for (let i = 0; i < 2; i += 1) {
      await expect(read(2 ** 30, { hoursOn: 30 * i })).rejects.toMatchObject({
        code: 'E_SIGNATURE',
        message: expect.stringMatching(
          /^0 of 2 copies that were read are not good, 1 have no manifest that can be believed: /,
        ) as string,
      });
    }
    const proofs = await recorded();
    expect(proofs.map(({ snapshot }) => snapshot)).toEqual(Array.from({ length: 4 }, () => older.snapshot));
  });

  it('refused in one: read by the word of the other, and bad there', async () => {
    await writeFile(path('a', 'sigs', newer), 'nobody');
    await rm(join(shelf.world.directory, 'a', '.strongroom', 'meta'), { recursive: true });
    await expect(read(2 ** 30)).rejects.toMatchObject({ code: 'E_SIGNATURE' });
    const bad = (await recorded()).filter(({ verdict }) => verdict === 'bad');
    expect(bad).toMatchObject([{ snapshot: newer.snapshot, destination: 'a', level: 'archive' }]);
  });

  it('gone since the listing: nobody promised anything', async () => {
    const catalogue = await shelf.catalogue(stores());
    const listed = await catalogue.list(never);
    for (const name of BOTH)
      await rename(path(name, 'manifests', newer), path(name, 'manifests', newer).concat('.old'));
    const now = new Date();
    const clock = { now: () => now };
    const deps = { ...(await shelf.snapshots()), records, log: shelf.deps.log, clock, takeLease: leases() };
    deps.catalogue.list = () => Promise.resolve(listed);
    const result = await verifyCopies(deps, { run: newRunId(now), budgetBytes: 2 ** 30 }, never);
    expect(namesOf(result)).toEqual(['older a', 'older b']);
    expect(result).toMatchObject({ left: 0, refused: [] });
  });
});
