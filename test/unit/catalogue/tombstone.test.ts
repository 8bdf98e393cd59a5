/** A tombstone is as good as no manifest, and never a way to hide one. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalogue } from '../../../src/catalogue/catalogue.ts';
import { commitIn, isTombstone, MAX_TOMBSTONE_BYTES, makeTombstone } from '../../../src/catalogue/tombstone.ts';
import { newRunId, newSnapshotId, parseClusterName, type SnapshotId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner, type Signer } from '../../../src/crypt/sign.ts';
import { FileStore } from '../../../src/store/file.ts';
import { objectKey } from '../../../src/store/layout.ts';

const never = new AbortController().signal;
const cluster = parseClusterName('prod');
const signer = localSigner(generateSigningKey().privateKeyPem);
const stranger = localSigner(generateSigningKey().privateKeyPem);
const id = (hour: number): SnapshotId => newSnapshotId(new Date(Date.UTC(2027, 0, 1, hour)));
const [one, two] = [id(1), id(2)];

let root: string;
let store: FileStore;
let catalogue: Catalogue;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'strongroom-tombstone-'));
  store = new FileStore({ name: 'a', directory: root });
  catalogue = new Catalogue({ cluster, stores: [store], trusted: [await signer.publicKeyPem(never)] });
});
afterEach(() => rm(root, { recursive: true }));

const tombstone = async (snapshot = one, by: Signer = signer, name = cluster): Promise<Uint8Array> =>
  await makeTombstone(
    { cluster: name, signer: by },
    { snapshot, by: newRunId(new Date()), at: new Date('2027-01-01T01:00:00Z') },
    never,
  );
async function place(bytes: Uint8Array | string, snapshot = one): Promise<void> {
  const path = join(root, objectKey(cluster, 'manifests', snapshot));
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}

describe('a tombstone', () => {
  it('is absent to every question: no snapshot, no refusal, no warning', async () => {
    await place(await tombstone());
    expect(await catalogue.list(never)).toEqual({ entries: [], failures: [] });
    expect(await catalogue.latest(never)).toEqual({ newest: null, skipped: [], failures: [], ignored: [] });
    expect(await catalogue.latest(never, { notAfter: new Date() })).toMatchObject({ newest: null, skipped: [] });
    await expect(catalogue.read(one, never)).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    expect(await commitIn(catalogue, store, one, never)).toMatchObject({ kind: 'tombstone' });
  });

  it.each([
    { what: 'that nobody signed', make: async () => edit(await tombstone(), 'signature', '') },
    { what: 'of a foreign signer', make: () => tombstone(one, stranger) },
    {
      what: 'that was changed',
      make: async () => edit(await tombstone(two), 'signed', (await body(two)).replace(two, one)),
    },
    { what: 'of another snapshot', make: () => tombstone(two) },
    { what: 'of another cluster', make: () => tombstone(one, signer, parseClusterName('dev')) },
  ])('$what hides nothing: the snapshot is listed, and refused when it is read', async ({ make }) => {
    await place(await make());
    const { entries } = await catalogue.list(never);
    expect(entries).toEqual([{ snapshot: one, destinations: ['a'] }]);
    const { newest, skipped } = await catalogue.latest(never);
    expect(newest).toBeNull();
    expect(skipped).toMatchObject([{ code: expect.stringMatching(/^E_(SIGNATURE|MANIFEST)$/) as string }]);
    expect(await commitIn(catalogue, store, one, never)).toEqual({ kind: 'manifest' });
  });

  it('is smaller than every manifest, also with the longest names', async () => {
    const long = parseClusterName('x'.repeat(63));
    const keyId = `arn:aws:kms:ap-southeast-4:123456789012:key/mrk-${'0'.repeat(32)}`;
    const bytes = await tombstone(one, { ...signer, keyId }, long);
    expect(bytes.byteLength).toBeLessThan(MAX_TOMBSTONE_BYTES);
    const judge = { cluster: long, checkSignature: catalogue.checkSignature.bind(catalogue) };
    expect(isTombstone(judge, one, bytes)).toBe(true);
  });

  it.each(['', 'text', '{}', '{"strongroom":"tombstone"}'])('is not seen in %j', async (text) => {
    await place(text);
    expect(await commitIn(catalogue, store, one, never)).toEqual({ kind: 'manifest' });
    expect((await catalogue.list(never)).entries).toHaveLength(1);
  });
});

const body = async (snapshot: SnapshotId): Promise<string> =>
  (JSON.parse(Buffer.from(await tombstone(snapshot)).toString()) as { signed: string }).signed;

function edit(bytes: Uint8Array, field: 'signed' | 'signature', value: string): Uint8Array {
  return Buffer.from(JSON.stringify({ ...(JSON.parse(Buffer.from(bytes).toString()) as object), [field]: value }));
}
