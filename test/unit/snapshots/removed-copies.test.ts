/** Copies that are gone, on purpose and not, on real directories: what a replication brings back, and under which lease. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Records } from '../../../src/catalogue/records.ts';
import { StrongroomError } from '../../../src/core/errors.ts';
import { newRunId, type SnapshotId } from '../../../src/core/ids.ts';
import { silentLog } from '../../../src/core/log.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner, type Signer } from '../../../src/crypt/sign.ts';
import { KINDS } from '../../../src/snapshots/presence.ts';
import { type ReplicateDeps, type ReplicateResult, replicate } from '../../../src/snapshots/replicate.ts';
import { leaseKey, type ObjectKey } from '../../../src/store/layout.ts';
import type { Store } from '../../../src/store/store.ts';
import { hooked } from '../../support/hooked-store.ts';
import { leaseTaker } from '../../support/leases.ts';
import { PlainSnapshots } from '../../support/plain-snapshots.ts';
import { NOTHING } from '../retention/series.ts';

const never = new AbortController().signal;
const NOW = new Date('2027-03-01T12:00:00Z');
const ago = (hours: number): Date => new Date(NOW.getTime() - hours * 3_600_000);

let on: PlainSnapshots;
let older: SnapshotId;
let newer: SnapshotId;
beforeEach(async () => {
  on = await PlainSnapshots.create('a', 'b');
  older = (await on.publish(ago(50))).snapshot;
  newer = (await on.publish(ago(5))).snapshot;
});
afterEach(() => on[Symbol.asyncDispose]());

async function run(change: Partial<ReplicateDeps> = {}, options = {}): Promise<ReplicateResult> {
  const deps: ReplicateDeps = {
    cluster: on.cluster,
    catalogue: await on.catalogue(),
    destinations: on.destinations,
    policies: new Map(),
    records: await on.records(),
    takeLease: leaseTaker(on.cluster, on.stores),
    clock: { now: () => NOW },
    log: silentLog,
    onProgress: () => undefined,
    ...change,
  };
  return await replicate(deps, { run: newRunId(NOW), prove: 'checksum', ...options }, never);
}

const lose = async (name: string, snapshot: SnapshotId, kinds: typeof KINDS | readonly ['manifests'] = KINDS) => {
  for (const kind of kinds) await rm(on.path(name, kind, snapshot));
};
const isIn = async (name: string, snapshot: SnapshotId): Promise<boolean> =>
  await readFile(on.path(name, 'manifests', snapshot)).then(
    () => true,
    () => false,
  );

/** As a prune puts it on record. */
async function pruned(name: string, snapshot: SnapshotId, at: Date, signer: Signer = on.signer): Promise<void> {
  const trusted = [await on.signer.publicKeyPem(never)];
  const records = new Records({ cluster: on.cluster, stores: on.stores, trusted, signer });
  const removals = [{ snapshot, what: 'snapshot' as const, bytes: 1, reasons: ['no rule keeps it'] }];
  const run_ = newRunId(at);
  const record = { schema: '1', cluster: on.cluster, run: run_, destination: name, part: 1 } as const;
  await records.writePrune({ ...record, at: at.toISOString(), removals, host: 'h', tool: '0' }, never);
}

describe('a copy that is gone', () => {
  it('stays away where a prune put its removal on record, also when only the manifest is gone yet', async () => {
    await pruned('b', older, ago(3));
    await lose('b', older, ['manifests']);
    expect(await run()).toMatchObject({ repaired: [], leftAlone: 1, unmended: [] });
    await lose('b', older, KINDS.filter((kind) => kind !== 'manifests') as unknown as typeof KINDS);
    expect(await run()).toMatchObject({ repaired: [], leftAlone: 1, unmended: [] });
    expect(await isIn('b', older)).toBe(false);
  });

  it.each([
    ['without a record', async () => undefined],
    ['and a record that a stranger signed', async () => await pruned('b', older, ago(3), stranger())],
    ['and a record for another destination', async () => await pruned('a', older, ago(3))],
    ['and a record for another snapshot', async () => await pruned('b', newer, ago(3))],
    [
      'and a record from before it was proven to be there still',
      async () => {
        await pruned('b', older, ago(3));
        await (await on.records()).writeProof(on.proof(older, 'b', ago(2)), never);
      },
    ],
  ])('comes back, %s', async (_name, given) => {
    await given();
    await lose('b', older);
    expect(await run()).toMatchObject({ repaired: [{ snapshot: older, destination: 'b' }], leftAlone: 0 });
    expect(await isIn('b', older)).toBe(true);
  });

  it('stays away by its record, though a stranger claims that it was proven since', async () => {
    await pruned('b', older, ago(3));
    const trusted = [await on.signer.publicKeyPem(never)];
    const forger = new Records({ cluster: on.cluster, stores: on.stores, trusted, signer: stranger() });
    await forger.writeProof(on.proof(older, 'b', ago(2)), never);
    await lose('b', older);
    expect(await run()).toMatchObject({ repaired: [], leftAlone: 1 });
  });

  it('stays away where the policy would remove it at once, and comes back where something is left of it', async () => {
    const policies = new Map([['b', { ...NOTHING, keepLast: 1 }]]);
    await lose('b', older);
    expect(await run({ policies })).toMatchObject({ repaired: [], leftAlone: 1, unmended: [] });
    await lose('b', newer, ['manifests']);
    expect(await run({ policies })).toMatchObject({ repaired: [{ snapshot: newer }], leftAlone: 1 });
    policies.set('b', { ...NOTHING, keepLast: 2 });
    expect(await run({ policies })).toMatchObject({ repaired: [{ snapshot: older }], leftAlone: 0 });
  });

  it('is not judged while a record cannot be read', async () => {
    await pruned('b', older, ago(3));
    await lose('b', older);
    const stores = on.stores.map((store) =>
      hooked(store, { get: (next, key) => (key.includes('/prunes/') ? broken() : next()) }),
    );
    const trusted = [await on.signer.publicKeyPem(never)];
    const records = new Records({ cluster: on.cluster, stores, trusted, signer: on.signer });
    expect(await run({ records })).toMatchObject({ repaired: [], unmended: [{ error: { code: 'E_STORE_DENIED' } }] });
    expect(await isIn('b', older)).toBe(false);
  });
});

describe('the lease', () => {
  it('is not taken where there is nothing to do', async () => {
    const takeLease = (): Promise<never> => Promise.reject(new Error('nobody asked for it'));
    expect(await run({ takeLease })).toMatchObject({ repaired: [], unmended: [] });
  });

  it('of another run keeps everything as it is', async () => {
    await lose('b', older);
    await using _other = await leaseTaker(on.cluster, on.stores)(newRunId(new Date()), never);
    await expect(run()).rejects.toMatchObject({ code: 'E_LOCKED' });
    expect(await isIn('b', older)).toBe(false);
  });

  it('is there for one of two at once, and the other writes nothing', async () => {
    await lose('b', older);
    const results = await Promise.allSettled([run(), run()]);
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'E_LOCKED' } });
    expect(await isIn('b', older)).toBe(true);
  });

  it.each(['replaced', 'removed'])('whose object was %s meanwhile: nothing is published', async (how) => {
    await lose('b', older);
    const written: ObjectKey[] = [];
    const destinations = on.destinations.map((one) => ({ ...one, store: watched(one.store) }));
    await expect(run({ destinations })).rejects.toMatchObject({ code: 'E_LOCKED' });
    expect(written.map((key) => key.split('/')[2])).toEqual(['keys', 'data']);
    expect(await isIn('b', older)).toBe(false);

    function watched(store: Store): Store {
      return hooked(store, {
        put: async (next, key) => {
          const stored = await next();
          written.push(key);
          // In the middle of the copy somebody else comes, in every destination.
          if (key.includes('/data/')) {
            for (const name of ['a', 'b']) {
              const path = join(on.root, name, leaseKey(on.cluster));
              if (how === 'removed') await rm(path);
              else await writeFile(path, '{}');
            }
          }
          return stored;
        },
      });
    }
  });

  it('shows what a prune removed while nobody held it: that does not come back', async () => {
    await lose('b', older);
    const takeLease: ReplicateDeps['takeLease'] = async (holder, signal) => {
      await pruned('b', older, ago(1));
      return await leaseTaker(on.cluster, on.stores)(holder, signal);
    };
    expect(await run({ takeLease })).toMatchObject({ repaired: [], leftAlone: 1 });
    expect(await isIn('b', older)).toBe(false);
  });

  it('is given back after a time, and what is left is said to be', async () => {
    await lose('b', older);
    expect(await run({}, { maxHoldMs: -1 })).toMatchObject({
      repaired: [],
      unmended: [{ error: { code: 'E_PARTIAL' } }],
    });
    expect(await run()).toMatchObject({ repaired: [{ snapshot: older }], unmended: [] });
  });
});

function stranger(): Signer {
  return localSigner(generateSigningKey().privateKeyPem);
}

async function* broken(): AsyncGenerator<Uint8Array> {
  yield* [];
  throw new StrongroomError('E_STORE_DENIED', 'may not read');
}
