import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';
import { parseTime } from '../time.ts';

export type SnapshotsListFlags = CommonFlags & {
  cluster?: string;
  since?: Date;
  until?: Date;
  limit?: number;
  all: boolean;
  destination?: string;
  region?: string;
  generation?: 'last' | 'hourly' | 'daily' | 'weekly' | 'monthly' | 'yearly';
  purpose?: 'backup' | 'safety';
  proven: boolean;
  unproven: boolean;
  held: boolean;
  namesOnly: boolean;
};
export type SnapshotsAuditFlags = CommonFlags & { cluster?: string; deep: boolean };
export type SnapshotsHoldFlags = CommonFlags & { cluster?: string; why: string; until?: Date; who?: string };
export type SnapshotsReleaseFlags = CommonFlags & { cluster?: string; why: string; who?: string };
export type SnapshotsShowFlags = CommonFlags & { cluster?: string };
export type SnapshotsVerifyFlags = CommonFlags & { cluster?: string; destination?: string };
export type SnapshotsExportFlags = CommonFlags & { cluster?: string; output: string };
export type SnapshotsRewrapFlags = CommonFlags & { cluster?: string; dryRun: boolean; refresh: boolean };

const snapshotArgument = { parse: text, placeholder: 'id', brief: 'Snapshot id, or latest' };
const flag = (brief: string) => ({ kind: 'boolean', default: false, withNegated: false, brief }) as const;
const time = { kind: 'parsed', parse: parseTime, optional: true, placeholder: 'time' } as const;
const who = {
  kind: 'parsed',
  parse: text,
  optional: true,
  placeholder: 'name',
  brief: 'Who does it; default: the user of this system',
} as const;
const one = { kind: 'tuple', parameters: [snapshotArgument] } as const;

export const snapshotsList: Definition<SnapshotsListFlags, []> = {
  brief: 'List the snapshots of a cluster',
  description:
    'Lists the snapshots of a cluster, newest first, with what their signed manifests, proofs and holds say: the newest 50, unless told ' +
    'otherwise. Whether they are whole now, show and verify tell. Times have a zone: 2026-11-22T03:00Z.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      since: { ...time, brief: 'Only those begun then or later' },
      until: { ...time, brief: 'Only those begun then or earlier' },
      limit: {
        kind: 'parsed',
        parse: parseLimit,
        optional: true,
        placeholder: 'n',
        brief: 'At most so many; default: 50',
      },
      all: flag('All of them'),
      destination: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'name',
        brief: 'Only what this destination has, and the proofs of its copies',
      },
      region: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'name',
        brief: 'Only what a destination in this region has, and the proofs of the copies there',
      },
      generation: {
        kind: 'enum',
        values: ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'],
        optional: true,
        brief: 'Only those that the retention keeps as one of these; opens every manifest',
      },
      purpose: {
        kind: 'enum',
        values: ['backup', 'safety'],
        optional: true,
        brief: 'Only backups, or only those that a restore kept of its target',
      },
      proven: flag('Only those of which a copy was read again and found good, and none bad'),
      unproven: flag('Only the others'),
      held: flag('Only those that are held'),
      namesOnly: flag('Open nothing: quick at any number, and says nothing but names'),
    },
    aliases: commonAliases,
  },
};

export const snapshotsShow: Definition<SnapshotsShowFlags, [snapshot: string]> = {
  brief: 'Show the manifest of a snapshot',
  description:
    'Shows what the signed manifest of a snapshot says, and what each destination has of it now, by names and lengths.',
  parameters: { flags: { ...commonFlags, cluster: clusterFlag }, aliases: commonAliases, positional: one },
};

export const snapshotsVerify: Definition<SnapshotsVerifyFlags, [snapshot: string]> = {
  brief: 'Fetch, decrypt and verify a stored snapshot',
  description: 'Fetches, decrypts and verifies a stored snapshot to its last byte; nothing is written to disk.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      destination: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'name',
        brief: 'Only this destination; default: each that holds it',
      },
    },
    aliases: commonAliases,
    positional: one,
  },
};

export const snapshotsExport: Definition<SnapshotsExportFlags, [snapshot: string]> = {
  brief: 'Write a stored snapshot to a file, decrypted',
  description:
    'Writes the archive just as the server sent it, for bao or vault operator raft snapshot restore. The file is the whole ' +
    'vault, protected only by the seal of its cluster: its mode is 0600, git work trees are refused, nothing is overwritten, ' +
    'and standard output is not supported. Delete it after use.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      output: { kind: 'parsed', parse: text, placeholder: 'file', brief: 'A new file in a folder that is there' },
    },
    aliases: { ...commonAliases, o: 'output' },
    positional: one,
  },
};

export const snapshotsRewrap: Definition<SnapshotsRewrapFlags, [snapshot: string]> = {
  brief: 'Change which keys open a stored snapshot',
  description:
    'Wraps the identity of a stored snapshot for the keys that the config names now; the data is not touched. This retires ' +
    'a key, it does not revoke it: locked older versions keep their wraps.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      dryRun: { kind: 'boolean', default: false, withNegated: false, brief: 'Show what would change' },
      refresh: { kind: 'boolean', default: false, withNegated: false, brief: 'Renew the wraps that stay, too' },
    },
    aliases: commonAliases,
    positional: one,
  },
};

export const snapshotsAudit: Definition<SnapshotsAuditFlags, []> = {
  brief: 'Look for everything in the destinations that is not right',
  description:
    'Walks every object of the cluster in every destination and says of each that is not right what it is: unsigned, foreign, changed, ' +
    'orphaned, missing, taken away. Changes nothing. Data is only read with --deep; else its length and what the store says of it counts. ' +
    'Ends with 0 only when nothing is wrong, else with 13.',
  parameters: {
    flags: { ...commonFlags, cluster: clusterFlag, deep: flag('Read and verify the data of every copy, too') },
    aliases: commonAliases,
  },
};

export const snapshotsHold: Definition<SnapshotsHoldFlags, [snapshot: string]> = {
  brief: 'Keep a snapshot, whatever retention says',
  description:
    'Exempts a snapshot from removal, by a signed record in every destination. Where a bucket has object lock its objects get a legal hold, ' +
    'too, which stays until release even when --until is over. Where there is none, only strongroom itself respects the hold.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      why: { kind: 'parsed', parse: text, placeholder: 'words', brief: 'Why it is held' },
      until: { ...time, brief: 'Until then; default: until it is released' },
      who,
    },
    aliases: commonAliases,
    positional: one,
  },
};

export const snapshotsRelease: Definition<SnapshotsReleaseFlags, [snapshot: string]> = {
  brief: 'End the hold of a snapshot',
  description: 'Ends the hold of a snapshot and lifts its legal holds. Retention may remove it from then on.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      why: { kind: 'parsed', parse: text, placeholder: 'words', brief: 'Why it is released' },
      who,
    },
    aliases: commonAliases,
    positional: one,
  },
};

function parseLimit(value: string): number {
  if (/^[1-9]\d{0,8}$/.test(value)) return Number(value);
  throw new SyntaxError(`"${value}" is not a number of snapshots: write 1 or more, or --all`);
}
