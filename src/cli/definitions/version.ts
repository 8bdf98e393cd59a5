import { type CommonFlags, commonAliases, commonFlags, type Definition } from '../define.ts';

export const version: Definition<CommonFlags, []> = {
  brief: 'Print the version',
  description:
    'Prints the version of strongroom, of Node.js, and of the layout of destinations that this build writes.',
  parameters: { flags: commonFlags, aliases: commonAliases },
};
