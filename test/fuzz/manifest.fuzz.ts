/** The documents beside a snapshot, byte for byte: manifest, signature, keys.json, object names, object metadata. */
import { matchManifest } from '../../src/catalogue/copy.ts';
import { type Manifest, parseManifest, serialiseManifest } from '../../src/catalogue/manifest.ts';
import { isError } from '../../src/core/errors.ts';
import { discard } from '../../src/core/flow.ts';
import { parseSidecar, serialiseSidecar } from '../../src/crypt/sidecar.ts';
import { verifySignature } from '../../src/crypt/sign.ts';
import { wrapsFromMetadata } from '../../src/crypt/wrap-metadata.ts';
import { objectKey, parseObjectKey } from '../../src/store/layout.ts';
import { chunked } from '../support/archive-builder.ts';
import { JSON_TOKENS, MANIFEST, SIDECAR, SIGNATURE, TRUSTED } from './documents.ts';
import { changeJson } from './engine/mutate-json.ts';
import { type Target, Violation } from './engine/target.ts';
import { CLUSTER, NEWEST } from './names.ts';

const KINDS = ['keys', 'data', 'sigs', 'manifests'] as const;
const names = KINDS.map((kind) => Buffer.from(objectKey(CLUSTER, kind, NEWEST)));
const metadata = Buffer.from('kms-wrap-1=arn:aws:kms:eu-west-1:1:key/x AAAA\nKMS-WRAP-02=arn:: A=\n');

export const manifest: Target = {
  maxBytes: 64 * 1024,
  covers: ['/src/catalogue/', '/src/crypt/sidecar.', '/src/crypt/sign.', '/src/crypt/wrap-metadata.', '/src/store/'],
  codes: ['E_MANIFEST', 'E_SIGNATURE', 'E_STORE_CHECKSUM'],
  tokens: [...JSON_TOKENS, ...names],
  seeds: () => [MANIFEST, SIDECAR, SIGNATURE, ...names, metadata],
  mutate: changeJson,
  run: async (input) => {
    const errors = [
      await caught(() => checkSignature(input)),
      await caught(() => checkManifest(input)),
      await caught(() => checkSidecar(input)),
      await caught(() => checkNames(input)),
    ];
    for (const error of errors) if (error !== null && !isError(error, 'E_SIGNATURE')) throw error;
  },
};

/** Nothing but the signed bytes is signed; whatever the signature. */
function checkSignature(input: Buffer): void {
  const isOriginal = input.equals(MANIFEST);
  if (isSigned(input, SIGNATURE) !== isOriginal) throw new Violation('a signature fits other bytes, or not its own');
  if (isSigned(input, input)) throw new Violation('a document is its own signature');
  // Of an ECDSA signature there are others that fit the same bytes. Here one would have to be found.
  if (isSigned(MANIFEST, input) && !input.equals(SIGNATURE)) throw new Violation('another signature fits');
}

function isSigned(bytes: Buffer, signature: Buffer): boolean {
  try {
    verifySignature(bytes, signature, TRUSTED);
    return true;
  } catch (e) {
    if (isError(e, 'E_SIGNATURE')) return false;
    throw e;
  }
}

/** What is taken belongs here, and can be written and read again as it is. */
async function checkManifest(input: Buffer): Promise<void> {
  const parsed = parseManifest(input, CLUSTER, NEWEST);
  if (parsed.cluster !== CLUSTER || parsed.snapshot !== NEWEST) throw new Violation('it took a foreign manifest');
  const again: Manifest = parseManifest(serialiseManifest(parsed), CLUSTER, NEWEST);
  if (JSON.stringify(again) !== JSON.stringify(parsed)) throw new Violation('a manifest is another when read again');
  await discard(matchManifest(parsed, 's3://a')(chunked(Buffer.alloc(100), 33)));
}

function checkSidecar(input: Buffer): void {
  const expect = { cluster: CLUSTER, snapshot: NEWEST };
  const parsed = parseSidecar(input, expect);
  const again = parseSidecar(serialiseSidecar(parsed), expect);
  if (JSON.stringify(again) !== JSON.stringify(parsed)) throw new Violation('a sidecar is another when read again');
}

function checkNames(input: Buffer): void {
  const text = input.toString('latin1');
  for (const kind of KINDS) {
    const id = parseObjectKey(CLUSTER, kind, text);
    if (id !== null && objectKey(CLUSTER, kind, id) !== text) throw new Violation('a name is taken for another');
  }
  const entries = text.split('\n', 50).map((line) => line.split('=', 2) as [string, string?]);
  const wraps = wrapsFromMetadata(Object.fromEntries(entries.map(([name, value = '']) => [name, value])));
  if (wraps.some(({ keyId, region }) => !keyId.startsWith('arn:') || region === '')) {
    throw new Violation('a wrap without a key');
  }
}

async function caught(read: () => void | Promise<void>): Promise<unknown> {
  try {
    await read();
    return null;
  } catch (e) {
    if (!isError(e)) throw e;
    return e;
  }
}
