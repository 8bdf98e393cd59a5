import { type CommonFlags, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type NotifyTestFlags = CommonFlags & { sink?: string };

export const notifyTest: Definition<NotifyTestFlags, []> = {
  brief: 'Send a test through each notification sink',
  description:
    'Sends a test through each notification sink of the config, whatever its severity and clusters, and says for each ' +
    'whether it was taken. Incidents that it opens are resolved at once; a ping goes to the path for tests, so that no ' +
    'dead-man switch takes it for a good run. Exit code 0 only when every sink took it.',
  parameters: {
    flags: {
      ...commonFlags,
      sink: { kind: 'parsed', parse: text, optional: true, placeholder: 'name', brief: 'This sink only' },
    },
    aliases: commonAliases,
  },
};
