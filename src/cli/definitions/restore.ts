import { type CommonFlags, clusterFlag, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type RestoreFlags = CommonFlags & {
  cluster?: string;
  snapshot?: string;
  marked: boolean;
  at?: string;
  to?: string;
  confirm?: string;
  force: boolean;
  targetToken?: string;
  shares?: string;
  timeout: string;
  waitForRestarts?: string;
  withoutSafetySnapshot: boolean;
  resume: boolean;
  dryRun: boolean;
};

export const restore: Definition<RestoreFlags, []> = {
  brief: 'Verify a snapshot, install it, and prove the result',
  description:
    'Verifies the whole snapshot first, shows the plan, asks for the name of the cluster, keeps a snapshot of the target, ' +
    'installs on the active node, and proves the result on every node. Everything written since the snapshot is lost. ' +
    'Stopped at any moment, the same command goes on.',
  parameters: {
    flags: {
      ...commonFlags,
      cluster: clusterFlag,
      snapshot: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'latest|id|file',
        brief: 'Snapshot id, latest (the default), or a plain archive as a file',
      },
      marked: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Take the snapshot of that id also when it is marked to be ignored; it is verified like any other',
      },
      at: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'time',
        brief: 'The newest snapshot up to this time, such as 2026-11-22T03:00Z',
      },
      to: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'cluster',
        brief: 'Restore into this cluster of the config in place of the one that the snapshot is of',
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
      waitForRestarts: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'duration',
        brief: 'Longest wait for people to restart nodes that need it; default 15m in a terminal, else 0s',
      },
      withoutSafetySnapshot: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Keep no snapshot of the target before the install: what it holds is then lost',
      },
      resume: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Install nothing: open and prove a cluster that a restore from another machine has installed',
      },
      dryRun: { kind: 'boolean', default: false, withNegated: false, brief: 'Stop after the plan; nothing is changed' },
    },
    aliases: commonAliases,
  },
};
