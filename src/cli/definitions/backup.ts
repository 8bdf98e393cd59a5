import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition } from '../define.ts';

export type BackupFlags = CommonFlags & {
  cluster?: string;
  dryRun: boolean;
  prove?: 'checksum' | 'read';
  newLineage: boolean;
};

export const backup: Definition<BackupFlags, []> = {
  brief: 'Take, verify, encrypt and store a snapshot',
  description:
    'Takes a snapshot from the active node, verifies it while it streams, encrypts it, stores it at every destination of ' +
    'the cluster, and proves each copy. Exits with 0 only when every promised copy is stored and proven.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      dryRun: { kind: 'boolean', default: false, withNegated: false, brief: 'Stop after preflight; nothing is stored' },
      prove: {
        kind: 'enum',
        values: ['checksum', 'read'],
        optional: true,
        brief: 'How each copy is proven; default: as the config says',
      },
      newLineage: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Accept that this snapshot does not continue the last one, as after a restore',
      },
    },
    aliases: commonAliases,
  },
};
