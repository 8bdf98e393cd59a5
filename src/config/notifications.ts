/** The part of the schema about who is told, and of what. */
import { z } from 'zod';
import { certificate, duration, list, origin, rule, secret, word } from './fields.ts';

/** Names that stand for a cluster or a job in the path of a ping. */
const PLACES = /\{(?:cluster|job)\}/g;

const clusters = () =>
  list(word(), (name) => name)
    .min(1)
    .exactOptional()
    .describe('only about these clusters; default: all. What concerns no single cluster is told to every sink');

const timeout = () => duration().prefault('10s').describe('longest time for one message, answer included');

const severity = (least: 'warning' | 'critical') =>
  z
    .enum(['info', 'warning', 'critical'])
    .prefault(least)
    .describe('told of this and worse; what a sink was told of, it is told of to the end');

const http = {
  timeout: timeout(),
  ca: certificate().exactOptional().describe('PEM certificates of the CA of the sink; default: those of the system'),
  dangerouslyAllowHttp: z
    .boolean()
    .prefault(false)
    .describe(
      'send over http: to other machines too: whoever is on the way reads the address, which is often the password',
    ),
};

const url = () => secret().describe('the address, which is a secret: whoever knows it may write there');

const slack = z.strictObject({
  type: z.literal('slack').describe('an incoming webhook of Slack, Mattermost or Rocket.Chat'),
  url: url(),
  severity: severity('warning'),
  clusters: clusters(),
  ...http,
});

const pagerduty = z.strictObject({
  type: z.literal('pagerduty').describe('PagerDuty Events API v2'),
  routingKey: secret().describe('integration key of the service'),
  endpoint: origin('an events endpoint')
    .prefault('https://events.pagerduty.com')
    .describe('https://events.eu.pagerduty.com for accounts in the EU'),
  severity: severity('critical'),
  clusters: clusters(),
  ...http,
});

const webhook = z.strictObject({
  type: z.literal('webhook').describe('a receiver of yours: signed JSON, see docs/notifications.md'),
  url: url(),
  secret: secret().describe('key of the HMAC-SHA256 signature'),
  severity: severity('warning'),
  clusters: clusters(),
  ...http,
});

const ADDRESS = /^(?:[^<>@,\s][^<>@,]*<[^<>@,\s]+@[^<>@,\s]+>|[^<>@,\s]+@[^<>@,\s]+)$/;

const address = () =>
  z.string().regex(ADDRESS, {
    error: 'not one mail address; write ops@example.com, or "Name <ops@example.com>"',
  });

const email = z
  .strictObject({
    type: z.literal('email').describe('e-mail over SMTP'),
    host: word().describe('host name of the mail server'),
    port: z.int().min(1).max(65535).prefault(587).describe('587 for starttls, 465 for tls'),
    security: z
      .enum(['starttls', 'tls', 'none'])
      .prefault('starttls')
      .describe('TLS after the greeting, from the first byte, or not at all; nothing is sent before it stands'),
    dangerouslySendInClear: z
      .boolean()
      .prefault(false)
      .describe('needed with security: none; whoever is on the way reads the messages'),
    auth: z
      .strictObject({ username: word().describe('user name'), password: secret().describe('password') })
      .exactOptional()
      .describe('login; default: none'),
    from: address().describe('sender'),
    to: list(address(), (to) => to)
      .min(1)
      .describe('recipients'),
    ca: certificate()
      .exactOptional()
      .describe('PEM certificates of the CA of the mail server; default: those of the system'),
    severity: severity('warning'),
    clusters: clusters(),
    timeout: timeout(),
  })
  .check(
    rule(['security', 'auth', 'dangerouslySendInClear'], (value, report) => {
      if (value.security !== 'none') return;
      if (value.auth !== undefined) {
        report(
          ['security'],
          'the password would cross the network in the clear; write starttls or tls, or delete auth',
        );
      } else if (!value.dangerouslySendInClear) {
        report(['security'], 'mail in the clear; write starttls or tls, or dangerouslySendInClear: true beside it');
      }
    }),
    rule(['port', 'security'], (value, report) => {
      if (value.port === 465 && value.security === 'starttls') {
        report(['port'], 'on this port servers speak TLS from the first byte; write security: tls, or port: 587');
      }
    }),
  );

const below = (what: string) =>
  z
    .string()
    .regex(/^$|^[^/?#\s][^?#\s]*[^/?#\s]$|^[^/?#\s]$/, {
      error: 'not a path below the URL; write it without slashes at either end, such as {cluster}',
    })
    .describe(what);

const ping = z
  .strictObject({
    type: z.literal('ping').describe("a dead man's switch: it calls somebody when it hears nothing"),
    url: url(),
    method: z.enum(['POST', 'GET']).prefault('POST').describe('a POST carries what failed'),
    path: below(
      'below the URL; {cluster} and {job} are replaced, and must stand there where there are several',
    ).prefault('{cluster}'),
    failPath: below('below that, for a run that did not keep its whole promise').prefault('fail'),
    testPath: below('below that, for `notify test`: what the service notes without judging').prefault('log'),
    jobs: list(word(), (job) => job)
      .min(1)
      .prefault(['backup'])
      .describe('jobs whose runs are told'),
    clusters: list(word(), (name) => name)
      .min(1)
      .exactOptional()
      .describe('only runs for these clusters; default: all'),
    ...http,
  })
  .check(
    rule(['path', 'clusters', 'jobs'], ({ path, clusters: only, jobs }, report) => {
      const places: readonly string[] = path.match(PLACES) ?? [];
      if (!places.includes('{cluster}') && only?.length !== 1) {
        report(['path'], 'one address for several clusters: a dead one hides behind the others; put {cluster} into it');
      }
      if (!places.includes('{job}') && jobs.length > 1) {
        report(['path'], 'one address for several jobs: a dead one hides behind the others; put {job} into it');
      }
    }),
  );

export const notifications = z.strictObject({
  sinks: z
    .record(z.string(), z.discriminatedUnion('type', [slack, pagerduty, webhook, email, ping]))
    .prefault({})
    .describe('who is told, by name'),
  burst: z
    .strictObject({
      events: z.int().min(1).max(100).prefault(5).describe('more than this are one message that lists them'),
      window: duration().prefault('10s').describe('so long an event waits for others'),
    })
    .prefault({})
    .describe('many problems at once'),
  repeatAfter: duration().prefault('24h').describe('what is still open is told again after so long'),
});
