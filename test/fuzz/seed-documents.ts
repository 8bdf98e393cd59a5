/** A signed manifest and a keys.json for the targets `manifest` and `catalogue`: `node test/fuzz/seed-documents.ts`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readArchive } from '../../src/archive/read.ts';
import { archiveRecord } from '../../src/catalogue/archive-record.ts';
import { serialiseManifest } from '../../src/catalogue/manifest.ts';
import { Secret } from '../../src/core/secret.ts';
import { wrapForRecipient } from '../../src/crypt/age-wrap.ts';
import { newContainer } from '../../src/crypt/container.ts';
import { generateSigningKey } from '../../src/crypt/generate.ts';
import { newIdentity, recipientOf } from '../../src/crypt/recipients.ts';
import { serialiseSidecar, type Wrap } from '../../src/crypt/sidecar.ts';
import { localSigner } from '../../src/crypt/sign.ts';
import { objectKey } from '../../src/store/layout.ts';
import { chunked } from '../support/archive-builder.ts';
import { CLUSTER as cluster, NEWEST as snapshot } from './names.ts';

const HERE = new URL('documents/', import.meta.url);
const KMS_KEY = 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const never = new AbortController().signal;

const identity = new Secret(readFileSync(new URL('containers/identity.txt', import.meta.url), 'utf8').trim());
const fixture = readFileSync(new URL('../fixtures/archives/openbao-2.7.2-static.snap', import.meta.url));
const breakGlass = await recipientOf(identity);
const container = await newContainer([breakGlass]);
const signer = localSigner(generateSigningKey().privateKeyPem);
const context = { cluster, snapshot };
const createdAt = '2027-01-01T00:00:00.000Z';
const kmsWrap = { type: 'aws-kms', region: 'eu-central-1', keyId: KMS_KEY, ciphertext: 'AQIDBA==' } satisfies Wrap;
const sidecarWith = async (wrapped: Secret<string>): Promise<Uint8Array> =>
  serialiseSidecar({
    v: 1,
    ...context,
    encryptionContext: context,
    wraps: [kmsWrap, await wrapForRecipient(wrapped, context, breakGlass)],
    missing: [{ type: 'aws-kms', keyId: KMS_KEY.replace('central', 'west'), code: 'E_KEY_UNAVAILABLE' }],
    revision: 1,
    createdAt,
  });
const manifest = serialiseManifest({
  schema: '1',
  ...context,
  run: snapshot,
  purpose: 'backup',
  createdAt,
  finishedAt: '2027-01-01T00:00:01.000Z',
  tool: { name: 'strongroom', version: '0.1.0' },
  source: { node: 'https://bao-0:8200', clusterId: 'c', product: 'openbao', productVersion: '2.7.2' },
  archive: archiveRecord(await readArchive(chunked(fixture))),
  ciphertext: {
    format: 'age-v1',
    bytes: 100,
    headerSha256: container.headerSha256,
    partSize: 60,
    parts: 2,
    partSha256: ['A', 'B'].map((letter) => letter.repeat(43).concat('=')),
    sha256Composite: `${'C'.repeat(43)}=-2`,
  },
  keys: {
    recipient: container.recipient,
    object: objectKey(cluster, 'keys', snapshot),
    recipients: [breakGlass],
    kms: [KMS_KEY],
  },
  destinations: [
    { name: 'a', location: 's3://a', status: 'stored', etag: '"e"', versionId: 'v', proof: 'checksum' },
    { name: 'b', location: 's3://b', status: 'missing', code: 'E_STORE_DENIED', message: 'denied' },
  ],
  previous: { snapshot, manifestSha256: 'a'.repeat(64), index: 1 },
  warnings: ['none'],
  signer: { keyId: signer.keyId, alg: signer.alg },
});

mkdirSync(HERE, { recursive: true });
writeFileSync(new URL('newest.keys', HERE), await sidecarWith(container.identity));
// Whoever may write to the bucket can wrap an identity of their own for a public key.
writeFileSync(new URL('foreign.keys', HERE), await sidecarWith((await newIdentity('classic')).identity));
writeFileSync(new URL('newest.manifest', HERE), manifest);
writeFileSync(new URL('newest.sig', HERE), await signer.sign(manifest, never));
writeFileSync(new URL('signer.pub.pem', HERE), await signer.publicKeyPem(never));
