/** The policy of one KMS key: who may wrap, open, sign or probe with it, bound to the clusters it is for. */
import type { Config } from '../config/load.ts';
import { type Made, type PolicyDocument, policyDocument, type Statement, sid } from './document.ts';
import { type KeyKind, type KeyUse, keyRights, keyUses } from './key-uses.ts';
import { type Principals, ROLES } from './roles.ts';

/** All that is done to a key, and nothing that is done with it. As AWS's own default for administrators. */
const ADMINISTRATION = [
  'kms:Create*',
  'kms:Describe*',
  'kms:Enable*',
  'kms:List*',
  'kms:Put*',
  'kms:Update*',
  'kms:Revoke*',
  'kms:Disable*',
  'kms:Get*',
  'kms:Delete*',
  'kms:TagResource',
  'kms:UntagResource',
  'kms:ScheduleKeyDeletion',
  'kms:CancelKeyDeletion',
] as const;

/** Keys that belong to strongroom alone. Of the others somebody else lives, first of all the cluster itself. */
const OWN: readonly KeyKind[] = ['wrap', 'sign'];

export type PolicyKey = { arn: string; uses: KeyUse[] };

/** Every key that the config names by its full ARN: one named otherwise has no place to put a policy. */
export function policyKeys(config: Pick<Config, 'destinations' | 'clusters' | 'encryption' | 'signing'>): PolicyKey[] {
  const keys: PolicyKey[] = [];
  for (const use of keyUses(config)) {
    if (!/^arn:.*:key\//.test(use.keyId)) continue;
    const known = keys.find(({ arn }) => arn === use.keyId);
    if (known === undefined) keys.push({ arn: use.keyId, uses: [use] });
    else known.uses.push(use);
  }
  return keys;
}

/**
 * The statements for one key. Without any principal the IAM of the key's account decides, where `strongroom policy iam` is
 * attached; with some, nobody else may use it. The key of a seal and of a bucket gets additions only: no statement that lets
 * anybody administer it, so that AWS refuses this document in place of the policy that is there.
 */
export function keyPolicy(
  { arn, uses }: PolicyKey,
  principals: Principals,
  { signing }: Pick<Config, 'signing'>,
): Made<PolicyDocument> {
  const [, partition = 'aws', , , account = ''] = arn.split(':');
  const root = { AWS: [`arn:${partition}:iam::${account}:root`] };
  const isOwn = uses.every(({ kind }) => OWN.includes(kind));
  const trustsOthers = signing.trusted.length > 0;
  const isNamed = Object.keys(principals).length > 0;
  const admin: Statement = {
    Sid: 'Administer',
    Effect: 'Allow',
    Principal: root,
    Action: ADMINISTRATION,
    Resource: ['*'],
  };
  const rights = uses.flatMap((use) =>
    ROLES.filter((role) => !isNamed || principals[role] !== undefined).flatMap((role) =>
      keyRights(role, use, { trustsOthers }).map(
        ({ what, actions, condition }): Statement => ({
          Sid: sid(role, what, use.destination ?? ''),
          Effect: 'Allow',
          Principal: isNamed ? { AWS: principals[role] ?? [] } : root,
          Action: actions,
          Resource: ['*'],
          ...(condition === undefined ? {} : { Condition: condition }),
        }),
      ),
    ),
  );
  const cautions = isOwn ? [] : [additionsOnly(arn, uses)];
  if (!isNamed) {
    cautions.push(
      'nobody is named, so the IAM of the account decides who does this: attach strongroom policy iam there, or name roles with --grant backup=<arn>',
    );
  } else if (uses.some(({ kind }) => kind === 'wrap') && principals.restore === undefined) {
    cautions.push('restore is not named, so nobody can restore with this key: add --grant restore=<arn>');
  }
  return { document: policyDocument([...(isOwn ? [admin] : []), ...rights]), cautions };
}

function additionsOnly(arn: string, uses: readonly KeyUse[]): string {
  const isSeal = uses.some(({ kind }) => kind === 'seal');
  return isSeal
    ? `${arn} unseals the cluster: add these statements to its policy and never replace it, or no node opens again`
    : `${arn} is also for others: add these statements to its policy, do not replace it`;
}
