import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type PruneFlags = CommonFlags & { cluster?: string; destination?: string; apply: boolean };

export const prune: Definition<PruneFlags, []> = {
  brief: 'Show what retention would remove, or remove it',
  description:
    'Shows what becomes of each snapshot under the retention policy, and why; with --apply it is carried out, after it was decided ' +
    'again under the lease of every destination. What is locked is deferred. Never removed: what is held, the newest good and ' +
    'the newest verified one, anything after a failed backup, and the last good copy of what another destination is to keep.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      destination: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'name',
        brief: 'Only this destination; the others are looked at all the same',
      },
      apply: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Remove it; the default is to show the plan',
      },
    },
    aliases: commonAliases,
  },
};
