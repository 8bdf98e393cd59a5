import { type CommonFlags, commonAliases, commonFlags, type Definition, text } from '../define.ts';

export type ServeFlags = CommonFlags & { listen?: string };

export const serve: Definition<ServeFlags, []> = {
  brief: 'Serve a dashboard, metrics and health of every cluster over HTTP',
  description:
    'Reads the destinations of every cluster again and again, and serves pages for people at /, /metrics (Prometheus), ' +
    '/healthz (the process lives) and /readyz (everything is being backed up, else 503 with the reasons), until SIGTERM. ' +
    'Restart it by /healthz, never by /readyz: a restart makes no backup. Asks no cluster, and changes nothing unless ' +
    'serve.allowActions lets operators ask for runs and hold snapshots.',
  parameters: {
    flags: {
      ...commonFlags,
      listen: {
        kind: 'parsed',
        parse: text,
        optional: true,
        placeholder: 'host:port',
        brief: 'Where to listen; default: serve.listen of the config',
      },
    },
    aliases: commonAliases,
  },
};
