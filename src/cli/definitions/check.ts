import { parseDuration } from '../../core/units.ts';
import { type CommonFlags, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type CheckFlags = CommonFlags & { cluster?: string; maxAge?: number; maxProofAge?: number };

export const check: Definition<CheckFlags, []> = {
  brief: 'Say in one line whether every cluster is backed up',
  description:
    'Reads from the destinations how old the newest whole backup of each cluster is, whether its objects are there, and ' +
    'how the last runs and proofs went; asks no cluster and no key. One line on standard output, as monitoring plugins ' +
    'write it, the worst cluster first. Its exit codes are those of monitoring plugins, not those of other commands.',
  exitCodes: {
    0: 'OK: within its limits',
    1: 'WARNING: to be watched',
    2: 'CRITICAL: not safe now; also a wrong command line',
    3: 'UNKNOWN: it cannot be told, or the config is not usable',
    130: 'stopped by a signal',
  },
  parameters: {
    flags: {
      ...commonFlags,
      cluster: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'name',
        brief: 'Only this cluster; default: all of them',
      },
      maxAge: {
        kind: 'parsed',
        parse: parseDuration,
        optional: true,
        placeholder: 'duration',
        brief:
          'Oldest that the newest whole backup may be; default: limits.maxAge, else two periods of schedule.backup',
      },
      maxProofAge: {
        kind: 'parsed',
        parse: parseDuration,
        optional: true,
        placeholder: 'duration',
        brief:
          'Oldest that the last proof may be; default: limits.maxProofAge, else two periods of schedule.verify, 7d at least',
      },
    },
    aliases: commonAliases,
  },
};
