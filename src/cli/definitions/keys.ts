import { type CommonFlags, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type KeyKind = 'break-glass' | 'signing' | 'all';

export type KeysGenerateFlags = CommonFlags & {
  output: string;
  kind: KeyKind;
  postQuantum: boolean;
  show: boolean;
};

export const keysGenerate: Definition<KeysGenerateFlags, []> = {
  brief: 'Make break-glass and signing keys',
  description:
    'Writes a new break-glass identity and a new signing key into files that only their owner may read; nothing is ever ' +
    'overwritten. With --config also writes the recovery page of each cluster: how to restore without strongroom. ' +
    'Without --config the page has blanks. Print it, and keep it with the identity, offline.',
  parameters: {
    flags: {
      ...commonFlags,
      output: { kind: 'parsed', parse: text, placeholder: 'dir', brief: 'Folder for the files; made if it is missing' },
      kind: { kind: 'enum', values: ['break-glass', 'signing', 'all'], default: 'all', brief: 'Which keys to make' },
      postQuantum: {
        kind: 'boolean',
        default: false,
        withNegated: false,
        brief: 'Break-glass key against quantum computers too; opens with age 1.3 or newer only',
      },
      show: { kind: 'boolean', default: false, withNegated: false, brief: 'Print the secrets as well' },
    },
    aliases: { ...commonAliases, o: 'output' },
  },
};
