/** The keys of an emulator on disk, for those who want them after a restart of the process. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { p256Material } from './kms-crypto.ts';
import { KeyStore } from './kms-keys.ts';

const base64 = z.base64().transform((text) => Buffer.from(text, 'base64'));
const STATE = z.object({
  /** by key id: replicas of a multi-Region key share theirs */
  materials: z.record(
    z.string(),
    z.union([z.object({ versions: z.array(base64).min(1) }), z.object({ pkcs8: base64 })]),
  ),
  keys: z.array(
    z.object({
      id: z.string(),
      arn: z.string(),
      region: z.string(),
      spec: z.enum(['SYMMETRIC_DEFAULT', 'ECC_NIST_P256']),
      state: z.enum(['Enabled', 'Disabled', 'PendingDeletion']),
      description: z.string(),
      createdAt: z.number(),
      deletionAt: z.number().optional(),
      multiRegion: z.enum(['PRIMARY', 'REPLICA']).optional(),
    }),
  ),
  aliases: z.array(z.object({ region: z.string(), name: z.string(), keyId: z.string() })),
});

/** An empty store when the file is not there; throws when it is there and is not ours. */
export function loadKeys(file: string): KeyStore {
  const store = new KeyStore();
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (e) {
    if (e instanceof Error && 'code' in e && e.code === 'ENOENT') return store;
    throw e;
  }
  const state = STATE.parse(JSON.parse(text));
  const materials = new Map(
    Object.entries(state.materials).map(([id, saved]) => [
      id,
      'pkcs8' in saved ? p256Material(saved.pkcs8) : { kind: 'symmetric' as const, versions: saved.versions },
    ]),
  );
  for (const key of state.keys) {
    const material = materials.get(key.id);
    if (material === undefined) throw new Error(`${file} has no material for key ${key.id}`);
    store.add({ ...key, deletionAt: key.deletionAt, multiRegion: key.multiRegion, material });
  }
  for (const { region, name, keyId } of state.aliases) store.setAlias(store.get(region, keyId), name);
  return store;
}

/** Replaces the file in one step, readable by its owner alone: it holds the keys in clear. */
export function saveKeys(file: string, store: KeyStore): void {
  const keys = store.list();
  const regions = new Set(keys.map(({ region }) => region));
  const state = {
    materials: Object.fromEntries(
      keys.map(({ id, material }) => [
        id,
        material.kind === 'p256'
          ? { pkcs8: material.pkcs8.toString('base64') }
          : { versions: material.versions.map((version) => version.toString('base64')) },
      ]),
    ),
    keys: keys.map((key) => ({ ...key, material: undefined })),
    aliases: [...regions].flatMap((region) => store.aliases(region).map((alias) => ({ region, ...alias }))),
  };
  writeFileSync(`${file}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
