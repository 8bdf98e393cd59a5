/** The KMS keys of a config, what each is for, and what a role does with it. */
import type { Config } from '../config/load.ts';
import type { EncryptionConfig } from '../config/schema.ts';
import type { ClusterName } from '../core/ids.ts';
import { parseClusterName } from '../core/ids.ts';
import { bucketsOf, type S3Destination } from './buckets.ts';
import { type Condition, partitionOf } from './document.ts';
import { makesSnapshots, type Role } from './roles.ts';

/** The encryption context of the probe: `snapshot` in place of an id, so that it opens nothing and is known in logs. */
const SEAL_PROBE = 'seal-probe';

/**
 * `wrap`: wraps the identities of snapshots; `sign`: signs manifests; `seal`: unseals the cluster, and is only tried;
 * `sse`: S3 encrypts the bucket with it.
 */
export type KeyKind = 'wrap' | 'sign' | 'seal' | 'sse';

export type KeyUse = {
  kind: KeyKind;
  /** what stands in the config: a full ARN, or for `sse` also a bare id or an alias */
  keyId: string;
  region: string;
  clusters: ClusterName[];
  /** the destination of an `sse` key */
  destination: string | null;
};

type PolicyConfig = Pick<Config, 'destinations' | 'clusters' | 'encryption' | 'signing'>;

/** Every use of every key by `clusters` (default: all), in the order of the config. */
export function keyUses(config: PolicyConfig, clusters: readonly string[] = Object.keys(config.clusters)): KeyUse[] {
  const uses: KeyUse[] = [];
  const add = (kind: KeyKind, keyId: string, region: string, cluster: ClusterName, destination?: string): void => {
    const known = uses.find(
      (use) => use.kind === kind && use.keyId === keyId && use.destination === (destination ?? null),
    );
    if (known === undefined) {
      uses.push({ kind, keyId, region, clusters: [cluster], destination: destination ?? null });
    } else known.clusters.push(cluster);
  };
  for (const name of clusters) {
    const options = config.clusters[name];
    if (options === undefined) continue;
    const cluster = parseClusterName(name);
    const encryption: EncryptionConfig = { ...config.encryption, ...options.encryption };
    for (const key of encryption.kms) add('wrap', key.keyId, key.region, cluster);
    if (config.signing.kms !== undefined) add('sign', config.signing.kms.keyId, config.signing.kms.region, cluster);
    if (options.sealKms !== undefined) add('seal', options.sealKms.keyId, options.sealKms.region, cluster);
    for (const { uses: places } of bucketsOf(config)) {
      for (const { name: place, options: s3, clusters: writers } of places) {
        const keyId = writers.includes(cluster) ? sseKey(s3) : null;
        if (keyId !== null) add('sse', keyId, s3.region, cluster, place);
      }
    }
  }
  return uses;
}

/** null = no key of its own: the account's aws/s3 key, which asks nobody's policy, or none at all. */
export function sseKey({ sse }: S3Destination): string | null {
  return sse?.type === 'aws:kms' ? (sse.keyId ?? null) : null;
}

export type KeyRight = { what: string; actions: string[]; condition?: Condition };

/** What `role` does with a key; nothing for most. `trustsOthers` = public keys are configured, so none is asked for. */
export function keyRights(role: Role, use: KeyUse, { trustsOthers }: { trustsOthers: boolean }): KeyRight[] {
  switch (use.kind) {
    case 'wrap':
      return wrapRights(role, use);
    case 'sign':
      return signRights(role, trustsOthers);
    case 'seal':
      return makesSnapshots(role) ? sealRights(use) : [];
    case 'sse':
      return sseRights(role, use);
  }
}

function wrapRights(role: Role, { clusters }: KeyUse): KeyRight[] {
  const condition = { StringEquals: { 'kms:EncryptionContext:cluster': oneOrMore(clusters) } };
  const actions: Readonly<Record<Role, readonly string[]>> = {
    // Encrypt alone: a stolen backup login reads no backup.
    backup: ['kms:Encrypt'],
    restore: ['kms:Decrypt', 'kms:Encrypt'],
    verify: ['kms:Decrypt'],
    rewrap: ['kms:Decrypt', 'kms:Encrypt', 'kms:ReEncryptFrom', 'kms:ReEncryptTo'],
    prune: [],
    serve: [],
  };
  const found = [...actions[role]];
  return [
    ...(found.length === 0 ? [] : [{ what: 'Wrap', actions: found, condition }]),
    // No condition: DescribeKey has no encryption context.
    ...(makesSnapshots(role) ? [{ what: 'LookAtWrappingKey', actions: ['kms:DescribeKey'] }] : []),
  ];
}

function signRights(role: Role, trustsOthers: boolean): KeyRight[] {
  const asks = makesSnapshots(role) || !trustsOthers;
  return [
    ...(makesSnapshots(role)
      ? [
          {
            what: 'Sign',
            actions: ['kms:Sign'],
            condition: { StringEquals: { 'kms:SigningAlgorithm': 'ECDSA_SHA_256', 'kms:MessageType': 'DIGEST' } },
          },
        ]
      : []),
    ...(asks ? [{ what: 'PublicKey', actions: ['kms:GetPublicKey'] }] : []),
  ];
}

function sealRights({ clusters }: KeyUse): KeyRight[] {
  const context = {
    'kms:EncryptionContext:cluster': oneOrMore(clusters),
    'kms:EncryptionContext:snapshot': SEAL_PROBE,
  };
  return [
    { what: 'ProbeSealKey', actions: ['kms:Encrypt'], condition: { StringEquals: context } },
    { what: 'LookAtSealKey', actions: ['kms:DescribeKey'] },
  ];
}

function sseRights(role: Role, { region }: KeyUse): KeyRight[] {
  const writes = makesSnapshots(role) || role === 'rewrap' || role === 'prune';
  // Through S3 alone. A multipart upload decrypts its own parts, so writers need both; the end of the name differs by partition.
  const condition = { StringLike: { 'kms:ViaService': `s3.${region}.*` } };
  return [{ what: 'ObjectKeys', actions: [...(writes ? ['kms:GenerateDataKey'] : []), 'kms:Decrypt'], condition }];
}

/**
 * The ARN for a policy, and the condition that goes with it: an alias is no resource of a policy, so for one it is every
 * key of the region that has this alias. Where the config names no account, any will do.
 */
export function keyResource({ keyId, region }: Pick<KeyUse, 'keyId' | 'region'>): {
  resource: string;
  condition: Condition | null;
} {
  const [, , , keyRegion = region, account = '*'] = keyId.startsWith('arn:') ? keyId.split(':') : [];
  const partition = keyId.startsWith('arn:') ? (keyId.split(':')[1] ?? 'aws') : partitionOf(region);
  const name = keyId.slice(keyId.lastIndexOf(':') + 1);
  const base = `arn:${partition}:kms:${keyRegion}:${account}:key/`;
  if (name.startsWith('alias/')) {
    return { resource: `${base}*`, condition: { 'ForAnyValue:StringEquals': { 'kms:ResourceAliases': name } } };
  }
  return { resource: `${base}${name.replace(/^key\//, '')}`, condition: null };
}

function oneOrMore<T>(values: readonly T[]): T | readonly T[] {
  const [first] = values;
  return first !== undefined && values.length === 1 ? first : values;
}
