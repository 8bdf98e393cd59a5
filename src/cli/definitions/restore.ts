import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type RestoreFlags = CommonFlags & {
  cluster?: string;
  snapshot: string;
  confirm?: string;
  force: boolean;
  targetToken?: string;
  shares?: string;
  timeout: string;
  dryRun: boolean;
};

export const restore: Definition<RestoreFlags, []> = {
  brief: 'Verify a snapshot, install it, and prove the result',
  description:
    'Verifies the whole snapshot first, shows the plan, asks for the name of the cluster, installs the snapshot on the ' +
    'active node, and proves the result. Everything written since the snapshot is lost.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      snapshot: {
        kind: 'parsed',
        parse: text,
        default: 'latest',
        placeholder: 'latest|id|file',
        brief: 'Snapshot id, latest, or a plain archive as a file',
      },
      confirm: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'cluster',
        brief: "The cluster's name again, where there is no terminal to type it",
      },
      force: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: "Skip the server's seal check also in the same cluster, as after a rekey",
      },
      targetToken: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'env:NAME|file:path',
        brief: 'Token that may install on a target which does not know the configured login yet, as a fresh cluster',
      },
      shares: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'file:path|env:NAME|stdin',
        brief: 'Unseal key shares of the source, one a line; default: asked for without echo when needed',
      },
      timeout: {
        kind: 'parsed',
        parse: text,
        default: '3m',
        placeholder: 'duration',
        brief: 'Longest wait for the cluster to serve again after the install',
      },
      dryRun: { kind: 'boolean', default: false, withNegated: false, brief: 'Stop after the plan; nothing is changed' },
    },
    aliases: commonAliases,
  },
};
