/** The part of the schema about destinations: where backups are stored. */
import { z } from 'zod';
import { certificate, duration, origin, path, rule, word } from './fields.ts';
import { awsCredentials } from './keys.ts';

const SLOW_CLASSES = ['GLACIER', 'DEEP_ARCHIVE'];

const sse = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('AES256').describe('SSE-S3') }),
  z.strictObject({
    type: z.literal('aws:kms').describe('SSE-KMS'),
    keyId: word().exactOptional().describe("KMS key of the bucket; default: the account's aws/s3 key"),
    bucketKey: z.boolean().prefault(true).describe('use an S3 Bucket Key: fewer calls to KMS'),
  }),
]);

const s3Destination = z.strictObject({
  type: z.literal('s3').describe('S3 or a compatible store'),
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, {
      error: 'not a bucket name; write 3 to 63 lower-case letters, digits, dots and dashes',
    })
    .describe('bucket name'),
  region: word().describe('AWS region; any word for stores that have none'),
  prefix: z
    .string()
    .regex(/^$|^[^/]+(?:\/[^/]+)*\/?$/, { error: 'begins with a slash or has two in a row; write backups/vault' })
    .transform((value) => value.replace(/\/$/, ''))
    .prefault('')
    .describe('put before every object key; comes without slashes at either end'),
  endpoint: origin('an S3 endpoint')
    .exactOptional()
    .describe('endpoint other than that of AWS, such as https://host:port'),
  forcePathStyle: z.boolean().prefault(false).describe('bucket in the path instead of the host name'),
  credentials: awsCredentials.exactOptional(),
  ca: certificate()
    .exactOptional()
    .describe('PEM certificates of the CA of the endpoint; default: those of the system'),
  checksum: z
    .enum(['sha256', 'crc32', 'none'])
    .prefault('sha256')
    .describe('what the store checks and keeps for every part; the manifest holds SHA-256 in any case'),
  conditionalWrites: z
    .boolean()
    .prefault(true)
    .describe('write with If-None-Match: the store itself refuses to overwrite; false only where it cannot'),
  objectLock: z
    .strictObject({
      mode: z.enum(['governance', 'compliance']).describe('compliance cannot be lifted by anyone'),
      keep: duration().exactOptional().describe('for how long an object cannot be deleted; this or `follow`'),
      follow: z
        .literal('retention')
        .exactOptional()
        .describe(
          'locks follow the retention of the cluster: an object is locked for as long as its generation is sure to be kept, and prune makes the lock last longer where the policy does',
        ),
      max: duration()
        .prefault('400d')
        .describe('with `follow`: no lock ends later than this from when it is set; nobody can take back a longer one'),
      slack: duration()
        .prefault('2d')
        .describe(
          'with `follow`: locks hold so much longer than the policy; write more than the time between two prunes',
        ),
    })
    .check(
      rule(['keep', 'follow', 'max', 'slack'], ({ keep, follow, max, slack }, report) => {
        if ((keep === undefined) === (follow === undefined)) {
          report([], 'says nothing of how long, or twice; write either keep: 30d or follow: retention');
        }
        if (slack > max) report(['slack'], 'longer than max; write less');
      }),
    )
    .exactOptional()
    .describe('Object Lock set on every object; the bucket must have it enabled'),
  sse: sse.exactOptional().describe('server-side encryption; default: what the bucket says'),
  storageClass: z
    .string()
    .regex(/^[A-Z0-9_]+$/, { error: 'not a storage class; write STANDARD, STANDARD_IA or GLACIER_IR' })
    .refine((value) => !SLOW_CLASSES.includes(value), {
      error: 'takes hours before it can be read; write STANDARD_IA or GLACIER_IR',
    })
    .exactOptional()
    .describe('storage class of the data objects; default: STANDARD'),
  tags: z
    .record(z.string().min(1).max(128), z.string().max(256))
    .refine((tags) => Object.keys(tags).length <= 10, { error: 'more than ten tags; S3 takes ten' })
    .prefault({})
    .describe('tags on every object, at most ten'),
});

const directoryDestination = z.strictObject({
  type: z.literal('directory').describe('a folder, such as a mounted file system'),
  path: path().describe("the folder; relative to the config file's"),
});

export const destination = z.discriminatedUnion('type', [s3Destination, directoryDestination]);
