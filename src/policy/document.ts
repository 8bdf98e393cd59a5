/** Policy documents as AWS reads them, and the ARNs in them. */

export type Condition = Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;

export type Statement = {
  Sid: string;
  Effect: 'Allow' | 'Deny';
  /** in bucket and key policies only */
  Principal?: '*' | { AWS: readonly string[] };
  Action: readonly string[];
  Resource: readonly string[];
  Condition?: Condition;
};

export type PolicyDocument = { Version: '2012-10-17'; Statement: readonly Statement[] };

/** What is printed: the document, and what whoever applies it has to know. */
export type Made<D> = { document: D; cautions: string[] };

/** The statements as one document. Sids that come twice get a number, because IAM refuses doubles. */
export function policyDocument(statements: readonly Statement[]): PolicyDocument {
  const taken = new Set<string>();
  const named = statements.map((statement) => {
    let sid = statement.Sid;
    for (let n = 2; taken.has(sid); n += 1) sid = `${statement.Sid}${n}`;
    taken.add(sid);
    const { Effect, Principal, Action, Resource, Condition } = statement;
    // In the order in which people read them.
    return {
      Sid: sid,
      Effect,
      ...(Principal === undefined ? {} : { Principal }),
      Action,
      Resource,
      ...(Condition === undefined ? {} : { Condition }),
    };
  });
  return { Version: '2012-10-17', Statement: named };
}

/** A Sid has letters and digits only: `Read` and `vault-backups` to `ReadVaultBackups`. */
export function sid(...words: readonly string[]): string {
  return words
    .flatMap((word) => word.split(/[^A-Za-z0-9]+/))
    .map((part) => `${part.charAt(0).toUpperCase()}${part.slice(1)}`)
    .join('');
}

const PARTITIONS: readonly (readonly [prefix: string, partition: string])[] = [
  ['cn-', 'aws-cn'],
  ['us-gov-', 'aws-us-gov'],
  ['us-iso-', 'aws-iso'],
  ['us-isob-', 'aws-iso-b'],
  ['eu-isoe-', 'aws-iso-e'],
  ['us-isof-', 'aws-iso-f'],
  ['eusc-', 'aws-eusc'],
];

/** The partition of a region; `aws` for all others, and for the word that a store without regions has in their place. */
export function partitionOf(region: string): string {
  return PARTITIONS.find(([prefix]) => region.startsWith(prefix))?.[1] ?? 'aws';
}

/** Bucket, or with `key` an object in it (or a pattern of them). */
export function s3Arn(region: string, bucket: string, key?: string): string {
  return `arn:${partitionOf(region)}:s3:::${bucket}${key === undefined ? '' : `/${key}`}`;
}
