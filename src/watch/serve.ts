/** strongroom serve: the clusters of the config under watch, behind the web server, until it is stopped. */
import type { Config } from '../config/load.ts';
import { StrongroomError } from '../core/errors.ts';
import { isLoopback, type Listen } from '../core/listen.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import { openHttp } from '../http/server.ts';
import { clusterSamples } from '../observe/cluster-metrics.ts';
import type { MetricSource } from '../observe/exposition.ts';
import { processSamples } from '../observe/process-metrics.ts';
import { Watch } from '../observe/watch.ts';
import { watchConfig } from '../worker/config-watch.ts';
import { openDashboard } from './open-dashboard.ts';
import { statusReader, targetsOf } from './targets.ts';

export type ServeOptions = {
  config: Config;
  /** reads the config file again, when it has changed */
  load: () => Promise<Config>;
  /** in the place of serve.listen */
  listen: Listen;
  clock: Clock;
  log: Log;
  /** more to be counted than the clusters, such as what a worker does */
  sources?: readonly MetricSource[];
  /** told once it listens */
  onListening(url: string): void;
};

/**
 * Serves until `signal` aborts; then it resolves, when the answers under way are sent. A change of the config file is in
 * force at once, but for serve.listen, serve.refreshEvery and queue. Rejects with E_CONFIG_INVALID for an address that others
 * reach without a token, and with E_PRECONDITION for one that cannot be listened on.
 */
export async function serve(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const { clock, log, listen } = options;
  let { config } = options;
  let { token } = config.serve;
  let isConfigValid = true;
  if (token === undefined && !isLoopback(listen.host)) {
    throw new StrongroomError(
      'E_CONFIG_INVALID',
      `${listen.host} is open to other machines, and there is no serve.token`,
      {
        hint: 'set serve.token, or listen on 127.0.0.1:9464',
      },
    );
  }
  // Better now than at the first request.
  await token?.resolve(signal);
  const watch = new Watch({
    read: statusReader(() => config, log),
    targets: targetsOf(config),
    refreshEveryMs: config.serve.refreshEvery,
    clock,
    log,
  });
  const dashboard = await openDashboard(
    { config: () => config, fleet: () => watch.current(), listen, clock, log },
    signal,
  );
  await using _queue = dashboard.queue;
  await using http = await openHttp({
    listen,
    dashboard,
    token: async (asked) => (token === undefined ? null : await token.resolve(asked)),
    sources: [
      (now) => watch.current().flatMap((watched) => clusterSamples(watched, watched.limits, now)),
      () => processSamples({ isConfigValid }),
      ...(options.sources ?? []),
    ],
    watched: () => watch.current(),
    clock,
    log,
  });
  options.onListening(http.url);
  const onChange = (next: Config): void => {
    config = next;
    // What listens to everybody keeps its lock, whatever the file says of the next start.
    token = next.serve.token ?? (isLoopback(listen.host) ? undefined : token);
    watch.retarget(targetsOf(next));
    log.info({ file: next.file }, 'another config is in force');
  };
  const onRefusal = (error: StrongroomError | null): void => {
    isConfigValid = error === null;
    if (error !== null) log.error({ err: error.toJSON() }, 'the config file is refused, the one before stays in force');
  };
  const load = (): Promise<Config> => options.load();
  await Promise.all([watch.run(signal), watchConfig(config, { load, onChange, onRefusal }, signal)]);
}
