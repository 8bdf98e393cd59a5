/**
 * A bucket in which one object is another than it was: the latest pointer, a manifest, its signature, keys.json. The first
 * byte of an input says which; the rest is the object.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Catalogue } from '../../src/catalogue/catalogue.ts';
import { openIdentity } from '../../src/catalogue/identity.ts';
import { parseManifest } from '../../src/catalogue/manifest.ts';
import { recipientOf } from '../../src/crypt/recipients.ts';
import { FileStore } from '../../src/store/file.ts';
import { latestKey, objectKey } from '../../src/store/layout.ts';
import { FOREIGN_SIDECAR, IDENTITY, JSON_TOKENS, MANIFEST, SIDECAR, SIGNATURE, TRUSTED } from './documents.ts';
import { type Target, Violation } from './engine/target.ts';
import { CLUSTER, NEWEST, OLDER } from './names.ts';

const never = new AbortController().signal;
const { keys } = parseManifest(MANIFEST, CLUSTER, NEWEST);
const pointer = (id: typeof NEWEST): Buffer =>
  Buffer.from(JSON.stringify({ manifest: objectKey(CLUSTER, 'manifests', id) }));
const OBJECTS = [
  { key: latestKey(CLUSTER), content: pointer(NEWEST) },
  { key: objectKey(CLUSTER, 'manifests', NEWEST), content: MANIFEST },
  { key: objectKey(CLUSTER, 'sigs', NEWEST), content: SIGNATURE },
  { key: objectKey(CLUSTER, 'keys', NEWEST), content: SIDECAR },
] as const;

const root = mkdtempSync(join(tmpdir(), 'strongroom-fuzz-'));
const [one, other] = [open('one'), open('other')];

export const catalogue: Target = {
  maxBytes: 24 * 1024,
  covers: ['/src/catalogue/', '/src/crypt/sidecar.', '/src/crypt/age-wrap.', '/src/crypt/keyring.', '/src/crypt/sign.'],
  codes: ['E_SIGNATURE', 'E_MANIFEST', 'E_NOT_FOUND'],
  tokens: [
    ...JSON_TOKENS,
    ...OBJECTS.map(({ key }) => Buffer.from(key)),
    Buffer.from('-----BEGIN AGE ENCRYPTED FILE-----'),
  ],
  seeds: () => [
    ...OBJECTS.map(({ content }, i) => Buffer.concat([Buffer.from([i]), content])),
    Buffer.concat([Buffer.alloc(1), pointer(OLDER)]),
    Buffer.concat([Buffer.from([3]), FOREIGN_SIDECAR]),
  ],
  run: async (input) => {
    const which = (input[0] ?? 0) % OBJECTS.length;
    const object = OBJECTS[which] ?? OBJECTS[0];
    const content = input.subarray(1);
    put('one', object.key, content);
    try {
      if (which === 0) await checkPointer();
      else if (which === 3) await checkSidecar();
      else await checkManifest(content.equals(object.content));
    } finally {
      put('one', object.key, object.content);
    }
  },
  close: () => rmSync(root, { recursive: true, force: true }),
};

/** It only makes a listing shorter: what it says is never believed. */
async function checkPointer(): Promise<void> {
  const { newest } = await new Catalogue({ cluster: CLUSTER, stores: [one], trusted: TRUSTED }).latest(never);
  if (newest?.manifest.snapshot !== NEWEST) throw new Violation('a pointer hides the newest snapshot');
}

/** Another manifest or signature is refused, and the one in the other store found. */
async function checkManifest(isOriginal: boolean): Promise<void> {
  const both = new Catalogue({ cluster: CLUSTER, stores: [one, other], trusted: TRUSTED });
  const { bytes, readFrom } = await both.read(NEWEST, never);
  if (!MANIFEST.equals(bytes)) throw new Violation('it gave a manifest that nobody signed');
  if ((readFrom === 'one') !== isOriginal) throw new Violation(`the manifest comes from ${readFrom}`);
  const alone = new Catalogue({ cluster: CLUSTER, stores: [one], trusted: TRUSTED });
  const found = await alone.read(NEWEST, never);
  if (!isOriginal) throw new Violation(`a changed manifest was read: ${found.sha256}`);
}

/** The snapshot's own identity, or none: the break-glass identity, which opens the data by itself. */
async function checkSidecar(): Promise<void> {
  const deps = { cluster: CLUSTER, stores: [one], kms: [], identities: [IDENTITY] };
  const { identities } = await openIdentity(deps, NEWEST, keys.recipient, never);
  const [identity] = identities;
  if (identity === undefined || identities.length !== 1) throw new Violation('no identity, or several');
  if (identity !== IDENTITY && (await recipientOf(identity)) !== keys.recipient) {
    throw new Violation('a foreign identity was taken out of keys.json');
  }
}

function open(name: string): FileStore {
  for (const { key, content } of OBJECTS) put(name, key, content);
  return new FileStore({ name, directory: join(root, name) });
}

function put(name: string, key: string, content: Buffer): void {
  const file = join(root, name, key);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}
