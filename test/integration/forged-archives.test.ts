/**
 * A forged snapshot that is right in everything but its signature, one that is signed and not of this format, and forged
 * plain archives: what is refused before a byte is opened, and what can only be said.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Manifest, serialiseManifest } from '../../src/catalogue/manifest.ts';
import { collect } from '../../src/core/flow.ts';
import type { SnapshotId } from '../../src/core/ids.ts';
import { generateSigningKey } from '../../src/crypt/generate.ts';
import { localSigner } from '../../src/crypt/sign.ts';
import { forgeArchive, replaceValue } from '../support/forged-archive.ts';
import { forgeSnapshot, oldSignature, type Planted, plant } from '../support/planted-snapshot.ts';
import { FOLDERS, type Sandbox, type StoredArchive, StoredArchives } from '../support/stored-archives.ts';
import { rehearse } from '../support/strongroom-app.ts';

const never = new AbortController().signal;
const stranger = localSigner(generateSigningKey().privateKeyPem);
let stored: StoredArchives;
let older: StoredArchive;
let newer: StoredArchive;
let sandbox: Sandbox;
/** what an attacker would like to see restored: the policy of readers is another one */
let archive: Buffer;
let planted: Planted;

beforeAll(async () => {
  const real = await readFile(new URL('../fixtures/archives/openbao-2.7.2-shamir.snap', import.meta.url));
  stored = await StoredArchives.create([real, real]);
  [older, newer] = stored.all as [StoredArchive, StoredArchive];
  archive = await forgeArchive(real, { records: replaceValue('sys/policy/reader') });
  planted = await forgeSnapshot(newer.manifest, archive, stored.world.recipient);
});
afterAll(async () => {
  expect(stored.node.installs()).toEqual([]);
  await stored[Symbol.asyncDispose]();
});
beforeEach(async () => {
  sandbox = await stored.sandbox({ identities: [stored.breakGlass] });
  stored.kms.clearCalls();
});

const signed = (bytes: Uint8Array): Promise<Uint8Array> => stored.signer.sign(bytes, never);

/** Refused by id and as the newest, before anything but manifest and signature was read, and before any key was asked. */
async function refused(code: string, message: RegExp): Promise<void> {
  for (const name of [newer.snapshot, 'latest']) {
    const reads: string[] = [];
    const failure = { code, message: expect.stringMatching(message) as string };
    const hint = name === 'latest' ? { hint: expect.stringContaining(`--snapshot ${older.snapshot}`) as string } : {};
    await expect(sandbox.open(name, sandbox.watched(reads))).rejects.toMatchObject({ ...failure, ...hint });
    expect(reads).toEqual([]);
    expect(stored.kms.calls).toEqual([]);
    expect(await sandbox.spooled()).toEqual([]);
  }
}

describe('a forged snapshot with right sums', () => {
  it('would be opened if a trusted key had signed it: the forgery is right in everything else', async () => {
    await plant(sandbox, planted, signed);
    const reads: string[] = [];
    await using source = await sandbox.open('latest', sandbox.watched(reads));
    expect(archive.equals(await collect(source.plain(never), archive.length))).toBe(true);
    // What the refusals below must not have done.
    expect(reads.filter((key) => key.endsWith('.snap.age'))).toHaveLength(1);
  });

  it('without a signature is refused, and with an empty one', async () => {
    await plant(sandbox, planted, null);
    await refused('E_SIGNATURE', new RegExp(`the manifest of ${newer.snapshot} in file://.*/a has no signature$`));
    await plant(sandbox, planted, () => Promise.resolve(new Uint8Array()));
    await refused('E_SIGNATURE', /the document is unsigned$/);
  });

  it('signed by another key is refused, whether it owns up to that or not', async () => {
    const signer = { keyId: stranger.keyId, alg: stranger.alg };
    const byStranger = (bytes: Uint8Array): Promise<Uint8Array> => stranger.sign(bytes, never);
    await plant(sandbox, { ...planted, manifest: { ...planted.manifest, signer } }, byStranger);
    await refused('E_SIGNATURE', new RegExp(`signed by a foreign key \\(${stranger.keyId}\\): none of the 1 trusted`));
    await plant(sandbox, planted, byStranger);
    await refused('E_SIGNATURE', new RegExp(`was changed after ${stored.signer.keyId} signed it`));
  });

  it('with the signature of the snapshot that was there is refused', async () => {
    await plant(sandbox, planted, oldSignature);
    await refused('E_SIGNATURE', new RegExp(`was changed after ${stored.signer.keyId} signed it`));
  });

  it('in one destination is passed over for the real one in the other, and named', async () => {
    await plant(sandbox, planted, oldSignature, ['a']);
    await using source = await sandbox.open('latest');
    expect(newer.archive.equals(await collect(source.plain(never), archive.length * 2))).toBe(true);
    expect(source.label).toMatch(/ from file:\/\/.*\/b$/);
    expect(source.warnings).toEqual([
      expect.stringMatching(/^a: the document or its signature was changed/),
      expect.stringMatching(/^a: file:.* does not hold the data that the manifest signs: part 1 of 1 differs$/),
    ]);
  });
});

describe('a forged archive as a plain file', () => {
  it('is whole, and the plan says that nobody can tell where it comes from', async () => {
    const path = join(sandbox.directory, 'forged.snap');
    await writeFile(path, archive);
    const unsigned = `${path} is not signed: that it is whole was checked, where it comes from cannot be`;
    await using source = await sandbox.open(path);
    expect(source).toMatchObject({ manifest: null, warnings: [unsigned], openedWith: 'plain file' });
    // Its sealed sums are those of another content, which no key here can see; the server sees it, unless it is forced.
    expect(source.report.seal.sealedSums).toBe('present');
    const plan = await rehearse(stored.app, { snapshot: path });
    expect(plan.warnings).toContain(unsigned);
    expect(plan).toMatchObject({ force: true, forceReason: 'the cluster it was taken from is not known' });
  });

  it.each([0, 2])('is refused in snapshot version %i: a server would take it, and stay sealed', async (version) => {
    const path = join(sandbox.directory, 'version.snap');
    await writeFile(path, await forgeArchive(newer.archive, { meta: { Version: version } }));
    await expect(rehearse(stored.app, { snapshot: path })).rejects.toMatchObject({
      code: 'E_SNAPSHOT_FORMAT',
      message: `the archive is of snapshot version ${version}, not 1`,
      hint: expect.stringContaining('a server would accept it, fail to apply it, and stay sealed') as string,
    });
  });
});

describe('a manifest that a trusted key signed', () => {
  /** The newest one with these changes, signed by the trusted key, in both destinations. */
  async function resign(change: Record<string, unknown>): Promise<void> {
    const bytes = serialiseManifest({ ...newer.manifest, ...change } as Manifest);
    for (const folder of FOLDERS) {
      await sandbox.change(sandbox.path(folder, 'manifests', newer.snapshot), () => bytes);
      const signature = await signed(bytes);
      await sandbox.change(sandbox.path(folder, 'sigs', newer.snapshot), () => signature);
    }
  }

  it.each([
    ['schema 0', () => ({ schema: '0' }), /: schema /],
    ['schema 2', () => ({ schema: '2' }), /: schema /],
    ['a format before this one', () => encrypted({ format: 'age-v0' }), /: ciphertext\.format /],
    ['a format after this one', () => encrypted({ format: 'aws-esdk-v1' }), /: ciphertext\.format /],
    ['no hashes', () => encrypted({ partSha256: undefined }), /: ciphertext\.partSha256 /],
    ['a purpose that is not known', () => ({ purpose: 'drill' }), /: purpose /],
  ])('is refused with %s', async (_, change, field) => {
    await resign(change());
    await refused('E_MANIFEST', new RegExp(`the manifest of ${newer.snapshot} is not of schema 1${field.source}`));
    await expect(sandbox.open(newer.snapshot)).rejects.toMatchObject({
      hint: 'it was written by another version of strongroom, or by something else',
    });
  });

  const encrypted = (change: Record<string, unknown>): Record<string, unknown> => ({
    ciphertext: { ...newer.manifest.ciphertext, ...change },
  });

  // Within schema 1 fields are only added: what an older strongroom does not know, it can do without.
  it('is taken with fields that are not known here', async () => {
    await resign({ drill: { at: '2027-01-01T00:00:00Z' }, archive: { ...newer.manifest.archive, census: [1, 2] } });
    await using source = await sandbox.open('latest');
    expect(source.manifest?.snapshot).toBe(newer.snapshot);
    expect(source.warnings).toEqual([]);
    expect(newer.archive.equals(await collect(source.plain(never), newer.archive.length))).toBe(true);
  });

  it('is refused under the name of another cluster, also where that one has the same key', async () => {
    await resign({ cluster: 'stage' });
    await refused('E_MANIFEST', new RegExp(`stored as prod/${newer.snapshot} is that of stage/${newer.snapshot}`));
  });

  it('is refused under the id of another snapshot', async () => {
    await resign({ snapshot: older.snapshot satisfies SnapshotId });
    await refused('E_MANIFEST', new RegExp(`stored as prod/${newer.snapshot} is that of prod/${older.snapshot}`));
  });
});
