/** Lifecycle rules of a bucket: what S3 itself clears away. They cannot know which copy is the last verified one. */
import { kindPrefix, LAYOUT_VERSION, type ObjectKind } from '../store/layout.ts';
import { type Bucket, inBucket } from './buckets.ts';
import type { Made } from './document.ts';

/** An upload that is older belongs to no living run. */
const UPLOAD_DAYS = 2;
/** How long what was deleted or replaced can be brought back. */
const NONCURRENT_DAYS = 30;
const MAX_ID = 255;

export type LifecycleRule = {
  ID: string;
  Status: 'Enabled';
  Filter: { Prefix: string };
  AbortIncompleteMultipartUpload?: { DaysAfterInitiation: number };
  NoncurrentVersionExpiration?: { NoncurrentDays: number };
  Expiration?: { Days: number } | { ExpiredObjectDeleteMarker: true };
};

/** As `aws s3api put-bucket-lifecycle-configuration --lifecycle-configuration` takes it. */
export type LifecycleConfiguration = { Rules: LifecycleRule[] };

/**
 * The rules for every destination in `bucket`: one lifecycle holds for all of it. `expireDays` also deletes the snapshots
 * themselves by their age: the manifest first, and the rest a day later, because S3 rounds each age to midnight, and a
 * manifest without its data would be a promise that nobody keeps.
 */
export function lifecycle(
  bucket: Bucket,
  { expireDays = null }: { expireDays?: number | null } = {},
): Made<LifecycleConfiguration> {
  const roots = new Set(bucket.uses.map(({ options }) => inBucket(options, `${LAYOUT_VERSION}/`)));
  const rules: LifecycleRule[] = [...roots].map((prefix) => ({
    ID: id('clear', prefix),
    Status: 'Enabled',
    Filter: { Prefix: prefix },
    AbortIncompleteMultipartUpload: { DaysAfterInitiation: UPLOAD_DAYS },
    NoncurrentVersionExpiration: { NoncurrentDays: NONCURRENT_DAYS },
    Expiration: { ExpiredObjectDeleteMarker: true },
  }));
  const cautions = [`it replaces every lifecycle rule of bucket ${bucket.bucket}: merge what others have put there`];
  if (expireDays !== null) {
    const aged = new Map<string, number>();
    for (const { options, clusters } of bucket.uses) {
      for (const cluster of clusters) {
        for (const [kind, days] of ages(expireDays)) aged.set(inBucket(options, kindPrefix(cluster, kind)), days);
      }
    }
    rules.push(
      ...[...aged].map(
        ([prefix, days]): LifecycleRule => ({
          ID: id('expire', prefix),
          Status: 'Enabled',
          Filter: { Prefix: prefix },
          Expiration: { Days: days },
        }),
      ),
    );
    cautions.push(
      `snapshots are deleted when they are ${expireDays} days old, whatever came after them: when backups fail that long, the last verified copy goes, too; strongroom prune never does that`,
    );
    cautions.push(...lockCautions(bucket, expireDays));
  }
  return { document: { Rules: rules }, cautions };
}

function ages(days: number): [ObjectKind, number][] {
  return [
    ['manifests', days],
    ['sigs', days + 1],
    ['data', days + 1],
    ['keys', days + 1],
  ];
}

function lockCautions({ uses }: Bucket, expireDays: number): string[] {
  return uses.flatMap(({ name, options }) => {
    const { keep, max } = options.objectLock ?? { keep: 0, max: 0 };
    const keepDays = (keep ?? max) / 86_400_000;
    return keepDays > expireDays
      ? [`destination ${name} locks for ${Math.ceil(keepDays)} days: until then what expires is hidden, not gone`]
      : [];
  });
}

function id(what: string, prefix: string): string {
  // The end of a long prefix tells more than its beginning.
  const head = `strongroom-${what}-`;
  return `${head}${prefix.replace(/\/$/, '').slice(head.length - MAX_ID)}`;
}
