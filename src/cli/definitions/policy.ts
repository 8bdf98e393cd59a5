import type { FlagParametersForType } from '@stricli/core';
import type { Role, VaultRole } from '../../policy/roles.ts';
import type { Context } from '../context.ts';
import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type PolicyVaultFlags = CommonFlags & { cluster?: string; for: VaultRole };
export type PolicyIamFlags = CommonFlags & { cluster?: string; for: Role; destination?: string };
export type PolicyS3Flags = CommonFlags & { destination?: string; grant?: readonly string[]; writeOnce: boolean };
export type PolicyKmsFlags = CommonFlags & { key?: string; grant?: readonly string[] };
export type PolicyLifecycleFlags = CommonFlags & { destination?: string; expireAfter?: string };

const READY =
  'Standard output is the document alone, ready for a pipe; what to mind comes on standard error. With --json, and no name ' +
  'given, the documents of all of them.';

const destinationFlag = {
  kind: 'parsed',
  parse: text,
  optional: true,
  placeholder: 'name',
  brief: 'Destination; may be left out where the config has only one bucket',
} as const;

const grantFlag: FlagParametersForType<{ grant?: readonly string[] }, Context>['grant'] = {
  kind: 'parsed',
  parse: text,
  variadic: true,
  optional: true,
  placeholder: 'role=principal',
  brief: 'Who has a role, such as backup=arn:aws:iam::111122223333:role/strongroom; may be repeated',
};

export const policyVault: Definition<PolicyVaultFlags, []> = {
  brief: 'The ACL policy of the cluster, in HCL',
  description:
    'Prints the ACL policy that the login of backups or of restores needs: each path that is called, with the reason. ' +
    `bao policy write strongroom-backup <(strongroom policy vault). ${READY}`,
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      for: { kind: 'enum', values: ['backup', 'restore'], default: 'backup', brief: 'Who it is for' },
    },
    aliases: commonAliases,
  },
};

export const policyIam: Definition<PolicyIamFlags, []> = {
  brief: 'The identity policy of AWS for one role',
  description:
    'Prints what one role needs in S3 and KMS for one cluster: its part of each bucket, and its keys bound to the ' +
    `encryption context of the cluster. The role of backups can open none, and nobody but prune can delete. ${READY}`,
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      for: {
        kind: 'enum',
        values: ['backup', 'restore', 'verify', 'rewrap', 'prune', 'serve'],
        default: 'backup',
        brief: 'Who it is for',
      },
      destination: { ...destinationFlag, brief: 'Only what is about this one: it has a login of its own' },
    },
    aliases: commonAliases,
  },
};

export const policyS3: Definition<PolicyS3Flags, []> = {
  brief: 'The policy of a bucket',
  description:
    'Prints the bucket policy: no request without TLS, no overwriting of what is written once, and for each --grant what ' +
    `that role may do, and that it may neither delete nor loosen the rules. It replaces the bucket's whole policy. ${READY}`,
  parameters: {
    flags: {
      ...commonFlags,
      destination: destinationFlag,
      grant: grantFlag,
      writeOnce: {
        kind: 'boolean',
        default: true,
        brief: 'Deny overwrites; --no-write-once for stores that do not know s3:if-none-match in a policy',
      },
    },
    aliases: commonAliases,
  },
};

export const policyKms: Definition<PolicyKmsFlags, []> = {
  brief: 'The policy of a KMS key',
  description:
    'Prints the key policy of a wrapping or signing key; for the key of a seal or of a bucket only the statements to add to ' +
    `the policy that is there. ${READY}`,
  parameters: {
    flags: {
      ...commonFlags,
      key: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'arn',
        brief: 'Key, by its ARN or the id at its end; may be left out where the config has only one',
      },
      grant: grantFlag,
    },
    aliases: commonAliases,
  },
};

export const policyLifecycle: Definition<PolicyLifecycleFlags, []> = {
  brief: 'The lifecycle rules of a bucket',
  description:
    'Prints lifecycle rules: unfinished uploads go after 2 days, old versions after 30, and delete markers with nothing ' +
    'behind them. It replaces every rule of the bucket. Snapshots themselves expire only with --expire-after: by age ' +
    `alone, for a lifecycle cannot keep the last verified one. ${READY}`,
  parameters: {
    flags: {
      ...commonFlags,
      destination: destinationFlag,
      expireAfter: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'duration',
        brief: 'Also delete snapshots of this age, in whole days, such as 90d; also the last good one',
      },
    },
    aliases: commonAliases,
  },
};
