/** The policy of one bucket: what holds for everybody, and what each named role may do and never may. */

import type { ClusterName } from '../core/ids.ts';
import { kindPrefix, latestKey, README_KEY } from '../store/layout.ts';
import { type Bucket, type BucketUse, inBucket } from './buckets.ts';
import { type Made, type PolicyDocument, policyDocument, type Statement, s3Arn, sid } from './document.ts';
import { type Principals, ROLES } from './roles.ts';
import { s3Statements } from './s3-rights.ts';

/** In place of a name: the rule holds for every cluster, those of other configs, too. */
const ANY_CLUSTER = '*' as ClusterName;

/** What takes a snapshot away, or the reason why it cannot be taken away. */
const DESTRUCTIVE = {
  objects: ['s3:DeleteObject', 's3:DeleteObjectVersion', 's3:BypassGovernanceRetention'],
  bucket: [
    's3:DeleteBucket',
    's3:PutBucketPolicy',
    's3:DeleteBucketPolicy',
    's3:PutBucketVersioning',
    's3:PutBucketObjectLockConfiguration',
    's3:PutLifecycleConfiguration',
  ],
} as const;

/**
 * The policy of `bucket`. Without principals it only forbids, and grants nobody anything. `writeOnce: false` leaves out
 * the conditions on If-None-Match and If-Match, for stores whose policies do not know them.
 */
export function bucketPolicy(
  bucket: Bucket,
  principals: Principals,
  { writeOnce }: { writeOnce: boolean },
): Made<PolicyDocument> {
  const cautions = [`it replaces the whole policy of bucket ${bucket.bucket}: merge what others have put there`];
  const isPlain = bucket.endpoint?.startsWith('http:') === true;
  if (isPlain) {
    cautions.push(
      `${bucket.endpoint} is without TLS, so the rule that demands it is left out: it would shut strongroom out`,
    );
  }
  const unconditional = bucket.uses.filter(({ options }) => !options.conditionalWrites);
  if (writeOnce && unconditional.length > 0) {
    const names = unconditional.map(({ name }) => name).join(' and ');
    cautions.push(`${names} has conditionalWrites: false, so nothing here stops an overwrite`);
  }
  if (Object.keys(principals).length === 0) {
    cautions.push(
      'nobody is named, so nobody is kept from deleting: --grant backup=<arn of its role> forbids it, whatever else that role is given',
    );
  }
  const both = (principals.prune ?? []).filter((one) =>
    ROLES.some((role) => role !== 'prune' && principals[role]?.includes(one)),
  );
  if (both.length > 0) {
    cautions.push(
      `${both.join(' and ')} prunes and does other things, so whoever takes that login over can delete: give prune its own`,
    );
  }
  const document = policyDocument([
    ...(isPlain ? [] : [denyPlain(bucket)]),
    ...bucket.uses.flatMap((use) => (writeOnce && use.options.conditionalWrites ? denyOverwrites(use) : [])),
    ...ROLES.flatMap((role) => {
      const named = principals[role] ?? [];
      if (named.length === 0) return [];
      const allowed = bucket.uses.flatMap((use) => use.clusters.flatMap((cluster) => s3Statements(role, use, cluster)));
      return allowed.map((statement) => ({
        ...statement,
        Sid: sid(role, statement.Sid),
        Principal: { AWS: named },
      }));
    }),
    ...denyDestruction(bucket, principals),
  ]);
  return { document, cautions };
}

function denyPlain({ region, bucket }: Bucket): Statement {
  return {
    Sid: 'DenyWithoutTls',
    Effect: 'Deny',
    Principal: '*',
    Action: ['s3:*'],
    Resource: [s3Arn(region, bucket), s3Arn(region, bucket, '*')],
    Condition: { Bool: { 'aws:SecureTransport': 'false' } },
  };
}

/**
 * A copy, its signature, its manifest and the README are written once. The sidecar changes with a rewrap, the latest
 * pointer and the lease with every run: those name the version that they replace.
 */
function denyOverwrites({ name, options }: BucketUse): Statement[] {
  const { region, bucket } = options;
  const arns = (keys: readonly string[]): string[] => keys.map((key) => s3Arn(region, bucket, inBucket(options, key)));
  const once = (['data', 'sigs', 'manifests'] as const).map((kind) => `${kindPrefix(ANY_CLUSTER, kind)}*`);
  const replaced = [
    `${kindPrefix(ANY_CLUSTER, 'keys')}*`,
    latestKey(ANY_CLUSTER),
    latestKey(ANY_CLUSTER).replace(/latest\.json$/, 'lease.json'),
  ];
  // The beginning of an upload and its parts carry no condition; what makes the object does.
  const creates = { Bool: { 's3:ObjectCreationOperation': 'true' } };
  const deny = { Effect: 'Deny', Principal: '*', Action: ['s3:PutObject'] } as const;
  return [
    {
      ...deny,
      Sid: sid('DenyOverwrite', name),
      Resource: arns([...once, README_KEY]),
      Condition: { Null: { 's3:if-none-match': 'true' }, ...creates },
    },
    {
      ...deny,
      Sid: sid('DenyBlindReplace', name),
      Resource: arns(replaced),
      Condition: { Null: { 's3:if-none-match': 'true', 's3:if-match': 'true' }, ...creates },
    },
  ];
}

/** Explicit, so that no other policy of theirs can give it back. */
function denyDestruction({ region, bucket }: Bucket, principals: Principals): Statement[] {
  const pruners = principals.prune ?? [];
  const all = [...new Set(ROLES.flatMap((role) => principals[role] ?? []))];
  const others = all.filter((principal) => !pruners.includes(principal));
  const deny = (what: string, who: readonly string[], actions: readonly string[], key?: string): Statement[] =>
    who.length === 0
      ? []
      : [
          {
            Sid: what,
            Effect: 'Deny',
            Principal: { AWS: who },
            Action: actions,
            Resource: [s3Arn(region, bucket, key)],
          },
        ];
  return [
    ...deny('DenyDelete', others, DESTRUCTIVE.objects, '*'),
    ...deny('DenyUnlock', pruners, ['s3:BypassGovernanceRetention'], '*'),
    ...deny('DenyRules', all, DESTRUCTIVE.bucket),
  ];
}
