/** The part of the schema about the queue: which Redis the worker takes its jobs from, and how it is trusted. */
import { z } from 'zod';
import { StrongroomError } from '../core/errors.ts';
import { certificate, hostPort, list, redisUrl, rule, secret, word } from './fields.ts';
import type { Config } from './load.ts';

const WAYS = ['url', 'sentinels', 'cluster'] as const;

const tls = z
  .strictObject({
    ca: certificate().exactOptional().describe('PEM certificates of the CA; default: those of the system'),
    cert: certificate().exactOptional().describe('PEM client certificate, with its chain'),
    key: secret().exactOptional().describe('PEM key of the client certificate'),
    serverName: word()
      .exactOptional()
      .describe('name to expect in the certificates; default: the host asked, which behind Sentinel is often an IP'),
  })
  .check(
    rule(['cert', 'key'], (value, report) => {
      if ((value.cert === undefined) === (value.key === undefined)) return;
      report([value.cert === undefined ? 'key' : 'cert'], 'half of a client certificate; write both cert and key');
    }),
  );

export const queue = z
  .strictObject({
    url: redisUrl()
      .exactOptional()
      .describe('one Redis, or the endpoint of Redis Enterprise: redis://host:port, rediss:// for TLS'),
    sentinels: list(hostPort('a sentinel'), (address) => address)
      .min(1)
      .exactOptional()
      .describe('host:port of each sentinel, instead of `url`'),
    name: word().exactOptional().describe('what the sentinels call the primary (`sentinel monitor <name> …`)'),
    cluster: list(hostPort('a node'), (address) => address)
      .min(1)
      .exactOptional()
      .describe('host:port of some nodes of a Redis Cluster, instead of `url`; the others are found'),
    username: word().exactOptional().describe('ACL user; default: the default user'),
    password: secret().exactOptional().describe('password of that user'),
    sentinelPassword: secret().exactOptional().describe('password of the sentinels themselves, where they want one'),
    tls: tls
      .exactOptional()
      .describe('how Redis is trusted; with `sentinels` or `cluster` this block, also `{}`, turns TLS on'),
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9._-]+$/, {
        error:
          'not a prefix; write letters, digits, dots, dashes and underscores (the braces for Redis Cluster are put around it)',
      })
      .prefault('strongroom')
      .describe('all keys begin with it; with `cluster` as a hash tag, {strongroom}, so that one node has them all'),
    db: z.int().nonnegative().prefault(0).describe('number of the database'),
  })
  .check(
    rule([...WAYS], (value, report) => {
      const [first, second] = WAYS.filter((way) => value[way] !== undefined);
      if (first === undefined) report([], 'needs one way to Redis; write url, or sentinels and name, or cluster');
      if (second !== undefined) report([second], `a second way to Redis beside ${first}; keep one of them`);
    }),
    rule(['sentinels', 'name', 'sentinelPassword'], (value, report) => {
      if (value.sentinels !== undefined && value.name === undefined) {
        report(['name'], 'is missing; add it, as it stands in sentinel.conf (sentinel monitor <name> …)');
      }
      if (value.sentinels !== undefined) return;
      for (const option of ['name', 'sentinelPassword'] as const) {
        if (value[option] !== undefined)
          report([option], 'only for sentinels; write sentinels too, or delete this line');
      }
    }),
    rule(['cluster', 'db'], (value, report) => {
      if (value.cluster !== undefined && value.db !== 0) {
        report(['db'], 'Redis Cluster has only database 0; delete this line, and write prefix to keep keys apart');
      }
    }),
    rule(['username', 'password'], (value, report) => {
      if (value.username !== undefined && value.password === undefined) {
        report(['username'], 'a user without a password; write password: env:NAME or file:/path');
      }
    }),
    rule(['url', 'tls'], (value, report) => {
      if (value.tls !== undefined && value.url?.startsWith('redis:') === true) {
        report(
          ['tls'],
          'how to trust a server that is asked without TLS; write rediss:// in url, or delete this block',
        );
      }
    }),
  );

export type QueueConfig = z.output<typeof queue>;

/** The queue of `config`. Throws E_CONFIG_INVALID when it has none: only `strongroom worker` and its company need one. */
export function queueConfig(config: Config): QueueConfig {
  if (config.queue !== undefined) return config.queue;
  throw new StrongroomError('E_CONFIG_INVALID', `${config.file} has no queue: a worker takes its jobs from Redis`, {
    hint: 'add queue: { url: redis://host:port } (docs/config.md); without Redis, let a timer run strongroom job run',
  });
}
