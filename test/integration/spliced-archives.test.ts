/**
 * Parts of several snapshots put together: each part was written by strongroom itself. What the hashes of the manifest stop
 * first is also shown to the layers behind them, each of which must stop it alone.
 */
import { KMSClient } from '@aws-sdk/client-kms';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Manifest, serialiseManifest } from '../../src/catalogue/manifest.ts';
import { isError, type StrongroomError } from '../../src/core/errors.ts';
import { collect } from '../../src/core/flow.ts';
import { systemClock } from '../../src/core/units.ts';
import { wrapForRecipient } from '../../src/crypt/age-wrap.ts';
import { decrypt, newContainer } from '../../src/crypt/container.ts';
import { KmsKey } from '../../src/crypt/kms.ts';
import { kmsClientOptions } from '../../src/crypt/kms-call.ts';
import { parseSidecar, type Sidecar, serialiseSidecar } from '../../src/crypt/sidecar.ts';
import { rewrapSnapshot } from '../../src/snapshots/rewrap.ts';
import type { ObjectKind } from '../../src/store/layout.ts';
import { barrierValue, chunked, coreRecords, encodeArchive, sorted } from '../support/archive-builder.ts';
import { describeData } from '../support/planted-snapshot.ts';
import {
  CLUSTER,
  FOLDERS,
  type Folder,
  type Sandbox,
  type SourceDeps,
  type StoredArchive,
  StoredArchives,
} from '../support/stored-archives.ts';

const never = new AbortController().signal;
/** A sealed chunk of age: 64 KiB and its tag. */
const SEALED = 65_552;
const NONCE = 16;
let stored: StoredArchives;
let older: StoredArchive;
let newer: StoredArchive;
let sandbox: Sandbox;
const data: { older: Buffer; newer: Buffer } = { older: Buffer.alloc(0), newer: Buffer.alloc(0) };

/** Large enough for five chunks, of the same length whatever is in it. */
function large(): Buffer {
  const more = Array.from({ length: 200 }, (_, i) => ({
    key: `logical/04ab6746-90cd-851d-4628-53e149899abc/app/${1000 + i}`,
    value: barrierValue(1500),
  }));
  return encodeArchive(sorted([...coreRecords(), ...more]));
}

beforeAll(async () => {
  stored = await StoredArchives.create([large(), large()]);
  [older, newer] = stored.all as [StoredArchive, StoredArchive];
  sandbox = await stored.sandbox();
  data.older = await read('data', older);
  data.newer = await read('data', newer);
  expect(data.newer.length).toBe(data.older.length);
  expect(data.newer.length).toBeGreaterThan(4 * SEALED);
});
afterAll(async () => {
  expect(stored.node.installs()).toEqual([]);
  await stored[Symbol.asyncDispose]();
});
beforeEach(async () => {
  sandbox = await stored.sandbox();
});

async function read(kind: ObjectKind, { snapshot }: StoredArchive, folder: Folder = 'a'): Promise<Buffer> {
  let found: Buffer = Buffer.alloc(0);
  await sandbox.change(sandbox.path(folder, kind, snapshot), (bytes) => {
    found = bytes;
    return bytes;
  });
  return found;
}

async function write(kind: ObjectKind, bytes: Uint8Array, folders: readonly Folder[] = FOLDERS): Promise<void> {
  for (const folder of folders) await sandbox.change(sandbox.path(folder, kind, newer.snapshot), () => bytes);
}

/** The manifest of the newer one with these changes, signed by the key that signs. */
async function resign(change: Partial<Manifest>, folders: readonly Folder[] = FOLDERS): Promise<void> {
  const bytes = serialiseManifest({ ...newer.manifest, ...change });
  await write('manifests', bytes, folders);
  await write('sigs', await stored.signer.sign(bytes, never), folders);
}

async function refusal(): Promise<StrongroomError> {
  try {
    await using source = await sandbox.open(newer.snapshot);
    throw new Error(`${source.label} was opened`);
  } catch (e) {
    if (!isError(e)) throw e;
    expect(await sandbox.spooled()).toEqual([]);
    return e;
  }
}

async function opens(
  expected: StoredArchive,
  change: Partial<SourceDeps> = {},
): Promise<{ openedWith: string; warnings: string[] }> {
  await using source = await sandbox.open(newer.snapshot, change);
  expect(expected.archive.equals(await collect(source.plain(never), expected.archive.length))).toBe(true);
  return source;
}

describe('data', () => {
  const headerBytes = (bytes: Buffer): number => bytes.indexOf('\n', bytes.indexOf('\n---') + 1) + 1;
  /** where a chunk begins; both objects have headers of one length */
  const chunk = (n: number): number => headerBytes(data.newer) + NONCE + n * SEALED;
  const splices: [string, () => Buffer, chunks: number][] = [
    [
      'the chunks of the other behind half of its own',
      () => Buffer.concat([data.newer.subarray(0, chunk(2)), data.older.subarray(chunk(2))]),
      2,
    ],
    [
      'the first chunks of the other, then its own',
      () =>
        Buffer.concat([
          data.newer.subarray(0, chunk(0)),
          data.older.subarray(chunk(0), chunk(2)),
          data.newer.subarray(chunk(2)),
        ]),
      0,
    ],
    [
      'its header before the nonce and chunks of the other',
      () => Buffer.concat([data.newer.subarray(0, chunk(0) - NONCE), data.older.subarray(chunk(0) - NONCE)]),
      0,
    ],
    [
      'the last chunk of the other',
      () => Buffer.concat([data.newer.subarray(0, chunk(4)), data.older.subarray(chunk(4))]),
      4,
    ],
  ];

  it.each(splices)('with %s is refused', async (_, splice) => {
    await write('data', splice());
    expect(await refusal()).toMatchObject({
      code: 'E_STORE_CHECKSUM',
      message: expect.stringMatching(/^no destination has a usable copy of .* does not hold the data/) as string,
    });
  });

  it.each(splices)('with %s is refused by the encryption alone, were its hashes the signed ones', async (_, splice) => {
    const { headerSha256 } = newer.manifest.ciphertext;
    await write('data', splice());
    await resign({ ciphertext: describeData(splice(), headerSha256) });
    expect(await refusal()).toMatchObject({ code: 'E_DECRYPT' });
  });

  it.each(splices)('with %s gives out none but right bytes before it is refused', async (_, splice, chunks) => {
    const { headerSha256 } = newer.manifest.ciphertext;
    const out: Uint8Array[] = [];
    const run = async (): Promise<void> => {
      const plain = decrypt([stored.breakGlass], { headerSha256 })(chunked(splice(), 10_000));
      for await (const piece of plain) out.push(piece);
    };
    await expect(run()).rejects.toMatchObject({ code: 'E_DECRYPT' });
    expect(Buffer.concat(out).equals(newer.archive.subarray(0, chunks * 65_536))).toBe(true);
  });

  it('of the other, with a manifest that describes it but for the header, is refused', async () => {
    await write('data', data.older);
    await resign({ ciphertext: describeData(data.older, newer.manifest.ciphertext.headerSha256) });
    expect(await refusal()).toMatchObject({
      code: 'E_DECRYPT',
      message: 'the header is not the one that the manifest names',
    });
  });

  it('of the other, whole and with its keys, under a manifest that describes another archive, is refused', async () => {
    sandbox = await stored.sandbox({ identities: [stored.breakGlass] });
    await write('data', data.older);
    await resign({ ciphertext: older.manifest.ciphertext, keys: older.manifest.keys });
    expect(await refusal()).toMatchObject({
      code: 'E_MANIFEST',
      message: `the archive is not the one that the manifest of ${newer.snapshot} describes`,
    });
  });
});

describe('a manifest', () => {
  it('of the other with its signature, over data and keys that belong there, is refused', async () => {
    await write('manifests', await read('manifests', older));
    await write('sigs', await read('sigs', older));
    expect(await refusal()).toMatchObject({
      code: 'E_MANIFEST',
      message: `the manifest stored as ${CLUSTER}/${newer.snapshot} is that of ${CLUSTER}/${older.snapshot}`,
      hint: expect.stringContaining('somebody moved it: treat the bucket as tampered with') as string,
    });
  });

  it('of the other in one destination is named, and the one in the other destination believed', async () => {
    await write('manifests', await read('manifests', older), ['a']);
    await write('sigs', await read('sigs', older), ['a']);
    expect((await opens(newer)).warnings).toEqual([
      `a: the manifest stored as ${CLUSTER}/${newer.snapshot} is that of ${CLUSTER}/${older.snapshot}`,
    ]);
  });

  // An id is signed once and stored once; should there ever be two, no bytes but the signed ones come out.
  it('of the same id from before, put back over data of today, is refused', async () => {
    await resign({ ciphertext: older.manifest.ciphertext, archive: older.manifest.archive }, ['a']);
    expect((await refusal()).code).toBe('E_STORE_CHECKSUM');
    await resign({ ciphertext: older.manifest.ciphertext, archive: older.manifest.archive });
    expect((await refusal()).code).toBe('E_STORE_CHECKSUM');
  });
});

describe('keys', () => {
  const sidecarOf = async (which: StoredArchive): Promise<Sidecar> =>
    parseSidecar(await read('keys', which), { cluster: CLUSTER, snapshot: which.snapshot });

  /** These wraps as the keys of the newer one in both destinations, and none in the metadata of its data. */
  async function only(wraps: Sidecar['wraps']): Promise<void> {
    const sidecar = await sidecarOf(newer);
    await write('keys', serialiseSidecar({ ...sidecar, wraps }));
    for (const folder of FOLDERS) await sandbox.change(sandbox.metaPath(folder, newer.snapshot), () => null);
  }

  it('of the other, with every name changed to this one, are refused by KMS for their context', async () => {
    await only((await sidecarOf(older)).wraps);
    stored.kms.clearCalls();
    const e = await refusal();
    expect(e).toMatchObject({ code: 'E_KEY_UNAVAILABLE' });
    expect(e.message).toContain(`${stored.wrapping}: E_DECRYPT`);
    const decrypts = stored.kms.calls.filter(({ operation }) => operation === 'Decrypt');
    expect(decrypts.map(({ context, outcome }) => [context?.['snapshot'], outcome])).toEqual([
      [newer.snapshot, 'InvalidCiphertextException'],
      [newer.snapshot, 'InvalidCiphertextException'],
    ]);
  });

  it('of the other keep nobody out who has a break-glass identity, and open what is signed', async () => {
    const { wraps } = await sidecarOf(older);
    sandbox = await stored.sandbox({ identities: [stored.breakGlass] });
    await only(wraps.filter(({ type }) => type === 'age'));
    expect((await opens(newer)).openedWith).toBe('a break-glass identity, on the data header itself');
  });

  it('with an identity that somebody else wrapped for the public recipient are refused, and named', async () => {
    const { identity } = await newContainer([]);
    const context = { cluster: CLUSTER, snapshot: newer.snapshot };
    const wrap = await wrapForRecipient(identity, context, stored.world.recipient);
    sandbox = await stored.sandbox({ identities: [stored.breakGlass] });
    await only([wrap]);
    expect((await opens(newer)).openedWith).toBe('a break-glass identity, on the data header itself');
    // Without the way over the header nothing is left.
    sandbox = await stored.sandbox();
    await only([wrap]);
    expect((await refusal()).code).toBe('E_KEY_UNAVAILABLE');
  });

  it('from before a rewrap, put back, open what is signed or nothing', async () => {
    const context = { catalogue: sandbox.deps.catalogue, stores: sandbox.deps.stores, clock: systemClock };
    const before = await read('keys', newer);
    const arn = stored.kms.createKey({ region: 'eu-central-1' });
    const credentials = { accessKeyId: 'writer', secretAccessKey: 'not-checked' };
    const client = new KMSClient({ ...kmsClientOptions('eu-central-1'), endpoint: stored.kms.url, credentials });
    try {
      const fresh = new KmsKey({ client, keyId: arn, region: 'eu-central-1' });
      const wanted = { kms: [fresh], breakGlass: [stored.world.recipient] };
      const recipientPolicy = { minKmsWraps: 1, minBreakGlass: 1, accept: {} };
      const openers = { identities: [stored.breakGlass] };
      const options = { refresh: false, dryRun: false };
      await rewrapSnapshot({ ...context, ...wanted, ...openers, recipientPolicy }, newer.snapshot, options, never);
      expect((await opens(newer, { kms: [fresh] })).openedWith).toBe(arn);
      await write('keys', before, ['a']);
      expect((await opens(newer, { kms: [fresh] })).openedWith).toBe(arn);
      await write('keys', before);
      await expect(sandbox.open(newer.snapshot, { kms: [fresh] })).rejects.toMatchObject({
        code: 'E_KEY_UNAVAILABLE',
        message: expect.stringContaining(`${stored.wrapping}: no key or identity for it is configured here`) as string,
      });
    } finally {
      client.destroy();
    }
  });
});
