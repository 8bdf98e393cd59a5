/** Detached signatures of manifests and evidence: ECDSA P-256 over SHA-256, DER, as `openssl dgst -sha256 -verify` reads. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { z } from 'zod';
import { StrongroomError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';

/** The port: a local key here, a KMS key in kms-signer.ts. */
export interface Signer {
  /** full key ARN, or the SHA-256 (hex) of a local key's public half in SPKI DER */
  readonly keyId: string;
  readonly alg: 'ECDSA_P256_SHA256';
  /** DER signature of exactly these bytes */
  sign(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
  /** SPKI, for the recovery page and for `trusted` */
  publicKeyPem(signal: AbortSignal): Promise<string>;
}

/** A signer with an unencrypted P-256 private key in PEM (PKCS #8 or SEC 1). E_CONFIG_INVALID for anything else. */
export function localSigner(pem: Secret<string>): Signer {
  const key = privateKey(pem);
  const publicKey = createPublicKey(key);
  return {
    keyId: fingerprint(publicKey),
    alg: 'ECDSA_P256_SHA256',
    sign: async (bytes, signal) => {
      signal.throwIfAborted();
      return sign('sha256', bytes, key);
    },
    publicKeyPem: () => Promise.resolve(exportPem(publicKey)),
  };
}

/**
 * Proves that one of `trusted` (public keys in PEM; text before BEGIN is allowed) signed exactly `bytes`, and says which, by
 * the SHA-256 of its SPKI DER. E_SIGNATURE otherwise, with three wordings: no signature at all; a signer that is not
 * trusted; changed after signing. The last two are told apart by `signer.keyId` inside the bytes, which nothing proves: it
 * chooses words and decides nothing. To name a KMS key there, write its ARN on a line before BEGIN of its PEM.
 * E_CONFIG_INVALID for a trusted key that is none.
 */
export function verifySignature(
  bytes: Uint8Array,
  signature: Uint8Array | null,
  trusted: readonly string[],
): { keyId: string } {
  const keys = trusted.map((pem, index) => publicKey(pem, `trusted key ${index + 1} of ${trusted.length}`));
  if (signature === null || signature.byteLength === 0) {
    throw new StrongroomError('E_SIGNATURE', 'the document is unsigned', {
      hint: 'its .sig object is missing or empty: read another destination; age cannot tell who wrote a file',
    });
  }
  const found = keys.find((key) => isSignedBy(key, bytes, signature));
  if (found !== undefined) return { keyId: fingerprint(found) };
  const claimed = claimedSigner(bytes);
  const names = keys.map((key, index) => ({ keyId: fingerprint(key), preamble: preambleOf(trusted[index] ?? '') }));
  const isTrusted =
    claimed !== null && names.some(({ keyId, preamble }) => keyId === claimed || preamble.includes(claimed));
  const details = { claimed, trusted: names.map(({ keyId }) => keyId) };
  if (isTrusted) {
    throw new StrongroomError('E_SIGNATURE', `the document or its signature was changed after ${claimed} signed it`, {
      hint: 'do not restore from it; read another destination, or an older version of the object',
      details: { ...details, isChanged: true },
    });
  }
  if (claimed?.startsWith('arn:') === true) {
    // An ARN shows nothing of the key: without the note before BEGIN both are possible.
    throw new StrongroomError(
      'E_SIGNATURE',
      `no trusted key fits: either ${claimed} is a foreign key, or the document was changed after it signed`,
      {
        hint: 'do not restore from it; aws kms get-public-key tells whether a trusted key is that of this ARN',
        details,
      },
    );
  }
  const who = claimed === null ? 'a foreign key' : `a foreign key (${claimed})`;
  throw new StrongroomError(
    'E_SIGNATURE',
    `the document is signed by ${who}: none of the ${keys.length} trusted keys fits`,
    {
      hint: 'if that signer is yours, add its public key to the trusted ones; if not, somebody else wrote this',
      details,
    },
  );
}

/** SHA-256 (hex) of a public key's SPKI DER: what names a local key. */
export function fingerprint(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

/** SPKI PEM with a newline at the end. */
export function exportPem(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** True for a key on the curve P-256. */
export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

function privateKey(pem: Secret<string>): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = createPrivateKey(pem.reveal());
  } catch {
    // No cause: nothing of what was read as a private key may get into a message.
  }
  if (key !== undefined && isP256(key)) return key;
  throw new StrongroomError('E_CONFIG_INVALID', 'the signing key is not an unencrypted P-256 private key in PEM', {
    hint: 'openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt',
  });
}

function publicKey(pem: string, what: string): KeyObject {
  let key: KeyObject | undefined;
  const isPrivate = pem.includes('PRIVATE KEY');
  try {
    if (!isPrivate) key = createPublicKey(pem.slice(Math.max(0, pem.indexOf('-----BEGIN'))));
  } catch {
    // falls through: there is no key
  }
  if (key !== undefined && isP256(key)) return key;
  throw new StrongroomError(
    'E_CONFIG_INVALID',
    isPrivate ? `${what} is a private key` : `${what} is not a P-256 public key in PEM`,
    { hint: 'openssl pkey -in signer.pem -pubout' },
  );
}

function isSignedBy(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify('sha256', bytes, key, signature);
  } catch {
    return false;
  }
}

const signed = z.object({ signer: z.object({ keyId: z.string().regex(/^[\w:/.-]{1,256}$/) }) });

function claimedSigner(bytes: Uint8Array): string | null {
  try {
    return signed.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8'))).data?.signer.keyId ?? null;
  } catch {
    return null;
  }
}

function preambleOf(pem: string): string {
  return pem.slice(0, Math.max(0, pem.indexOf('-----BEGIN')));
}
