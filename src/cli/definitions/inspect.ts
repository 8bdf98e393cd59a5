import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type InspectFlags = CommonFlags & { cluster?: string };

export const inspect: Definition<InspectFlags, [source: string]> = {
  brief: 'Show what a snapshot holds',
  description:
    'Reads a snapshot from its first byte to its last, verifies it, and shows what it tells without any key of the cluster: ' +
    'raft position, seal, mounts, leases, record counts.',
  parameters: {
    flags: { ...commonFlags, cluster: clusterFlag },
    aliases: commonAliases,
    positional: {
      kind: 'tuple',
      parameters: [{ parse: text, placeholder: 'id|file', brief: 'Snapshot id, latest, or a plain archive as a file' }],
    },
  },
};
