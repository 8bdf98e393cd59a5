/** The parts of the schema about keys: AWS access, KMS keys, encryption, signing. */
import { z } from 'zod';
import { certificate, list, origin, reason, rule, secret, text, word } from './fields.ts';

/** Fixed AWS credentials; where they are absent the SDK's default chain is asked. */
export const awsCredentials = z
  .strictObject({
    accessKeyId: secret().describe('access key id'),
    secretAccessKey: secret().describe('secret access key'),
    sessionToken: secret().exactOptional().describe('session token of temporary credentials'),
  })
  .describe("fixed AWS credentials; default: the SDK's chain (environment, web identity, container, instance role)");

const ARN = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key\/[A-Za-z0-9-]+$/;

function keyArn() {
  return z.string().superRefine((value, context) => {
    if (ARN.test(value)) return;
    const isAlias = value.includes(':alias/') || value.startsWith('alias/');
    context.addIssue({
      code: 'custom',
      message: isAlias
        ? 'an alias can be moved to another key; write the full ARN that "aws kms describe-key --key-id <alias>" prints'
        : 'not the full ARN of a KMS key; write arn:aws:kms:<region>:<account>:key/<id>',
    });
  });
}

/** One AWS KMS key, by full ARN. `region` is that of the ARN unless given. */
export const kmsKey = z
  .strictObject({
    keyId: keyArn().describe('full ARN of the key; an alias is refused'),
    region: word().exactOptional().describe('AWS region; default: the region of the ARN'),
    endpoint: origin('a KMS endpoint')
      .exactOptional()
      .describe('endpoint other than that of AWS, such as https://host:port'),
    credentials: awsCredentials.exactOptional(),
    ca: certificate()
      .exactOptional()
      .describe('PEM certificates of the CA of the endpoint; default: those of the system'),
  })
  .transform((key) => ({ ...key, region: key.region ?? ARN.exec(key.keyId)?.[1] ?? '' }));

// Bech32 has no 1, b, i, o; the checksum is checked where it is used (crypt/recipients.ts).
const RECIPIENT = /^age1(?:pq1|tag1|tagpq1)?[02-9ac-hj-np-z]{20,}$/;

const recipient = () => text(RECIPIENT, 'an age recipient (age1… or age1pq1…)');

const encryptionFields = {
  kms: list(kmsKey, (key) => key.keyId).describe('KMS keys that wrap the identity of each snapshot'),
  breakGlass: list(recipient(), (ref) => ref.source).describe(
    'age recipients that open every snapshot without any KMS: inline, or file:/path with one a line',
  ),
  minKmsWraps: z.int().nonnegative().describe('a backup fails with fewer KMS wraps; 0 only with declineKms'),
  minBreakGlass: z
    .int()
    .nonnegative()
    .describe('a backup fails with fewer break-glass recipients; 0 only with declineBreakGlass'),
  declineKms: reason().exactOptional().describe('in words, why there is no KMS key that must hold'),
  declineBreakGlass: reason().exactOptional().describe('in words, why there is no break-glass recipient'),
  identities: list(secret(), (ref) => ref.source).describe(
    'break-glass identities, for restores where no KMS answers; never on a machine that makes backups',
  ),
};

/** The top-level block. */
export const encryption = z.strictObject({
  ...encryptionFields,
  kms: encryptionFields.kms.prefault([]),
  breakGlass: encryptionFields.breakGlass.prefault([]),
  minKmsWraps: encryptionFields.minKmsWraps.prefault(1),
  minBreakGlass: encryptionFields.minBreakGlass.prefault(1),
  identities: encryptionFields.identities.prefault([]),
});

/** A cluster's own block: each option given here replaces that of the top-level block, whole lists included. */
export const encryptionOverride = z.strictObject({
  ...encryptionFields,
  kms: encryptionFields.kms.exactOptional(),
  breakGlass: encryptionFields.breakGlass.exactOptional(),
  minKmsWraps: encryptionFields.minKmsWraps.exactOptional(),
  minBreakGlass: encryptionFields.minBreakGlass.exactOptional(),
  identities: encryptionFields.identities.exactOptional(),
});

export const signing = z
  .strictObject({
    key: secret().exactOptional().describe('PEM private key (ECDSA P-256) that signs manifests'),
    kms: kmsKey.exactOptional().describe('KMS key (ECC_NIST_P256, SIGN_VERIFY) that signs manifests, instead of `key`'),
    trusted: list(text(/^-----BEGIN PUBLIC KEY-----/, 'a PEM public key'), (ref) => ref.source)
      .prefault([])
      .describe('public keys whose signatures a restore accepts; default: the public half of `key` or `kms`'),
  })
  .check(
    rule(['key', 'kms', 'trusted'], (value, report) => {
      if (value.key !== undefined && value.kms !== undefined) {
        report(['kms'], 'two signing keys; keep either key or kms');
      }
      if (value.key === undefined && value.kms === undefined && value.trusted.length === 0) {
        report([], 'no signing key and nobody trusted; add key, kms or (to restore only) trusted');
      }
    }),
  );
