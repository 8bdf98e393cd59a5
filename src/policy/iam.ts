/** Identity policies: what the login of one role may do in AWS for one cluster. */
import type { Config } from '../config/load.ts';
import type { ClusterName } from '../core/ids.ts';
import { bucketsOf } from './buckets.ts';
import { type Made, type PolicyDocument, policyDocument, type Statement, sid } from './document.ts';
import { type KeyUse, keyResource, keyRights, keyUses, sseKey } from './key-uses.ts';
import type { Role } from './roles.ts';
import { s3Statements } from './s3-rights.ts';

/** IAM counts the characters of a managed policy without white space. */
const MANAGED_POLICY_CHARACTERS = 6_144;

/**
 * The policy of `role` for `cluster`: its destinations on S3, its KMS keys, and nothing else. With `destination` only what
 * is about that one: for a destination that has credentials of its own.
 */
export function identityPolicy(
  config: Pick<Config, 'destinations' | 'clusters' | 'encryption' | 'signing'>,
  cluster: ClusterName,
  role: Role,
  { destination }: { destination?: string } = {},
): Made<PolicyDocument> {
  const places = bucketsOf(config)
    .flatMap(({ uses }) => uses)
    .filter(({ name, clusters }) => clusters.includes(cluster) && (destination === undefined || name === destination));
  const keys = keyUses(config, [cluster]).filter(
    (use) => destination === undefined || (use.kind === 'sse' && use.destination === destination),
  );
  const trustsOthers = config.signing.trusted.length > 0;
  const document = policyDocument([
    ...places.flatMap((place) => s3Statements(role, place, cluster)),
    ...keys.flatMap((use) => keyStatements(role, use, trustsOthers)),
  ]);
  const cautions: string[] = [];
  if (destination === undefined) {
    const apart = places.filter(({ options }) => options.credentials !== undefined || options.endpoint !== undefined);
    for (const { name } of apart) {
      cautions.push(
        `destination ${name} has credentials or an endpoint of its own: for its login alone, --destination ${name}`,
      );
    }
  }
  for (const { name, options } of places) {
    if (options.sse?.type === 'aws:kms' && sseKey(options) === null) {
      cautions.push(`destination ${name} encrypts with the key aws/s3, which no login of another account can use`);
    }
  }
  if (role === 'rewrap') {
    cautions.push(
      'a key that was taken out of the config is not here: add kms:Decrypt and kms:ReEncryptFrom on it until every snapshot is rewrapped',
    );
  }
  const partitions = new Set(document.Statement.flatMap(({ Resource }) => Resource.map((arn) => arn.split(':')[1])));
  if (partitions.size > 1) {
    cautions.push(
      `it names resources in ${[...partitions].join(' and ')}, and no login lives in two: split it by --destination`,
    );
  }
  const characters = JSON.stringify(document).length;
  if (characters > MANAGED_POLICY_CHARACTERS) {
    cautions.push(
      `${characters} characters, and a managed policy takes ${MANAGED_POLICY_CHARACTERS}: split it by --destination, or attach it inline to a role (10,240)`,
    );
  }
  return { document, cautions };
}

function keyStatements(role: Role, use: KeyUse, trustsOthers: boolean): Statement[] {
  const { resource, condition } = keyResource(use);
  return keyRights(role, use, { trustsOthers }).map((right) => {
    const conditions = { ...right.condition, ...condition };
    return {
      Sid: sid(right.what, use.destination ?? use.region),
      Effect: 'Allow',
      Action: right.actions,
      Resource: [resource],
      ...(Object.keys(conditions).length === 0 ? {} : { Condition: conditions }),
    };
  });
}
