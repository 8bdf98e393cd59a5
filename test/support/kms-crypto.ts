/** The cryptography behind the KMS emulator: real, so that a wrong context or a flipped bit fails for the real reason. */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import { KmsError } from './kms-errors.ts';

export type EncryptionContext = Record<string, string>;

/** Symmetric: every version ever made, the last one encrypts. Elliptic curve: one private key for good. */
export type KeyMaterial =
  | { kind: 'symmetric'; versions: Buffer[] }
  | { kind: 'p256'; pkcs8: Buffer; scalar: Buffer; spki: Buffer };

type SigningMaterial = Extract<KeyMaterial, { kind: 'p256' }>;

const VERSION = 1;
const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const CHECK_BYTES = 8;
// A fixed key: the check tells a damaged blob from one of a key that is gone. It keeps no secret.
const CHECK_KEY = Buffer.from('kms emulator blob header');

export function newSymmetricMaterial(): KeyMaterial {
  return { kind: 'symmetric', versions: [randomBytes(KEY_BYTES)] };
}

export function newP256Material(): KeyMaterial {
  return p256Material(
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'der', type: 'pkcs8' }),
  );
}

/** The material of a P-256 private key in PKCS#8 DER. */
export function p256Material(pkcs8: Buffer): KeyMaterial {
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  const { d } = key.export({ format: 'jwk' });
  if (d === undefined) throw new TypeError('not an elliptic curve private key');
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { kind: 'p256', pkcs8, scalar: Buffer.from(d, 'base64url'), spki };
}

/**
 * Encrypts with AES-256-GCM under the newest version of the key. Blob: version, length and text of the key id,
 * material version (u16), check of this header (8 bytes), IV (12), ciphertext, tag (16). The context is
 * authenticated, never stored.
 */
export function encryptBlob(
  keyId: string,
  material: KeyMaterial,
  plaintext: Uint8Array,
  context: EncryptionContext,
): Buffer {
  if (material.kind !== 'symmetric') throw new TypeError(`${keyId} does not encrypt`);
  const version = material.versions.length - 1;
  const key = material.versions[version];
  if (key === undefined) throw new TypeError(`${keyId} has no key material`);
  const header = blobHeader(keyId, version);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(associatedData(header, context));
  return Buffer.concat([
    header,
    headerCheck(header),
    iv,
    cipher.update(plaintext),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
}

/** Which key made a blob. Throws InvalidCiphertextException when it is none of ours or its header is damaged. */
export function keyIdOfBlob(blob: Buffer): string {
  return parseBlob(blob).keyId;
}

/** The plaintext of a blob; InvalidCiphertextException for any changed byte, other context or other material. */
export function decryptBlob(material: KeyMaterial, blob: Buffer, context: EncryptionContext): Buffer {
  const { header, version, iv, ciphertext, tag } = parseBlob(blob);
  const key = material.kind === 'symmetric' ? material.versions[version] : undefined;
  if (key === undefined) throw invalidCiphertext();
  const decipher = createDecipheriv('aes-256-gcm', key, iv).setAAD(associatedData(header, context)).setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  } catch {
    throw invalidCiphertext();
  }
}

export function sha256(data: Uint8Array): Buffer {
  return createHash('sha256').update(data).digest();
}

/** DER signature over a SHA-256 digest. node:crypto always hashes what it signs, KMS also signs ready digests. */
export function signDigest(material: SigningMaterial, digest: Uint8Array): Buffer {
  return Buffer.from(p256.sign(digest, material.scalar, { prehash: false, lowS: false, format: 'der' }));
}

export function verifyDigest(material: SigningMaterial, digest: Uint8Array, signature: Uint8Array): boolean {
  try {
    // SubjectPublicKeyInfo of P-256 ends in the uncompressed point: 0x04, x, y.
    const point = material.spki.subarray(-65);
    return p256.verify(signature, digest, point, { prehash: false, lowS: false, format: 'der' });
  } catch {
    return false;
  }
}

function blobHeader(keyId: string, version: number): Buffer {
  const id = Buffer.from(keyId);
  return Buffer.concat([Buffer.from([VERSION, id.length]), id, Buffer.from([version >> 8, version & 0xff])]);
}

function headerCheck(header: Uint8Array): Buffer {
  return createHmac('sha256', CHECK_KEY).update(header).digest().subarray(0, CHECK_BYTES);
}

function associatedData(header: Buffer, context: EncryptionContext): Buffer {
  // Pairs are a set: {a,b} and {b,a} are the same context.
  const pairs = Object.entries(context).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.concat([header, Buffer.from(JSON.stringify(pairs))]);
}

function parseBlob(blob: Buffer) {
  const idBytes = blob[1] ?? 0;
  const headerEnd = 2 + idBytes + 2;
  const ivStart = headerEnd + CHECK_BYTES;
  if (blob[0] !== VERSION || blob.length < ivStart + IV_BYTES + TAG_BYTES) throw invalidCiphertext();
  const header = blob.subarray(0, headerEnd);
  if (!timingSafeEqual(headerCheck(header), blob.subarray(headerEnd, ivStart))) throw invalidCiphertext();
  return {
    header,
    keyId: blob.toString('utf8', 2, 2 + idBytes),
    version: blob.readUInt16BE(2 + idBytes),
    iv: blob.subarray(ivStart, ivStart + IV_BYTES),
    ciphertext: blob.subarray(ivStart + IV_BYTES, blob.length - TAG_BYTES),
    tag: blob.subarray(blob.length - TAG_BYTES),
  };
}

// AWS gives this error no message.
function invalidCiphertext(): KmsError {
  return new KmsError('InvalidCiphertextException', '');
}
