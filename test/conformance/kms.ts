/**
 * What we rely on in a KMS, as checks against its API: run over the emulator and over every other KMS at hand, so that
 * the emulator is held to something it did not write itself.
 */
import { createPublicKey, verify } from 'node:crypto';
import {
  CancelKeyDeletionCommand,
  CreateAliasCommand,
  CreateKeyCommand,
  type CreateKeyCommandInput,
  DecryptCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  GetPublicKeyCommand,
  type KMSClient,
  ReEncryptCommand,
  ReplicateKeyCommand,
  RotateKeyOnDemandCommand,
  ScheduleKeyDeletionCommand,
  SignCommand,
  VerifyCommand,
} from '@aws-sdk/client-kms';
import { expect } from 'vitest';
import { sha256 } from '../support/kms-crypto.ts';

export type KmsUnderTest = {
  /** a client of the region; the suite asks for two regions and never destroys it */
  client: (region: string) => KMSClient;
};

export type KmsCheck = { name: string; run: (kms: KmsUnderTest) => Promise<void> };

const HOME = 'eu-central-1';
const AWAY = 'eu-west-1';
const PLAIN = Buffer.from('the identity of one snapshot');
const CONTEXT = { cluster: 'prod', snapshot: '01J', format: '1' };

export const KMS_CHECKS: readonly KmsCheck[] = [
  check('decrypt returns what encrypt took, and names the key', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    const opened = await client.send(new DecryptCommand({ CiphertextBlob: blob, EncryptionContext: CONTEXT }));
    expect(Buffer.from(opened.Plaintext ?? [])).toEqual(PLAIN);
    expect(opened.KeyId).toBe(arn);
  }),
  check('the same plaintext gives another blob each time', async (kms) => {
    const { client, arn } = await newKey(kms);
    expect(await encrypt(client, arn)).not.toEqual(await encrypt(client, arn));
  }),
  check('the context is a set: its order does not matter', async (kms) => {
    const { client, arn } = await newKey(kms);
    const reversed = Object.fromEntries(Object.entries(CONTEXT).toReversed());
    expect(await decrypt(client, await encrypt(client, arn), reversed)).toEqual(PLAIN);
  }),
  check('another context does not decrypt', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await refused('InvalidCiphertextException', decrypt(client, blob, { ...CONTEXT, cluster: 'staging' }));
  }),
  check('a missing or a longer context does not decrypt', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await refused('InvalidCiphertextException', decrypt(client, blob, {}));
    await refused('InvalidCiphertextException', decrypt(client, blob, { ...CONTEXT, more: 'x' }));
  }),
  check('a flipped bit of the ciphertext is refused', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await refused('InvalidCiphertextException', decrypt(client, flipped(blob, blob.length - 1)));
    await refused('InvalidCiphertextException', decrypt(client, flipped(blob, blob.length - 20)));
  }),
  check('a flipped bit anywhere in the blob is refused as invalid ciphertext', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    for (let at = 0; at < blob.length; at += 7) {
      await refused('InvalidCiphertextException', decrypt(client, flipped(blob, at)));
    }
  }),
  check('a shortened blob is refused', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await refused('InvalidCiphertextException', decrypt(client, blob.subarray(0, blob.length - 1)));
  }),
  check('decrypt with the id of another key is refused', async (kms) => {
    const { client, arn } = await newKey(kms);
    const other = await newKey(kms);
    const blob = await encrypt(client, arn);
    await refused('IncorrectKeyException', decrypt(client, blob, CONTEXT, other.arn));
    expect(await decrypt(client, blob, CONTEXT, arn)).toEqual(PLAIN);
  }),
  check('4096 bytes are the longest plaintext', async (kms) => {
    const { client, arn } = await newKey(kms);
    const longest = Buffer.alloc(4096, 7);
    expect(await decrypt(client, await encrypt(client, arn, longest))).toEqual(longest);
    await refused('ValidationException', encrypt(client, arn, Buffer.alloc(4097)));
  }),
  check('an unknown key is not found', async (kms) => {
    const client = kms.client(HOME);
    const unknown = '12345678-1234-1234-1234-123456789012';
    await refused('NotFoundException', encrypt(client, unknown));
    await refused('NotFoundException', client.send(new DescribeKeyCommand({ KeyId: unknown })));
  }),
  check('re-encryption moves a blob to another key and context', async (kms) => {
    const { client, arn } = await newKey(kms);
    const target = await newKey(kms);
    const moved = await client.send(
      new ReEncryptCommand({
        CiphertextBlob: await encrypt(client, arn),
        SourceEncryptionContext: CONTEXT,
        DestinationKeyId: target.arn,
        DestinationEncryptionContext: { cluster: 'dr' },
      }),
    );
    expect(moved.SourceKeyId).toBe(arn);
    expect(moved.KeyId).toBe(target.arn);
    await client.send(new DisableKeyCommand({ KeyId: arn }));
    expect(await decrypt(client, bytes(moved.CiphertextBlob), { cluster: 'dr' })).toEqual(PLAIN);
  }),
  check('re-encryption with a named source key works', async (kms) => {
    const { client, arn } = await newKey(kms);
    const moved = await client.send(
      new ReEncryptCommand({
        CiphertextBlob: await encrypt(client, arn),
        SourceKeyId: arn,
        SourceEncryptionContext: CONTEXT,
        DestinationKeyId: arn,
        DestinationEncryptionContext: CONTEXT,
      }),
    );
    expect(await decrypt(client, bytes(moved.CiphertextBlob))).toEqual(PLAIN);
  }),
  check('re-encryption with a wrong source context is refused', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    const input = { CiphertextBlob: blob, SourceKeyId: arn, DestinationKeyId: arn };
    await refused('InvalidCiphertextException', client.send(new ReEncryptCommand(input)));
  }),
  check('a data key comes in clear and wrapped, and the wrap opens', async (kms) => {
    const { client, arn } = await newKey(kms);
    const made = await client.send(
      new GenerateDataKeyCommand({ KeyId: arn, KeySpec: 'AES_256', EncryptionContext: CONTEXT }),
    );
    expect(made.Plaintext?.length).toBe(32);
    expect(await decrypt(client, bytes(made.CiphertextBlob))).toEqual(bytes(made.Plaintext));
  }),
  check('a data key without plaintext comes only wrapped', async (kms) => {
    const { client, arn } = await newKey(kms);
    const made = await client.send(
      new GenerateDataKeyWithoutPlaintextCommand({ KeyId: arn, KeySpec: 'AES_256', EncryptionContext: CONTEXT }),
    );
    expect(made).not.toHaveProperty('Plaintext');
    expect((await decrypt(client, bytes(made.CiphertextBlob))).length).toBe(32);
  }),
  check('describe tells each state', async (kms) => {
    const { client, arn } = await newKey(kms);
    const state = async () => (await client.send(new DescribeKeyCommand({ KeyId: arn }))).KeyMetadata;
    expect(await state()).toMatchObject({ Arn: arn, KeyState: 'Enabled', Enabled: true, KeySpec: 'SYMMETRIC_DEFAULT' });
    await client.send(new DisableKeyCommand({ KeyId: arn }));
    expect(await state()).toMatchObject({ KeyState: 'Disabled', Enabled: false });
    await client.send(new ScheduleKeyDeletionCommand({ KeyId: arn, PendingWindowInDays: 7 }));
    const pending = await state();
    expect(pending).toMatchObject({ KeyState: 'PendingDeletion', Enabled: false });
    const days = ((pending?.DeletionDate?.getTime() ?? 0) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(6.9);
    expect(days).toBeLessThan(7.1);
  }),
  check('a disabled key neither encrypts nor decrypts', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await client.send(new DisableKeyCommand({ KeyId: arn }));
    await refused('DisabledException', encrypt(client, arn));
    await refused('DisabledException', decrypt(client, blob));
    await refused('DisabledException', client.send(new GenerateDataKeyCommand({ KeyId: arn, KeySpec: 'AES_256' })));
  }),
  check('enabling brings old blobs back', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await client.send(new DisableKeyCommand({ KeyId: arn }));
    await client.send(new EnableKeyCommand({ KeyId: arn }));
    expect(await decrypt(client, blob)).toEqual(PLAIN);
  }),
  check('a key pending deletion is of no use, and cannot be enabled', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await client.send(new ScheduleKeyDeletionCommand({ KeyId: arn, PendingWindowInDays: 7 }));
    await refused('KMSInvalidStateException', encrypt(client, arn));
    await refused('KMSInvalidStateException', decrypt(client, blob));
    await refused('KMSInvalidStateException', client.send(new EnableKeyCommand({ KeyId: arn })));
  }),
  check('a cancelled deletion leaves the key disabled', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await client.send(new ScheduleKeyDeletionCommand({ KeyId: arn, PendingWindowInDays: 7 }));
    await client.send(new CancelKeyDeletionCommand({ KeyId: arn }));
    await refused('DisabledException', decrypt(client, blob));
    await client.send(new EnableKeyCommand({ KeyId: arn }));
    expect(await decrypt(client, blob)).toEqual(PLAIN);
  }),
  check('a deletion that is not scheduled cannot be cancelled', async (kms) => {
    const { client, arn } = await newKey(kms);
    await refused('KMSInvalidStateException', client.send(new CancelKeyDeletionCommand({ KeyId: arn })));
  }),
  check('a key cannot be deleted in less than 7 days', async (kms) => {
    const { client, arn } = await newKey(kms);
    const hasty = client.send(new ScheduleKeyDeletionCommand({ KeyId: arn, PendingWindowInDays: 1 }));
    await refused('ValidationException', hasty);
  }),
  check('after a rotation old and new blobs decrypt', async (kms) => {
    const { client, arn } = await newKey(kms);
    const old = await encrypt(client, arn);
    await client.send(new RotateKeyOnDemandCommand({ KeyId: arn }));
    expect(await decrypt(client, old)).toEqual(PLAIN);
    expect(await decrypt(client, await encrypt(client, arn))).toEqual(PLAIN);
  }),
  check('the replica of a multi-Region key decrypts what the primary encrypted', async (kms) => {
    const { client, arn } = await newKey(kms, { MultiRegion: true });
    const { ReplicaKeyMetadata } = await client.send(new ReplicateKeyCommand({ KeyId: arn, ReplicaRegion: AWAY }));
    expect(ReplicaKeyMetadata?.Arn).toBe(arn.replace(HOME, AWAY));
    const opened = await kms
      .client(AWAY)
      .send(new DecryptCommand({ CiphertextBlob: await encrypt(client, arn), EncryptionContext: CONTEXT }));
    expect(Buffer.from(opened.Plaintext ?? [])).toEqual(PLAIN);
    expect(opened.KeyId).toBe(ReplicaKeyMetadata?.Arn);
  }),
  check('primary and replica are disabled one by one', async (kms) => {
    const { client, arn } = await newKey(kms, { MultiRegion: true });
    await client.send(new ReplicateKeyCommand({ KeyId: arn, ReplicaRegion: AWAY }));
    const blob = await encrypt(client, arn);
    await client.send(new DisableKeyCommand({ KeyId: arn }));
    await refused('DisabledException', decrypt(client, blob));
    expect(await decrypt(kms.client(AWAY), blob)).toEqual(PLAIN);
  }),
  check('a key is in its own region only', async (kms) => {
    const { arn } = await newKey(kms);
    const id = arn.replace(/^.*\//, '');
    await refused('NotFoundException', kms.client(AWAY).send(new DescribeKeyCommand({ KeyId: id })));
  }),
  check('a blob of a key that is not in this region is refused without saying more', async (kms) => {
    const { client, arn } = await newKey(kms);
    const blob = await encrypt(client, arn);
    await refused('AccessDeniedException', decrypt(kms.client(AWAY), blob));
  }),
  check('an alias stands for its key', async (kms) => {
    const { client, arn } = await newKey(kms);
    const alias = `alias/${arn.slice(-12)}`;
    await client.send(new CreateAliasCommand({ AliasName: alias, TargetKeyId: arn }));
    const described = await client.send(new DescribeKeyCommand({ KeyId: alias }));
    expect(described.KeyMetadata?.Arn).toBe(arn);
    expect(await decrypt(client, await encrypt(client, alias), CONTEXT, alias)).toEqual(PLAIN);
    await refused('NotFoundException', encrypt(client, `${alias}-none`));
  }),
  check('a signature verifies with the public key alone', async (kms) => {
    const { client, arn } = await newKey(kms, SIGNING);
    const { Signature } = await client.send(new SignCommand(signing(arn)));
    const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: arn }));
    const key = createPublicKey({ key: bytes(PublicKey), format: 'der', type: 'spki' });
    expect(verify('sha256', PLAIN, key, bytes(Signature))).toBe(true);
    expect(verify('sha256', Buffer.from('other'), key, bytes(Signature))).toBe(false);
  }),
  check('a signed digest is a signature of the message', async (kms) => {
    const { client, arn } = await newKey(kms, SIGNING);
    const digest = { Message: sha256(PLAIN), MessageType: 'DIGEST' as const };
    const { Signature } = await client.send(new SignCommand({ ...signing(arn), ...digest }));
    const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: arn }));
    const key = createPublicKey({ key: bytes(PublicKey), format: 'der', type: 'spki' });
    expect(verify('sha256', PLAIN, key, bytes(Signature))).toBe(true);
    const raw = await client.send(new VerifyCommand({ ...signing(arn), Signature }));
    expect(raw.SignatureValid).toBe(true);
  }),
  check('a digest must have the length of its algorithm', async (kms) => {
    const { client, arn } = await newKey(kms, SIGNING);
    const short = client.send(new SignCommand({ ...signing(arn), MessageType: 'DIGEST' }));
    await refused('ValidationException', short);
  }),
  check('a changed message or signature does not verify', async (kms) => {
    const { client, arn } = await newKey(kms, SIGNING);
    const signature = bytes((await client.send(new SignCommand(signing(arn)))).Signature);
    const good = { ...signing(arn), Signature: signature };
    await refused(
      'KMSInvalidSignatureException',
      client.send(new VerifyCommand({ ...good, Message: Buffer.from('other') })),
    );
    const changed = flipped(signature, signature.length - 1);
    await refused('KMSInvalidSignatureException', client.send(new VerifyCommand({ ...good, Signature: changed })));
  }),
  check('a key is for encryption or for signatures, not for both', async (kms) => {
    const symmetric = await newKey(kms);
    const { client, arn } = await newKey(kms, SIGNING);
    await refused('InvalidKeyUsageException', encrypt(client, arn));
    await refused('InvalidKeyUsageException', client.send(new SignCommand(signing(symmetric.arn))));
  }),
  check('a symmetric key has no public half', async (kms) => {
    const { client, arn } = await newKey(kms);
    await refused('UnsupportedOperationException', client.send(new GetPublicKeyCommand({ KeyId: arn })));
  }),
  check('a disabled key neither signs nor verifies', async (kms) => {
    const { client, arn } = await newKey(kms, SIGNING);
    const { Signature } = await client.send(new SignCommand(signing(arn)));
    await client.send(new DisableKeyCommand({ KeyId: arn }));
    await refused('DisabledException', client.send(new SignCommand(signing(arn))));
    await refused('DisabledException', client.send(new VerifyCommand({ ...signing(arn), Signature })));
  }),
  check('P-256 signs with SHA-256 only', async (kms) => {
    const { client, arn } = await newKey(kms, SIGNING);
    const other = client.send(new SignCommand({ ...signing(arn), SigningAlgorithm: 'ECDSA_SHA_384' }));
    await refused('InvalidKeyUsageException', other);
  }),
];

const SIGNING = { KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' } as const;

function check(name: string, run: KmsCheck['run']): KmsCheck {
  return { name, run };
}

async function newKey(kms: KmsUnderTest, options: CreateKeyCommandInput = {}) {
  const client = kms.client(HOME);
  const { KeyMetadata } = await client.send(new CreateKeyCommand(options));
  if (KeyMetadata?.Arn === undefined) throw new TypeError('the new key has no ARN');
  return { client, arn: KeyMetadata.Arn };
}

async function encrypt(client: KMSClient, key: string, plaintext: Uint8Array = PLAIN): Promise<Buffer> {
  const input = { KeyId: key, Plaintext: plaintext, EncryptionContext: CONTEXT };
  return bytes((await client.send(new EncryptCommand(input))).CiphertextBlob);
}

async function decrypt(
  client: KMSClient,
  blob: Uint8Array,
  context: Record<string, string> = CONTEXT,
  key?: string,
): Promise<Buffer> {
  const input = { CiphertextBlob: blob, EncryptionContext: context, ...(key === undefined ? {} : { KeyId: key }) };
  return bytes((await client.send(new DecryptCommand(input))).Plaintext);
}

function signing(key: string) {
  return { KeyId: key, Message: PLAIN, MessageType: 'RAW', SigningAlgorithm: 'ECDSA_SHA_256' } as const;
}

function bytes(data: Uint8Array | undefined): Buffer {
  if (data === undefined) throw new TypeError('the response lacks its bytes');
  return Buffer.from(data);
}

function flipped(data: Buffer, at: number): Buffer {
  const copy = Buffer.from(data);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

async function refused(name: string, call: Promise<unknown>): Promise<void> {
  const outcome = await call.then(
    () => 'success',
    (e: unknown) => (e instanceof Error ? e.name : String(e)),
  );
  expect(outcome).toBe(name);
}
