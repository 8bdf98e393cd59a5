import { type CommonFlags, commonAliases, commonFlags, type Definition } from '../define.ts';

export type ConfigCheckFlags = CommonFlags & { resolve: boolean };

export const configCheck: Definition<ConfigCheckFlags, []> = {
  brief: 'Check the config file and what it refers to',
  description:
    'Reports every mistake in the config with its line and column, and every reference (env:, file:) that leads nowhere. ' +
    'Talks to no server.',
  parameters: {
    flags: {
      ...commonFlags,
      resolve: { kind: 'boolean', default: true, brief: 'Read every env: and file: reference; --no-resolve in CI' },
    },
    aliases: commonAliases,
  },
};

export const configSchema: Definition<CommonFlags, []> = {
  brief: 'Print the JSON Schema of the config file',
  description: 'Prints the JSON Schema of the config file, for editors and CI.',
  parameters: { flags: commonFlags, aliases: commonAliases },
};
