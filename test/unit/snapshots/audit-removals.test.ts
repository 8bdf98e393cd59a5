/** What retention removed is not missed; what only claims it is. On real directories, with records that are signed and forged. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newRunId, type SnapshotId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { Audited, BOTH, findingsOf, proofOf } from '../../support/audited.ts';

const never = new AbortController().signal;
let on: Audited;
let cluster: Audited['shelf']['deps']['cluster'];
let [, second, third]: SnapshotId[] = [];

beforeAll(async () => {
  on = await Audited.create();
  [, second, third] = on.ids;
  cluster = on.shelf.deps.cluster;
  await on.keep();
});
afterAll(() => on?.[Symbol.asyncDispose]());
beforeEach(() => on.restore());

const found = async (): Promise<string[]> => findingsOf(await on.audit());
const id = (snapshot: SnapshotId | undefined): SnapshotId => snapshot ?? never_();

describe('a copy', () => {
  it('that retention removed from there is not missing', async () => {
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) await on.remove(kind, id(second), ['b']);
    await on.pruned(id(second), 'b');
    expect(await found()).toEqual([]);
  });

  it('that a forged record calls removed is missing all the same', async () => {
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) await on.remove(kind, id(second), ['b']);
    await on.pruned(id(second), 'b', localSigner(generateSigningKey().privateKeyPem));
    expect(await found()).toEqual([`copy-missing b ${second}`, ...BOTH.map((place) => `record-refused ${place}`)]);
  });

  it('that was removed from another destination is missing all the same', async () => {
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) await on.remove(kind, id(second), ['b']);
    await on.pruned(id(second), 'a');
    expect(await found()).toEqual([`copy-missing b ${second}`]);
  });

  it('that was proven to be there after the record of its removal is missing', async () => {
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) await on.remove(kind, id(third), ['b']);
    await on.pruned(id(third), 'b');
    const proof = newRunId(new Date(Date.now() + 5_000));
    const at = new Date(Date.now() + 5_000).toISOString();
    const later = proofOf(cluster, id(third), { destination: 'b', proof, provenAt: at });
    await on.records.writeProof(later, never);
    expect((await found()).filter((line) => line.startsWith('copy'))).toEqual([`copy-missing b ${third}`]);
  });
});

describe('a snapshot that was taken away everywhere', () => {
  const takeAway = async (snapshot: SnapshotId): Promise<void> => {
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) await on.remove(kind, snapshot);
  };

  it('is not, when a record of retention says so', async () => {
    await takeAway(id(second));
    for (const place of BOTH) await on.pruned(id(second), place);
    expect(await found()).toEqual([]);
  });

  it('is, when retention removed it from one destination and somebody from the other', async () => {
    await takeAway(id(second));
    await on.pruned(id(second), 'b');
    expect(await found()).toEqual([`taken-away ${second}`]);
  });

  it('is, when the record of retention is forged', async () => {
    await takeAway(id(second));
    const stranger = localSigner(generateSigningKey().privateKeyPem);
    for (const place of BOTH) await on.pruned(id(second), place, stranger);
    expect(await found()).toContain(`taken-away ${second}`);
  });
});

function never_(): never {
  throw new Error('three were published');
}
