/** The operations of the KMS emulator: request in, response out, nothing of HTTP. */
import { randomBytes } from 'node:crypto';
import {
  decryptBlob,
  type EncryptionContext,
  encryptBlob,
  type KeyMaterial,
  keyIdOfBlob,
  newSymmetricMaterial,
  sha256,
  signDigest,
  verifyDigest,
} from './kms-crypto.ts';
import { KmsError } from './kms-errors.ts';
import {
  ACCOUNT,
  cancelDeletion,
  type KeyStore,
  type KmsKey,
  requireUsable,
  scheduleDeletion,
  setEnabled,
} from './kms-keys.ts';
import type { Input, Operation } from './kms-schemas.ts';

export type Call = {
  region: string;
  keys: KeyStore;
  /** Told of each key before it is used: throws when the caller has no right to it or a fault is set on it. */
  use(key: KmsKey, context?: EncryptionContext): void;
};

type Output = Record<string, unknown>;
type Handlers = { [O in Operation]: (call: Call, input: Input<O>) => Output };

export const OPERATIONS: Handlers = {
  CreateKey({ region, keys }, input) {
    const spec = input.KeySpec ?? input.CustomerMasterKeySpec ?? 'SYMMETRIC_DEFAULT';
    const usage = spec === 'SYMMETRIC_DEFAULT' ? 'ENCRYPT_DECRYPT' : 'SIGN_VERIFY';
    if (input.KeyUsage !== usage) {
      throw new KmsError('ValidationException', `KeyUsage ${input.KeyUsage} is not compatible with KeySpec ${spec}`);
    }
    return {
      KeyMetadata: metadata(
        keys.create(region, { spec, multiRegion: input.MultiRegion, description: input.Description }),
        keys,
      ),
    };
  },
  ReplicateKey(call, input) {
    const key = named(call, input.KeyId);
    requireUsable(key);
    return { ReplicaKeyMetadata: metadata(call.keys.replicate(key, input.ReplicaRegion), call.keys) };
  },
  DescribeKey(call, input) {
    return { KeyMetadata: metadata(named(call, input.KeyId), call.keys) };
  },
  ListKeys({ region, keys }) {
    return { Keys: keys.list(region).map((key) => ({ KeyId: key.id, KeyArn: key.arn })), Truncated: false };
  },
  EnableKey(call, input) {
    setEnabled(named(call, input.KeyId), true);
    return {};
  },
  DisableKey(call, input) {
    setEnabled(named(call, input.KeyId), false);
    return {};
  },
  ScheduleKeyDeletion(call, input) {
    const key = named(call, input.KeyId);
    scheduleDeletion(key, input.PendingWindowInDays);
    return {
      KeyId: key.arn,
      KeyState: key.state,
      DeletionDate: seconds(key.deletionAt),
      PendingWindowInDays: input.PendingWindowInDays,
    };
  },
  CancelKeyDeletion(call, input) {
    const key = named(call, input.KeyId);
    cancelDeletion(key);
    return { KeyId: key.arn };
  },
  RotateKeyOnDemand(call, input) {
    const key = named(call, input.KeyId);
    requireUsable(key);
    const fresh = newSymmetricMaterial();
    if (key.material.kind !== 'symmetric' || fresh.kind !== 'symmetric') {
      throw new KmsError('UnsupportedOperationException', `${key.arn} can not be rotated`);
    }
    // Replicas hold the same object: as on AWS they encrypt with the new version at once.
    key.material.versions.push(...fresh.versions);
    return { KeyId: key.arn };
  },
  CreateAlias(call, input) {
    call.keys.setAlias(named(call, input.TargetKeyId), input.AliasName);
    return {};
  },
  ListAliases({ region, keys }, input) {
    const only = input.KeyId === undefined ? undefined : keys.get(region, input.KeyId).id;
    const shown = keys.aliases(region).filter(({ keyId }) => only === undefined || keyId === only);
    return {
      Aliases: shown.map(({ name, keyId }) => ({
        AliasName: name,
        AliasArn: `arn:aws:kms:${region}:${ACCOUNT}:${name}`,
        TargetKeyId: keyId,
      })),
      Truncated: false,
    };
  },
  Encrypt(call, input) {
    const key = forEncryption(call, input.KeyId, input.EncryptionContext);
    const blob = encryptBlob(key.id, key.material, input.Plaintext, input.EncryptionContext);
    return { CiphertextBlob: blob.toString('base64'), KeyId: key.arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
  },
  Decrypt(call, input) {
    const { key, plaintext } = open(call, input.CiphertextBlob, input.KeyId, input.EncryptionContext);
    return { Plaintext: plaintext.toString('base64'), KeyId: key.arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
  },
  ReEncrypt(call, input) {
    const source = open(call, input.CiphertextBlob, input.SourceKeyId, input.SourceEncryptionContext);
    const target = forEncryption(call, input.DestinationKeyId, input.DestinationEncryptionContext);
    const blob = encryptBlob(target.id, target.material, source.plaintext, input.DestinationEncryptionContext);
    return {
      CiphertextBlob: blob.toString('base64'),
      SourceKeyId: source.key.arn,
      KeyId: target.arn,
      SourceEncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
      DestinationEncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
    };
  },
  GenerateDataKey(call, input) {
    const { plaintext, output } = dataKey(call, input);
    return { ...output, Plaintext: plaintext.toString('base64') };
  },
  GenerateDataKeyWithoutPlaintext(call, input) {
    return dataKey(call, input).output;
  },
  GetPublicKey(call, input) {
    const key = named(call, input.KeyId);
    if (key.material.kind !== 'p256') {
      throw new KmsError('UnsupportedOperationException', `${key.arn} is a symmetric key`);
    }
    requireUsable(key);
    return {
      KeyId: key.arn,
      PublicKey: key.material.spki.toString('base64'),
      KeySpec: key.spec,
      CustomerMasterKeySpec: key.spec,
      KeyUsage: 'SIGN_VERIFY',
      SigningAlgorithms: ['ECDSA_SHA_256'],
    };
  },
  Sign(call, input) {
    const { key, material, digest } = forSignature(call, input);
    const signature = signDigest(material, digest);
    return { KeyId: key.arn, Signature: signature.toString('base64'), SigningAlgorithm: input.SigningAlgorithm };
  },
  Verify(call, input) {
    const { key, material, digest } = forSignature(call, input);
    if (!verifyDigest(material, digest, input.Signature)) throw new KmsError('KMSInvalidSignatureException', '');
    return { KeyId: key.arn, SignatureValid: true, SigningAlgorithm: input.SigningAlgorithm };
  },
};

function named(call: Call, name: string, context?: EncryptionContext): KmsKey {
  const key = call.keys.get(call.region, name);
  call.use(key, context);
  return key;
}

function forEncryption(call: Call, name: string, context: EncryptionContext): KmsKey {
  const key = named(call, name, context);
  requireUsable(key);
  requireUsage(key, 'symmetric');
  return key;
}

function forSignature(call: Call, input: Input<'Sign'>) {
  const key = named(call, input.KeyId);
  requireUsable(key);
  const material = requireUsage(key, 'p256');
  if (input.SigningAlgorithm !== 'ECDSA_SHA_256') {
    throw new KmsError(
      'InvalidKeyUsageException',
      `Algorithm ${input.SigningAlgorithm} is incompatible with key spec ${key.spec}.`,
    );
  }
  if (input.MessageType === 'DIGEST' && input.Message.length !== 32) {
    throw new KmsError('ValidationException', `Digest is invalid length for algorithm ${input.SigningAlgorithm}.`);
  }
  return { key, material, digest: input.MessageType === 'DIGEST' ? input.Message : sha256(input.Message) };
}

function requireUsage<K extends KeyMaterial['kind']>(key: KmsKey, kind: K): Extract<KeyMaterial, { kind: K }> {
  if (key.material.kind !== kind) {
    const usage = key.material.kind === 'symmetric' ? 'ENCRYPT_DECRYPT' : 'SIGN_VERIFY';
    throw new KmsError(
      'InvalidKeyUsageException',
      `${key.arn} key usage is ${usage} which is not valid for this call.`,
    );
  }
  return key.material as Extract<KeyMaterial, { kind: K }>;
}

/**
 * Decrypts with the key that the blob names, looked up in the region of the call. A given key id must name the same
 * key; a blob of a key unknown here is an AccessDeniedException, so that nobody learns which keys exist.
 */
function open(call: Call, blob: Buffer, name: string | undefined, context: EncryptionContext) {
  const wanted = name === undefined ? undefined : call.keys.get(call.region, name);
  const key = call.keys.find(call.region, keyIdOfBlob(blob));
  if (wanted !== undefined && wanted !== key) {
    call.use(wanted, context);
    throw new KmsError(
      'IncorrectKeyException',
      'The key ID in the request does not identify a CMK that can perform this operation.',
    );
  }
  if (key === undefined) {
    throw new KmsError(
      'AccessDeniedException',
      'The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.',
    );
  }
  call.use(key, context);
  requireUsable(key);
  return { key, plaintext: decryptBlob(key.material, blob, context) };
}

function dataKey(call: Call, input: Input<'GenerateDataKey'>) {
  if ((input.KeySpec === undefined) === (input.NumberOfBytes === undefined)) {
    throw new KmsError('ValidationException', 'Please specify either number of bytes or key spec.');
  }
  const key = forEncryption(call, input.KeyId, input.EncryptionContext);
  const plaintext = randomBytes(input.NumberOfBytes ?? (input.KeySpec === 'AES_128' ? 16 : 32));
  const blob = encryptBlob(key.id, key.material, plaintext, input.EncryptionContext);
  return { plaintext, output: { CiphertextBlob: blob.toString('base64'), KeyId: key.arn } };
}

function metadata(key: KmsKey, keys: KeyStore): Output {
  const symmetric = key.material.kind === 'symmetric';
  const family = key.multiRegion === undefined ? [] : keys.list().filter(({ id }) => id === key.id);
  const primary = family.find(({ multiRegion }) => multiRegion === 'PRIMARY');
  return {
    AWSAccountId: ACCOUNT,
    KeyId: key.id,
    Arn: key.arn,
    CreationDate: seconds(key.createdAt),
    Enabled: key.state === 'Enabled',
    Description: key.description,
    KeyUsage: symmetric ? 'ENCRYPT_DECRYPT' : 'SIGN_VERIFY',
    KeyState: key.state,
    ...(key.deletionAt === undefined ? {} : { DeletionDate: seconds(key.deletionAt) }),
    Origin: 'AWS_KMS',
    KeyManager: 'CUSTOMER',
    KeySpec: key.spec,
    CustomerMasterKeySpec: key.spec,
    ...(symmetric ? { EncryptionAlgorithms: ['SYMMETRIC_DEFAULT'] } : { SigningAlgorithms: ['ECDSA_SHA_256'] }),
    MultiRegion: key.multiRegion !== undefined,
    ...(key.multiRegion === undefined
      ? {}
      : {
          MultiRegionConfiguration: {
            MultiRegionKeyType: key.multiRegion,
            ...(primary === undefined ? {} : { PrimaryKey: { Arn: primary.arn, Region: primary.region } }),
            ReplicaKeys: family
              .filter(({ multiRegion }) => multiRegion === 'REPLICA')
              .map(({ arn, region }) => ({ Arn: arn, Region: region })),
          },
        }),
  };
}

/** AWS JSON 1.1 writes a time as seconds with a fraction. */
function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}
