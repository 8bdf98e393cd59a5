import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { Secret } from '../../../src/core/secret.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { kmsSigner } from '../../../src/crypt/kms-signer.ts';
import { localSigner, type Signer, verifySignature } from '../../../src/crypt/sign.ts';
import { HOME, startWorld, type World } from './kms-world.ts';

const run = promisify(execFile);
const signal = new AbortController().signal;
let world: World;
let folder: string;

beforeAll(async () => {
  world = await startWorld();
  folder = await mkdtemp(join(tmpdir(), 'strongroom-sign-'));
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

function refusal(bytes: Uint8Array, signature: Uint8Array | null, trusted: readonly string[]): StrongroomError {
  try {
    verifySignature(bytes, signature, trusted);
  } catch (e) {
    if (e instanceof StrongroomError) return e;
    throw e;
  }
  throw new Error('nothing was refused');
}

/** What `openssl dgst -sha256 -verify` says, with its exit code. */
async function openssl(pem: string, signature: Uint8Array, bytes: Uint8Array): Promise<string> {
  const [key, sig, file] = ['key.pem', 'x.sig', 'x.json'].map((name) => join(folder, name));
  if (key === undefined || sig === undefined || file === undefined) throw new Error('no names');
  await Promise.all([writeFile(key, pem), writeFile(sig, signature), writeFile(file, bytes)]);
  return run('openssl', ['dgst', '-sha256', '-verify', key, '-signature', sig, file]).then(
    ({ stdout }) => stdout.trim(),
    (e: unknown) => (e instanceof Error && 'code' in e ? `exit ${String(e.code)}` : 'no openssl'),
  );
}

const kinds: [string, () => Signer][] = [
  ['local', () => localSigner(generateSigningKey().privateKeyPem)],
  [
    'KMS',
    () =>
      kmsSigner({ client: world.client(HOME), keyId: world.kms.createKey({ region: HOME, spec: 'ECC_NIST_P256' }) }),
  ],
];

describe.each(kinds)('a %s signer', (kind, make) => {
  it('signs what openssl verifies, and openssl refuses a changed document', async () => {
    const signer = make();
    expect(signer.alg).toBe('ECDSA_P256_SHA256');
    // Longer than the 4 KiB that KMS would take unhashed.
    const bytes = Buffer.from(JSON.stringify({ signer: { keyId: signer.keyId }, filler: 'x'.repeat(10_000) }));
    const [signature, pem] = [await signer.sign(bytes, signal), await signer.publicKeyPem(signal)];
    expect(await openssl(pem, signature, bytes)).toBe('Verified OK');
    expect(await openssl(pem, signature, Buffer.concat([bytes, Buffer.from(' ')]))).toBe('exit 1');
    const { keyId } = verifySignature(bytes, signature, [generateSigningKey().publicKeyPem, pem]);
    expect(keyId).toMatch(/^[0-9a-f]{64}$/);
    if (kind === 'local') expect(keyId).toBe(signer.keyId);
  });

  it('is refused in three different ways: unsigned, foreign, changed', async () => {
    const signer = make();
    const bytes = Buffer.from(JSON.stringify({ signer: { keyId: signer.keyId }, n: 1 }));
    const signature = await signer.sign(bytes, signal);
    // The note before BEGIN is how an ARN is tied to its public key.
    const pem = `# ${signer.keyId}\n${await signer.publicKeyPem(signal)}`;
    const changed = Buffer.from(bytes.toString().replace('"n":1', '"n":2'));
    const messages = [
      refusal(bytes, null, [pem]),
      refusal(bytes, signature, [generateSigningKey().publicKeyPem]),
      refusal(changed, signature, [pem]),
    ];
    expect(messages.map((e) => e.code)).toEqual(['E_SIGNATURE', 'E_SIGNATURE', 'E_SIGNATURE']);
    expect(messages[0]?.message).toBe('the document is unsigned');
    expect(messages[1]?.message).toContain('a foreign key');
    expect(messages[1]?.message).toContain(signer.keyId);
    expect(messages[2]?.message).toMatch(/was changed after .* signed it/);
    expect(refusal(bytes, Buffer.alloc(0), [pem]).message).toBe('the document is unsigned');
    expect(refusal(bytes, Buffer.from('garbage'), [pem]).message).toMatch(/was changed/);
    expect(refusal(bytes, signature.slice(0, -1), [pem]).message).toMatch(/was changed/);
    expect(refusal(bytes, signature, []).message).toMatch(/foreign key/);
  });
});

describe('verifySignature', () => {
  it('says both for an ARN of which no trusted key is known', async () => {
    const keyId = world.kms.createKey({ region: HOME, spec: 'ECC_NIST_P256' });
    const signer = kmsSigner({ client: world.client(HOME), keyId });
    const bytes = Buffer.from(JSON.stringify({ signer: { keyId } }));
    const signature = await signer.sign(bytes, signal);
    expect(
      refusal(Buffer.concat([bytes, Buffer.from('\n')]), signature, [await signer.publicKeyPem(signal)]).message,
    ).toBe(`no trusted key fits: either ${keyId} is a foreign key, or the document was changed after it signed`);
  });

  it('needs no JSON, and believes nothing that the document says of itself', async () => {
    const { privateKeyPem, publicKeyPem, keyId } = generateSigningKey();
    const mallory = localSigner(generateSigningKey().privateKeyPem);
    const plain = Buffer.from('plain text');
    expect(verifySignature(plain, await localSigner(privateKeyPem).sign(plain, signal), [publicKeyPem])).toEqual({
      keyId,
    });
    expect(refusal(plain, await mallory.sign(plain, signal), [publicKeyPem]).message).toMatch(/foreign key/);
    const claim = Buffer.from(JSON.stringify({ signer: { keyId } }));
    expect(refusal(claim, await mallory.sign(claim, signal), [publicKeyPem]).message).toMatch(/was changed/);
  });

  it('refuses trusted keys that are none, private, or of another kind', () => {
    const ed25519 = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const p384 = generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).publicKey.export({
      type: 'spki',
      format: 'pem',
    });
    const { privateKeyPem, publicKeyPem } = generateSigningKey();
    for (const pem of ['', 'nonsense', ed25519, p384.toString(), privateKeyPem.reveal()]) {
      const error = refusal(Buffer.from('x'), Buffer.from('y'), [publicKeyPem, pem]);
      expect(error.code).toBe('E_CONFIG_INVALID');
      expect(error.message).toMatch(/^trusted key 2 of 2 is/);
    }
  });
});

describe('signers', () => {
  it('refuse other keys without repeating them', async () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey.export({
      type: 'pkcs8',
      format: 'pem',
    });
    const half = generateSigningKey().privateKeyPem.reveal().slice(0, 120);
    for (const pem of ['', p384.toString(), half, generateSigningKey().publicKeyPem]) {
      const failing = (): Signer => localSigner(new Secret(pem));
      expect(failing).toThrow(expect.objectContaining({ code: 'E_CONFIG_INVALID' }));
      expect(failing).not.toThrow(/MII|MIG/);
    }
    const symmetric = kmsSigner({ client: world.client(HOME), keyId: world.kms.createKey({ region: HOME }) });
    await expect(symmetric.sign(Buffer.from('x'), signal)).rejects.toMatchObject({ code: 'E_KEY_REFUSED' });
    await expect(symmetric.publicKeyPem(signal)).rejects.toMatchObject({ code: 'E_KEY_REFUSED' });
    expect(() => kmsSigner({ client: world.client(HOME), keyId: 'alias/signer' })).toThrow(/not the full ARN/);
  });

  it('of KMS need only kms:Sign to sign', async () => {
    const keyId = world.kms.createKey({ region: HOME, spec: 'ECC_NIST_P256' });
    world.kms.grant('signer', ['Sign'], keyId);
    const signer = kmsSigner({ client: world.client(HOME, 'signer'), keyId });
    expect((await signer.sign(Buffer.from('x'), signal)).byteLength).toBeGreaterThan(60);
    await expect(signer.publicKeyPem(signal)).rejects.toMatchObject({ code: 'E_KEY_REFUSED' });
  });

  it('stop for an abort', async () => {
    const signer = localSigner(generateSigningKey().privateKeyPem);
    await expect(signer.sign(Buffer.from('x'), AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped');
  });
});
