/** Every kind of thing that can be wrong is done to real directories, and each is named: nothing more, and nothing less. */
import { cp, mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Records } from '../../../src/catalogue/records.ts';
import { newRunId, newSnapshotId, type RunId, type SnapshotId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { FINDINGS, type FindingKind } from '../../../src/snapshots/audit-findings.ts';
import { latestKey, type ObjectKind, objectKey } from '../../../src/store/layout.ts';
import { holdKey, parseHoldKey, parseProofKey, proofKey, runKey } from '../../../src/store/record-layout.ts';
import { Audited, BOTH, DAY_MS, findingsOf, holdOf, type Place, proofOf, runOf } from '../../support/audited.ts';

const never = new AbortController().signal;
/** Caused on a real bucket, which has what a directory lacks: test/integration/audit-s3.test.ts. */
const ONLY_IN_BUCKETS: readonly FindingKind[] = ['hold-ineffective', 'hold-left'];
const caused = new Set<string>();
let on: Audited;
let cluster: Audited['shelf']['deps']['cluster'];
let [first, second, third]: SnapshotId[] = [];

beforeAll(async () => {
  on = await Audited.create();
  [first, second, third] = on.ids;
  cluster = on.shelf.deps.cluster;
  await on.keep();
});
afterAll(() => on?.[Symbol.asyncDispose]());
beforeEach(() => on.restore());

async function found(options: Parameters<Audited['audit']>[0] = {}): Promise<string[]> {
  const result = await on.audit(options);
  for (const { kind, message, severity } of result.findings) {
    caused.add(kind);
    expect(severity).toBe(FINDINGS[kind].severity);
    expect(message).not.toBe('');
  }
  expect(result.wrong).toBe(result.findings.filter(({ severity }) => severity === 'wrong').length);
  return findingsOf(result);
}

const id = (snapshot: SnapshotId | undefined): SnapshotId => {
  if (snapshot === undefined) throw new Error('not published');
  return snapshot;
};

async function change(
  place: Place,
  kind: ObjectKind,
  of: SnapshotId,
  fn: (bytes: Buffer) => Uint8Array,
): Promise<void> {
  const path = on.path(place, kind, of);
  await writeFile(path, fn(await readFile(path)));
}

async function plant(place: Place, key: string, text: string | Uint8Array): Promise<void> {
  await writeFile(await on.at(place, key), text);
}

async function records(change_: { isStranger: boolean }): Promise<Records> {
  const stranger = localSigner(generateSigningKey().privateKeyPem);
  const signer = change_.isStranger ? stranger : on.signer;
  return new Records({ cluster, stores: on.stores, trusted: [await signer.publicKeyPem(never)], signer });
}

it('finds nothing where nobody did anything, also when it reads the data', async () => {
  const result = await on.audit({ isDeep: true });
  expect(result).toMatchObject({ wrong: 0, findings: [], snapshots: 3, isDeep: true });
  // 3 snapshots of 4 objects, 3 runs, a proof, a hold, the pointer.
  expect(result.destinations).toMatchObject(BOTH.map((name) => ({ name, objects: 18, isComplete: true })));
});

describe('a manifest', () => {
  it('without its signature', async () => {
    await on.remove('sigs', id(second), ['b']);
    expect(await found()).toEqual([`manifest-unsigned b ${second}`]);
  });

  it('signed by somebody else', async () => {
    const stranger = localSigner(generateSigningKey().privateKeyPem);
    await change('b', 'manifests', id(second), (bytes) =>
      Buffer.from(bytes.toString().replaceAll(on.signer.keyId, stranger.keyId)),
    );
    const bytes = await readFile(on.path('b', 'manifests', id(second)));
    const signature = await stranger.sign(bytes, never);
    await writeFile(on.path('b', 'sigs', id(second)), signature);
    expect(await found()).toEqual([`manifest-foreign b ${second}`]);
  });

  it('changed after it was signed', async () => {
    await change('a', 'manifests', id(third), (bytes) => Buffer.concat([bytes, Buffer.from(' ')]));
    expect(await found()).toEqual([`manifest-changed a ${third}`]);
  });

  it('of another snapshot, with its signature', async () => {
    for (const kind of ['manifests', 'sigs'] as const) {
      await cp(on.path('a', kind, id(first)), on.path('a', kind, id(second)));
    }
    expect(await found()).toEqual([`manifest-elsewhere a ${second}`]);
  });

  it('that is well signed and none', async () => {
    const bytes = Buffer.from(JSON.stringify({ signer: { keyId: on.signer.keyId } }));
    await writeFile(on.path('a', 'manifests', id(second)), bytes);
    await writeFile(on.path('a', 'sigs', id(second)), await on.signer.sign(bytes, never));
    expect(await found()).toEqual([`manifest-unreadable a ${second}`]);
  });

  it('that is in one destination only', async () => {
    await on.remove('manifests', id(second), ['b']);
    expect(await found()).toEqual([`manifest-missing b ${second}`]);
  });

  it('of which there are two, both signed: the chain tells which is the later one', async () => {
    const text = await readFile(on.path('b', 'manifests', id(second)), 'utf8');
    const other = Buffer.from(text.replace('"warnings": []', '"warnings": ["another"]'));
    expect(other.toString()).not.toBe(text);
    for (const place of BOTH) {
      await writeFile(on.path(place, 'manifests', id(second)), other);
      await writeFile(on.path(place, 'sigs', id(second)), await on.signer.sign(other, never));
      if (place === 'a')
        expect(await found()).toEqual([`chain-broken ${second}`, `manifests-differ b ${second}`].sort());
    }
    expect(await found()).toEqual([`chain-broken ${second}`]);
  });
});

describe('a copy', () => {
  it('of which nothing is left in one destination', async () => {
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) await on.remove(kind, id(second), ['b']);
    expect(await found()).toEqual([`copy-missing b ${second}`]);
  });

  it.each([
    ['data', 'data-missing'],
    ['keys', 'keys-missing'],
  ] as const)('without its %s', async (kind, finding) => {
    await on.remove(kind, id(second), ['a']);
    expect(await found()).toEqual([`${finding} a ${second}`]);
    expect(await found({ isDeep: true })).toEqual([`${finding} a ${second}`]);
  });

  it('of another length', async () => {
    await change('a', 'data', id(third), (bytes) => bytes.subarray(0, -1));
    expect(await found()).toEqual([`data-length a ${third}`]);
  });

  it('that was written again: not known to be good until a proof or a reading says so', async () => {
    const key = objectKey(cluster, 'data', id(third));
    await change('a', 'data', id(third), (bytes) => flip(bytes));
    await on.forget('a', key);
    // The proof of the shelf is older than the writing.
    await utimes(on.path('a', 'data', id(third)), new Date(), new Date(Date.now() + 60_000));
    expect(await found()).toEqual([`data-rewritten a ${third}`]);
    expect(await found({ isDeep: true })).toEqual([`data-bad a ${third}`, `data-rewritten a ${third}`].sort());
    const { sha256 } = await (await on.shelf.catalogue(on.stores)).read(id(third), never);
    const later = new Date(Date.now() + 120_000).toISOString();
    const proof = { manifestSha256: sha256, provenAt: later };
    await (await records({ isStranger: true })).writeProof(proofOf(cluster, id(third), proof), never);
    expect(await found()).toEqual(
      [`data-rewritten a ${third}`, ...BOTH.map((place) => `record-refused ${place}`)].sort(),
    );
    await (await records({ isStranger: false })).writeProof(proofOf(cluster, id(third), proof), never);
    expect(await found()).toEqual(BOTH.map((place) => `record-refused ${place}`));
  });

  it('copied by hand, byte for byte, is right', async () => {
    await on.forget('a', objectKey(cluster, 'data', id(third)));
    expect(await found()).toEqual([]);
  });

  it('of the right length with another byte: only reading tells', async () => {
    await change('b', 'data', id(first), flip);
    expect(await found()).toEqual([]);
    expect(await found({ isDeep: true })).toEqual([`data-bad b ${first}`]);
  });

  it('with keys that are none, or of another snapshot, or older than elsewhere', async () => {
    await change('a', 'keys', id(first), () => Buffer.from('{"v":1'));
    await cp(on.path('b', 'keys', id(first)), on.path('b', 'keys', id(second)));
    await change('b', 'keys', id(third), (bytes) =>
      Buffer.from(bytes.toString().replace('"revision": 1', '"revision": 2')),
    );
    expect(await found()).toEqual([`keys-bad a ${first}`, `keys-bad b ${second}`, `keys-differ a ${third}`]);
  });
});

describe('objects without a manifest', () => {
  const data = async (place: Place, at: Date): Promise<SnapshotId> => {
    const snapshot = newSnapshotId(at);
    await plant(place, objectKey(cluster, 'data', snapshot), 'data');
    return snapshot;
  };

  it('may be a backup that runs, for a day', async () => {
    const young = await data('a', new Date());
    expect(await found()).toEqual([`running a ${young}`]);
    expect((await on.audit()).wrong).toBe(0);
    expect(await found({ now: new Date(Date.now() + DAY_MS) })).toEqual([`orphan a ${young}`]);
  });

  it('are orphans after that, and when they come from the future', async () => {
    const old = await data('a', new Date(Date.now() - 2 * DAY_MS));
    const future = await data('b', new Date(Date.now() + 2 * DAY_MS));
    await plant('b', objectKey(cluster, 'sigs', old), 'sig');
    expect(await found()).toEqual([`orphan a ${old}`, `orphan b ${old}`, `orphan b ${future}`]);
  });

  it('are left over where the manifest promises no copy', async () => {
    const [a] = on.shelf.deps.destinations;
    if (a === undefined) throw new Error('two destinations');
    const now = new Date(Date.now() - 1.2 * DAY_MS);
    const { snapshot } = await on.shelf.publish({ now, destinations: [a] });
    expect(await found()).toEqual([]);
    await plant('b', objectKey(cluster, 'data', snapshot), 'half of it');
    expect(await found()).toEqual([`leftover b ${snapshot}`]);
  });

  it('stay an open question where the only manifest is refused', async () => {
    await change('a', 'manifests', id(third), (bytes) => Buffer.concat([bytes, Buffer.from(' ')]));
    await on.remove('manifests', id(third), ['b']);
    // The pointer of b is to it.
    expect(await found()).toEqual([`manifest-changed a ${third}`, `manifest-missing b ${third}`, 'pointer b']);
  });
});

describe('a snapshot that was taken away everywhere', () => {
  const takeAway = async (snapshot: SnapshotId): Promise<void> => {
    for (const kind of ['keys', 'data', 'sigs', 'manifests'] as const) await on.remove(kind, snapshot);
  };
  const forgetRecords = async (): Promise<void> => {
    for (const place of BOTH) {
      for (const kind of ['runs', 'proofs', 'holds'])
        await rm(join(on.folder(place), 'v1', cluster, kind), { recursive: true });
    }
  };

  it('is missed by the manifest after it, when there are no records', async () => {
    await takeAway(id(second));
    await forgetRecords();
    expect(await found()).toEqual([`taken-away ${second}`]);
    expect((await on.audit()).findings[0]?.message).toContain(`the manifest of ${third} links to it`);
  });

  it('is missed by its run, its proof or its hold, also when it was the newest', async () => {
    await takeAway(id(third));
    expect(await found()).toEqual([...BOTH.map((place) => `pointer ${place}`), `taken-away ${third}`]);
  });

  it('is missed by its hold alone', async () => {
    await takeAway(id(first));
    for (const place of BOTH) {
      for (const kind of ['runs', 'proofs']) await rm(join(on.folder(place), 'v1', cluster, kind), { recursive: true });
    }
    expect(await found()).toEqual([`taken-away ${first}`]);
  });

  it('is nothing to speak of while a destination does not answer: it may have it', async () => {
    await takeAway(id(second));
    await rm(on.folder('b'), { recursive: true });
    await writeFile(on.folder('b'), 'no directory');
    const result = await on.audit();
    expect(findingsOf(result)).toEqual(['unread b']);
    caused.add('unread');
    expect(result.destinations).toMatchObject([{ isComplete: true }, { isComplete: false }]);
    await rm(on.folder('b'));
  });
});

describe('a record', () => {
  it('that nobody trusted signed', async () => {
    await (await records({ isStranger: true })).writeRun(runOf(cluster, id(first)), never);
    expect(await found()).toEqual(['record-refused a', 'record-refused b']);
  });

  it('under the name of another one', async () => {
    const { names } = await on.records.proofs(never);
    const [name] = names;
    if (name === undefined) throw new Error('there is a proof');
    const other = { ...name, proof: newRunId(new Date()) as RunId };
    await cp(join(on.folder('a'), proofKey(cluster, name)), await on.at('a', proofKey(cluster, other)));
    expect(parseProofKey(cluster, proofKey(cluster, other))).not.toBeNull();
    expect(await found()).toEqual(['record-elsewhere a']);
  });

  it('that is none', async () => {
    await plant('b', runKey(cluster, newRunId(new Date()), 'backup'), '{"half":');
    expect(await found()).toEqual(['record-unreadable b']);
  });

  it('of a hold that one destination lacks', async () => {
    const { names } = await on.records.holds(never);
    const [name] = names;
    if (name === undefined) throw new Error('there is a hold');
    await rm(join(on.folder('b'), holdKey(cluster, name)));
    expect(await found()).toEqual([`hold-missing b ${first}`]);
    expect(parseHoldKey(cluster, holdKey(cluster, name))).toEqual(name);
  });

  it('of a run that failed names nothing that must be there', async () => {
    const never_ = newSnapshotId(new Date());
    await on.records.writeRun(runOf(cluster, never_, { outcome: 'failed' }), never);
    expect(await found()).toEqual([]);
    await on.records.writeHold(holdOf(cluster, never_, { act: 'release' }), never);
    expect(await found()).toEqual([]);
  });
});

describe('what does not belong there', () => {
  it.each([
    ['beside the folders', (c: string) => `v1/${c}/notes.txt`],
    ['before all of them', (c: string) => `v1/${c}/a/b`],
    ['behind all of them', (c: string) => `v1/${c}/zzz`],
    ['among the data', (c: string) => `v1/${c}/data/2026/11/22/copy of it.age`],
    ['among the data, behind everything', (c: string) => `v1/${c}/data/🗝`],
    [
      'among the manifests, on another day than its id says',
      (c: string) => `v1/${c}/manifests/2020/01/01/20200101T000000Z-${first}.json`,
    ],
    ['among the runs', (c: string) => `v1/${c}/runs/readme`],
    ['with a name that begins like that of a folder', (c: string) => `v1/${c}/data2/x`],
  ])('%s', async (_where, key) => {
    await plant('a', key(cluster), 'x');
    expect(await found()).toEqual(['foreign a']);
    expect((await on.audit()).findings).toMatchObject([{ key: key(cluster) }]);
  });

  it('a pointer that cannot be read, or that names nothing; an old or absent one is right', async () => {
    const pointer = (place: Place): string => join(on.folder(place), latestKey(cluster));
    await writeFile(pointer('a'), 'garbage');
    await writeFile(
      pointer('b'),
      JSON.stringify({ manifest: objectKey(cluster, 'manifests', newSnapshotId(new Date())) }),
    );
    expect(await found()).toEqual(['pointer a', 'pointer b']);
    await rm(pointer('a'));
    await writeFile(pointer('b'), JSON.stringify({ manifest: objectKey(cluster, 'manifests', id(first)) }));
    expect(await found()).toEqual([]);
  });

  it('an upload that never ended; a young one may be a run', async () => {
    const uploads = join(on.folder('a'), '.strongroom/tmp', objectKey(cluster, 'data', newSnapshotId(new Date())));
    await mkdir(uploads, { recursive: true });
    const name = (age: number): string => `${(Date.now() - age).toString(36)}-0123456789abcdef`;
    await writeFile(join(uploads, name(1000)), 'half');
    await writeFile(join(uploads, name(2 * DAY_MS)), 'half');
    expect(await found()).toEqual(['unfinished a', 'uploading a']);
    expect((await on.audit()).wrong).toBe(1);
    await rm(dirname(uploads), { recursive: true });
  });
});

it('rejects when no destination can be listed', async () => {
  for (const place of BOTH) await rm(on.folder(place), { recursive: true });
  await expect(on.audit()).rejects.toMatchObject({ code: 'E_STORE_BUCKET' });
});

it('has caused every kind of finding here, or does so on a bucket', async () => {
  const missing = (Object.keys(FINDINGS) as FindingKind[]).filter((kind) => !caused.has(kind));
  expect(missing.sort()).toEqual([...ONLY_IN_BUCKETS].sort());
  const page = await readFile(join(import.meta.dirname, '../../../docs/audit.md'), 'utf8');
  expect(Object.keys(FINDINGS).filter((kind) => !page.includes(`| \`${kind}\``))).toEqual([]);
});

function flip(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.byteLength >> 1] = (copy[copy.byteLength >> 1] ?? 0) ^ 1;
  return copy;
}
