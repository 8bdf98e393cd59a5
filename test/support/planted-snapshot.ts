/**
 * What somebody can make who may write to the bucket and knows the public keys: an encrypted archive, keys and a manifest
 * that agree with one another in every size and hash. Only the signature is not theirs to make.
 */
import { createHash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { readArchive } from '../../src/archive/read.ts';
import { archiveRecord } from '../../src/catalogue/archive-record.ts';
import { type Manifest, serialiseManifest } from '../../src/catalogue/manifest.ts';
import { collect } from '../../src/core/flow.ts';
import type { SnapshotId } from '../../src/core/ids.ts';
import type { Secret } from '../../src/core/secret.ts';
import { wrapForRecipient } from '../../src/crypt/age-wrap.ts';
import { newContainer } from '../../src/crypt/container.ts';
import { type Sidecar, serialiseSidecar } from '../../src/crypt/sidecar.ts';
import { compositeSha256 } from '../../src/store/parts.ts';
import { chunked } from './archive-builder.ts';
import { CLUSTER, FOLDERS, type Folder, type Sandbox } from './stored-archives.ts';

export type Planted = {
  manifest: Manifest;
  data: Buffer;
  sidecar: Sidecar;
  /** opens the data */
  identity: Secret<string>;
};

/** The objects of a snapshot `like` the given one, holding `archive`, for the public `recipient` of its break-glass key. */
export async function forgeSnapshot(like: Manifest, archive: Uint8Array, recipient: string): Promise<Planted> {
  const container = await newContainer([recipient]);
  const data = Buffer.from(await collect(container.encrypt(chunked(archive)), 2 ** 24));
  const report = await readArchive(chunked(archive), { requireSealedSums: false });
  const context = { cluster: CLUSTER, snapshot: like.snapshot };
  const sidecar: Sidecar = {
    v: 1,
    ...context,
    encryptionContext: context,
    wraps: [await wrapForRecipient(container.identity, context, recipient)],
    missing: [],
    revision: 1,
    createdAt: like.createdAt,
  };
  return {
    data,
    sidecar,
    identity: container.identity,
    manifest: {
      ...like,
      archive: archiveRecord(report),
      ciphertext: describeData(data, container.headerSha256),
      keys: { ...like.keys, recipient: container.recipient },
    },
  };
}

/** What a manifest says of a data object of one part. */
export function describeData(data: Uint8Array, headerSha256: string): Manifest['ciphertext'] {
  const hash = createHash('sha256').update(data).digest();
  return {
    format: 'age-v1',
    bytes: data.byteLength,
    headerSha256,
    partSize: data.byteLength,
    parts: 1,
    partSha256: [hash.toString('base64')],
    sha256Composite: compositeSha256([hash]),
  };
}

/** Signs nothing, and leaves what signature there is. */
export const oldSignature = Symbol('the signature that is there');

/** Writes the objects over those of that snapshot. `signature`: null = there is none. */
export async function plant(
  sandbox: Sandbox,
  { manifest, data, sidecar }: Pick<Planted, 'manifest' | 'data' | 'sidecar'>,
  signature: ((bytes: Uint8Array) => Promise<Uint8Array>) | typeof oldSignature | null,
  folders: readonly Folder[] = FOLDERS,
): Promise<void> {
  const id = manifest.snapshot as SnapshotId;
  const bytes = serialiseManifest(manifest);
  for (const folder of folders) {
    await put(sandbox.path(folder, 'data', id), data);
    // Of the object that was there before.
    await rm(sandbox.metaPath(folder, id), { force: true });
    await put(sandbox.path(folder, 'keys', id), serialiseSidecar(sidecar));
    await put(sandbox.path(folder, 'manifests', id), bytes);
    if (signature === null) await rm(sandbox.path(folder, 'sigs', id), { force: true });
    else if (signature !== oldSignature) await put(sandbox.path(folder, 'sigs', id), await signature(bytes));
  }
}

async function put(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}
