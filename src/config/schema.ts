/** The one schema: every option with its unit, its default and what it is for. Types, docs and JSON Schema come from it. */
import { z } from 'zod';
import { cluster } from './clusters.ts';
import { destination } from './destinations.ts';
import { NAME, path, size } from './fields.ts';
import { encryption, type kmsKey, signing } from './keys.ts';
import { notifications } from './notifications.ts';
import { queue } from './queue.ts';
import { serve } from './serve.ts';
import { tracing } from './tracing.ts';
import { worker } from './worker.ts';

const spool = z.strictObject({
  directory: path()
    .exactOptional()
    .describe('where the encrypted snapshot waits; default: $XDG_STATE_HOME or ~/.local/state, then strongroom/spool'),
  maxBytes: size().prefault('20GiB').describe('a larger snapshot is refused'),
  reserveBytes: size().prefault('512MiB').describe('room that must stay free on that disk'),
});

const log = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .prefault('info')
    .describe('least level that is written'),
  format: z
    .enum(['json', 'pretty'])
    .prefault('json')
    .describe('json: one object a line, for programs; pretty: for eyes, as --pretty'),
});

/** At least one entry; `what` is for the message. The names themselves are checked in rules.ts, beside all else. */
function named<T extends z.ZodType>(what: string, value: T) {
  return z
    .record(z.string(), value)
    .refine((entries) => Object.keys(entries).length > 0, { error: `empty; add at least one ${what}` })
    .meta({ propertyNames: { pattern: NAME.source } });
}

export const configSchema = z.strictObject({
  version: z.literal(1).describe('version of this format'),
  spool: spool.prefault({}).describe('room on local disk: the cluster never waits for a slow destination'),
  log: log.prefault({}).describe('log lines, on standard error'),
  tracing: tracing.prefault({}).describe('traces of runs, by OpenTelemetry'),
  destinations: named('destination', destination).describe('where backups are stored, by name'),
  encryption: encryption.prefault({}).describe('who can open a snapshot'),
  signing: signing.describe('who vouches for a snapshot'),
  worker: worker.prefault({}).describe('strongroom worker: how much at once, and how it ends'),
  serve: serve.prefault({}).describe('the web server of strongroom serve'),
  clusters: named('cluster', cluster).describe('the clusters, by name'),
  queue: queue
    .exactOptional()
    .describe('the Redis that `strongroom worker` takes its jobs from; nothing else needs it'),
  notifications: notifications.prefault({}).describe('who is told when something is wrong'),
});

/** What the schema makes of a file; see load.ts for {@link Config}. */
export type ParsedConfig = z.output<typeof configSchema>;
export type ParsedClusterConfig = ParsedConfig['clusters'][string];

export type KmsKeyConfig = z.output<typeof kmsKey>;
export type EncryptionConfig = z.output<typeof encryption>;
export type DestinationConfig = z.output<typeof destination>;
export type SinkConfig = ParsedConfig['notifications']['sinks'][string];
export type AuthConfig = ParsedClusterConfig['auth'];
