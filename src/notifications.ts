/** The notification sinks of a config, made ready to send. */
import type { Config } from './config/load.ts';
import type { SinkConfig } from './config/schema.ts';
import { isError, StrongroomError } from './core/errors.ts';
import type { Log } from './core/log.ts';
import type { Clock } from './core/units.ts';
import { EmailSink } from './notify/email.ts';
import type { Notice } from './notify/event.ts';
import { Notifier, type NotifierOptions } from './notify/notifier.ts';
import { PagerDutySink } from './notify/pagerduty.ts';
import { PingSink } from './notify/ping.ts';
import type { Sink } from './notify/sink.ts';
import { SlackSink } from './notify/slack.ts';
import { WebhookSink } from './notify/webhook.ts';

type EventSinkConfig = Exclude<SinkConfig, { type: 'ping' }>;
type PingConfig = Extract<SinkConfig, { type: 'ping' }>;

export type NotifierWiring = Pick<NotifierOptions, 'clock' | 'observer' | 'restore'>;

/** The notifier that `config` describes; without sinks it keeps the book and tells nobody. The owner disposes it. */
export async function startNotifier(config: Config, wiring: NotifierWiring, signal: AbortSignal): Promise<Notifier> {
  const { sinks, burst, repeatAfter } = config.notifications;
  const entries = Object.entries(sinks);
  return await Notifier.start(
    {
      ...wiring,
      sinks: entries.flatMap(([name, options]) =>
        options.type === 'ping'
          ? []
          : [
              {
                sink: eventSink(name, options, wiring.clock),
                minSeverity: options.severity,
                clusters: options.clusters ?? null,
              },
            ],
      ),
      pings: entries.flatMap(([name, options]) =>
        options.type === 'ping'
          ? [{ sink: pingSink(name, options), clusters: options.clusters ?? null, jobs: options.jobs }]
          : [],
      ),
      burst: { events: burst.events, windowMs: burst.window },
      repeatAfterMs: repeatAfter,
    },
    signal,
  );
}

/** An observer that writes what became of notifications to `log`. No URL of a sink is in it: that is often its password. */
export function logObserver(log: Log): NotifierOptions['observer'] {
  return {
    delivered: (sink, events) => log.debug({ sink, events }, 'notifications were taken'),
    failed: (sink, error, waitMs) => {
      const text =
        waitMs === null ? 'a sink refuses a notification' : 'a sink does not take a notification; later again';
      log.error({ sink, err: error.toJSON(), waitMs }, text);
    },
    dropped: (sink, events, why) => log.warn({ sink, events, why }, 'notifications were not told'),
    restoreFailed: (e) => log.warn({ err: isError(e) ? e.toJSON() : String(e) }, 'what was open before is not known'),
  };
}

export type SinkTest = { name: string; type: string; isTaken: boolean; error: StrongroomError | null };

/**
 * Sends a test through each of the sinks `names` of `config`, each once and all at the same time. Rejects only with the
 * reason of `signal`, or for a defect; what a sink says is in its answer.
 */
export async function testSinks(
  config: Config,
  names: readonly string[],
  clock: Clock,
  signal: AbortSignal,
): Promise<SinkTest[]> {
  return await Promise.all(
    names.map(async (name) => {
      const options = config.notifications.sinks[name];
      if (options === undefined) throw new StrongroomError('E_BUG', `sink "${name}" passed the check`);
      try {
        if (options.type === 'ping') await testPing(name, options, Object.keys(config.clusters), clock, signal);
        else await testEvents(eventSink(name, options, clock), clock, signal);
        return { name, type: options.type, isTaken: true, error: null };
      } catch (e) {
        signal.throwIfAborted();
        if (!isError(e)) throw e;
        return { name, type: options.type, isTaken: false, error: e };
      }
    }),
  );
}

async function testEvents(sink: Sink, clock: Clock, signal: AbortSignal): Promise<void> {
  const at = clock.now();
  const notice: Notice = {
    key: `test/${sink.name}/${at.toISOString()}`,
    cluster: null,
    state: 'open',
    severity: 'info',
    title: 'a test of the notifications of strongroom',
    text: `The sink ${sink.name} works. Nothing is wrong, and nothing is to be done.`,
    at,
    openedAt: at,
    fields: {},
  };
  await sink.send([notice], signal);
  if (sink.holdsIncidents) await sink.send([{ ...notice, state: 'resolved', at: clock.now() }], signal);
}

/** One after the other: the first failure is the answer. */
async function testPing(
  name: string,
  options: PingConfig,
  clusters: readonly string[],
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const sink = pingSink(name, options);
  for (const cluster of options.clusters ?? clusters) {
    for (const job of options.jobs) await sink.test(cluster, job, clock.now(), signal);
  }
}

function eventSink(name: string, options: EventSinkConfig, clock: Clock): Sink {
  switch (options.type) {
    case 'slack':
      return new SlackSink({ ...httpOptions(name, options), url: options.url });
    case 'pagerduty': {
      const { endpoint, routingKey } = options;
      return new PagerDutySink({ ...httpOptions(name, options), endpoint, routingKey });
    }
    case 'webhook':
      return new WebhookSink({ ...httpOptions(name, options), url: options.url, secret: options.secret, clock });
    case 'email': {
      const { host, port, security, auth, ca, from, to } = options;
      return new EmailSink({
        name,
        host,
        port,
        security,
        from,
        to,
        timeoutMs: options.timeout,
        ...(auth === undefined ? {} : { auth }),
        ...(ca === undefined ? {} : { ca }),
      });
    }
  }
}

function pingSink(name: string, options: PingConfig): PingSink {
  const { url, method, path, failPath, testPath } = options;
  return new PingSink({ ...httpOptions(name, options), url, method, path, failPath, testPath });
}

function httpOptions(name: string, { timeout, ca, dangerouslyAllowHttp }: Exclude<SinkConfig, { type: 'email' }>) {
  return { name, timeoutMs: timeout, allowHttp: dangerouslyAllowHttp, ...(ca === undefined ? {} : { ca }) };
}
