import { numberParser } from '@stricli/core';
import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type SnapshotsListFlags = CommonFlags & { cluster?: string; limit?: number };
export type SnapshotsShowFlags = CommonFlags & { cluster?: string };
export type SnapshotsVerifyFlags = CommonFlags & { cluster?: string; destination?: string };
export type SnapshotsExportFlags = CommonFlags & { cluster?: string; output: string };
export type SnapshotsRewrapFlags = CommonFlags & { cluster?: string; dryRun: boolean; refresh: boolean };

const snapshotArgument = { parse: text, placeholder: 'id', brief: 'Snapshot id, or latest' };
const one = { kind: 'tuple', parameters: [snapshotArgument] } as const;

export const snapshotsList: Definition<SnapshotsListFlags, []> = {
  brief: 'List the snapshots of a cluster',
  description:
    'Lists the snapshots of a cluster, newest first, by the names of their manifests in the destinations: show and verify tell whether they are whole.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      limit: { kind: 'parsed', parse: numberParser, optional: true, placeholder: 'n', brief: 'At most so many' },
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
