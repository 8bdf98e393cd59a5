/** What the emulator accepts: the request shapes of AWS KMS, with the limits that AWS enforces. */
import { z } from 'zod';

const region = z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/);
const keyId = z.string().min(1).max(2048);
const context = z.record(z.string(), z.string()).default({});
const bytes = (min: number, max: number) =>
  z
    .base64()
    .transform((text) => Buffer.from(text, 'base64'))
    .refine((data) => data.length >= min && data.length <= max, `must be ${min} to ${max} bytes`);
// 6144 bytes is the longest CiphertextBlob that AWS takes; 4096 the longest plaintext and message.
const blob = bytes(1, 6144);
const algorithm = z.literal('SYMMETRIC_DEFAULT').optional();
const signingAlgorithm = z.enum([
  'RSASSA_PSS_SHA_256',
  'RSASSA_PSS_SHA_384',
  'RSASSA_PSS_SHA_512',
  'RSASSA_PKCS1_V1_5_SHA_256',
  'RSASSA_PKCS1_V1_5_SHA_384',
  'RSASSA_PKCS1_V1_5_SHA_512',
  'ECDSA_SHA_256',
  'ECDSA_SHA_384',
  'ECDSA_SHA_512',
]);
const sign = {
  KeyId: keyId,
  Message: bytes(1, 4096),
  MessageType: z.enum(['RAW', 'DIGEST']).default('RAW'),
  SigningAlgorithm: signingAlgorithm,
};
const dataKey = {
  KeyId: keyId,
  EncryptionContext: context,
  KeySpec: z.enum(['AES_256', 'AES_128']).optional(),
  NumberOfBytes: z.int().min(1).max(1024).optional(),
};
const onlyKey = z.object({ KeyId: keyId });

export const SCHEMAS = {
  CreateKey: z.object({
    KeySpec: z.enum(['SYMMETRIC_DEFAULT', 'ECC_NIST_P256']).optional(),
    CustomerMasterKeySpec: z.enum(['SYMMETRIC_DEFAULT', 'ECC_NIST_P256']).optional(),
    KeyUsage: z.enum(['ENCRYPT_DECRYPT', 'SIGN_VERIFY']).default('ENCRYPT_DECRYPT'),
    MultiRegion: z.boolean().default(false),
    Description: z.string().max(8192).default(''),
  }),
  ReplicateKey: z.object({ KeyId: keyId, ReplicaRegion: region }),
  DescribeKey: onlyKey,
  ListKeys: z.object({}),
  EnableKey: onlyKey,
  DisableKey: onlyKey,
  ScheduleKeyDeletion: z.object({ KeyId: keyId, PendingWindowInDays: z.int().min(7).max(30).default(30) }),
  CancelKeyDeletion: onlyKey,
  RotateKeyOnDemand: onlyKey,
  CreateAlias: z.object({ AliasName: z.string().min(1).max(256), TargetKeyId: keyId }),
  ListAliases: z.object({ KeyId: keyId.optional() }),
  Encrypt: z.object({
    KeyId: keyId,
    Plaintext: bytes(1, 4096),
    EncryptionContext: context,
    EncryptionAlgorithm: algorithm,
  }),
  Decrypt: z.object({
    CiphertextBlob: blob,
    KeyId: keyId.optional(),
    EncryptionContext: context,
    EncryptionAlgorithm: algorithm,
  }),
  ReEncrypt: z.object({
    CiphertextBlob: blob,
    SourceKeyId: keyId.optional(),
    SourceEncryptionContext: context,
    DestinationKeyId: keyId,
    DestinationEncryptionContext: context,
  }),
  GenerateDataKey: z.object(dataKey),
  GenerateDataKeyWithoutPlaintext: z.object(dataKey),
  GetPublicKey: onlyKey,
  Sign: z.object(sign),
  Verify: z.object({ ...sign, Signature: bytes(1, 6144) }),
} as const;

export type Operation = keyof typeof SCHEMAS;
export type Input<O extends Operation> = z.infer<(typeof SCHEMAS)[O]>;

export function isOperation(name: string): name is Operation {
  return Object.hasOwn(SCHEMAS, name);
}
