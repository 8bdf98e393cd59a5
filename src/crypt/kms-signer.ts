/** A signer whose private key never leaves KMS. */
import { createHash, createPublicKey } from 'node:crypto';
import { GetPublicKeyCommand, type KMSClient, SignCommand } from '@aws-sdk/client-kms';
import { StrongroomError } from '../core/errors.ts';
import { parseKeyArn } from './kms-arn.ts';
import { KMS_DEADLINE_MS, kmsCall } from './kms-call.ts';
import { message } from './kms-errors.ts';
import { exportPem, isP256, type Signer } from './sign.ts';

/**
 * Signs with an `ECC_NIST_P256` key of KMS, `keyId` a full ARN. Needs kms:Sign; kms:GetPublicKey only for `publicKeyPem`.
 * Only the SHA-256 of the bytes is sent, so their size does not matter. Errors as those of `KmsKey`. The client stays the
 * caller's.
 */
export function kmsSigner(options: { client: KMSClient; keyId: string; deadlineMs?: number }): Signer {
  const { client, keyId } = options;
  const { region } = parseKeyArn(keyId);
  const deadlineMs = options.deadlineMs ?? KMS_DEADLINE_MS;
  return {
    keyId,
    alg: 'ECDSA_P256_SHA256',
    async sign(bytes, signal) {
      const call = { operation: 'kms:Sign', keyId, region };
      const digest = createHash('sha256').update(bytes).digest();
      const answer = await kmsCall(call, signal, deadlineMs, (sending) =>
        client.send(
          new SignCommand({ KeyId: keyId, Message: digest, MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' }),
          sending,
        ),
      );
      if (answer.Signature === undefined || answer.Signature.byteLength === 0) {
        throw new StrongroomError('E_KEY_UNAVAILABLE', message(call, 'the answer has no signature'));
      }
      return answer.Signature;
    },
    async publicKeyPem(signal) {
      const call = { operation: 'kms:GetPublicKey', keyId, region };
      const answer = await kmsCall(call, signal, deadlineMs, (sending) =>
        client.send(new GetPublicKeyCommand({ KeyId: keyId }), sending),
      );
      const der = Buffer.from(answer.PublicKey ?? []);
      const key = der.byteLength === 0 ? null : createPublicKey({ key: der, format: 'der', type: 'spki' });
      if (key === null || !isP256(key)) {
        throw new StrongroomError(
          'E_KEY_REFUSED',
          message(call, `it is ${answer.KeySpec ?? 'no key'}, not ECC_NIST_P256`),
          {
            hint: 'aws kms create-key --key-usage SIGN_VERIFY --key-spec ECC_NIST_P256',
          },
        );
      }
      return exportPem(key);
    },
  };
}
