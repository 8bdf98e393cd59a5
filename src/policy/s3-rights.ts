/** What a role does in one destination, as statements without a principal: for identities and for bucket policies alike. */
import type { ClusterName } from '../core/ids.ts';
import { kindPrefix, LAYOUT_VERSION, README_KEY } from '../store/layout.ts';
import { inBucket, type S3Destination } from './buckets.ts';
import { type Condition, type Statement, s3Arn, sid } from './document.ts';
import { makesSnapshots, type Role } from './roles.ts';

type Place = { name: string; options: S3Destination };

/** Everything of one cluster: `v1/<cluster>/<below>`. */
function clusterPattern(cluster: ClusterName, below = '*'): string {
  return `${LAYOUT_VERSION}/${cluster}/${below}`;
}

/**
 * The Allow statements of `role` for the objects of `cluster` in one destination. Nobody but `prune` may delete: what a
 * failed run leaves has no manifest, is never believed, and is for prune to remove.
 */
export function s3Statements(role: Role, { name, options }: Place, cluster: ClusterName): Statement[] {
  const { bucket, region } = options;
  const allow = (what: string, actions: readonly string[], keys: readonly string[] | null, condition?: Condition) => ({
    Sid: sid(what, name),
    Effect: 'Allow' as const,
    Action: actions,
    Resource:
      keys === null ? [s3Arn(region, bucket)] : keys.map((key) => s3Arn(region, bucket, inBucket(options, key))),
    ...(condition === undefined ? {} : { Condition: condition }),
  });
  const all = clusterPattern(cluster);
  // The README is everybody's: whoever makes the first snapshot writes it.
  const keys = makesSnapshots(role) ? [all, README_KEY] : [all];
  const onBucket = bucketActions(role, options);
  return [
    // Also asked when a key is not there: without it S3 says "forbidden" in place of "not found".
    allow('List', listActions(role), null, {
      StringLike: { 's3:prefix': keys.map((key) => inBucket(options, key)) },
    }),
    // These know no prefix.
    ...(onBucket.length === 0 ? [] : [allow('Bucket', onBucket, null)]),
    allow('Read', readActions(role, options), keys),
    ...writes(role, options, cluster).map(({ actions, keys: written }) => allow('Write', actions, written)),
    ...(makesSnapshots(role) || role === 'prune' ? [allow('EndUploads', ['s3:AbortMultipartUpload'], [all])] : []),
    ...(role === 'prune' ? [allow('Delete', ['s3:DeleteObject', 's3:DeleteObjectVersion'], [all])] : []),
  ];
}

function listActions(role: Role): string[] {
  // What a delete marker hides takes room, too.
  return role === 'prune' ? ['s3:ListBucket', 's3:ListBucketVersions'] : ['s3:ListBucket'];
}

function bucketActions(role: Role, { objectLock }: S3Destination): string[] {
  const sweeps = makesSnapshots(role) || role === 'prune';
  return [
    ...(sweeps ? ['s3:ListBucketMultipartUploads'] : []),
    ...(makesSnapshots(role) && objectLock !== undefined ? ['s3:GetBucketObjectLockConfiguration'] : []),
  ];
}

/** Every HEAD counts as a read, and after a write it names the version. */
function readActions(role: Role, { objectLock }: S3Destination): string[] {
  // S3 shows the lock of an object only to those who may read it: unseen, it would count as not set.
  const seesLocks = objectLock !== undefined && (makesSnapshots(role) || role === 'prune');
  // A legal hold that is not seen is found by a delete that is refused, when the manifest may be gone already.
  const seesHolds = seesLocks && role === 'prune';
  return [
    's3:GetObject',
    's3:GetObjectVersion',
    ...(seesLocks ? ['s3:GetObjectRetention'] : []),
    ...(seesHolds ? ['s3:GetObjectLegalHold'] : []),
  ];
}

function writes(
  role: Role,
  { objectLock, tags }: S3Destination,
  cluster: ClusterName,
): { actions: string[]; keys: string[] }[] {
  const put = ['s3:PutObject', ...(Object.keys(tags).length === 0 ? [] : ['s3:PutObjectTagging'])];
  const lock = objectLock === undefined ? [] : ['s3:PutObjectRetention'];
  switch (role) {
    case 'backup':
    case 'restore':
      return [{ actions: [...put, ...lock], keys: [clusterPattern(cluster), README_KEY] }];
    case 'rewrap':
      return [{ actions: put, keys: [`${kindPrefix(cluster, 'keys')}*`] }];
    case 'prune':
      return [
        // Who is at work, what is removed, what is found bad, and how the run ended.
        {
          actions: put,
          keys: ['lease.json', 'prunes/*', 'marks/*', 'runs/*'].map((below) => clusterPattern(cluster, below)),
        },
        // Where the policy has grown a lock is extended; that needs no right to write.
        ...(lock.length === 0 ? [] : [{ actions: lock, keys: [clusterPattern(cluster)] }]),
      ];
    case 'verify':
    case 'serve':
      return [];
  }
}
