/** The dashboard by a config: who is let in, what is shown, and the queue beside it. */
import type { Config } from '../config/load.ts';
import type { ServeAuthConfig } from '../config/serve.ts';
import { isLoopback, type Listen } from '../core/listen.ts';
import type { Log } from '../core/log.ts';
import type { Clock } from '../core/units.ts';
import type { DashboardOptions } from '../http/desk.ts';
import type { Entry } from '../http/people.ts';
import type { WatchedStatus } from '../observe/watch.ts';
import { queueOptions } from '../queue-options.ts';
import { ClusterPages } from './dashboard-source.ts';
import { QueueDoor } from './queue-door.ts';

export type OpenDashboardOptions = {
  /** the config of this moment */
  config: () => Config;
  fleet: () => readonly WatchedStatus[];
  listen: Listen;
  clock: Clock;
  log: Log;
};

/**
 * The parts of the dashboard that openHttp wants; the caller disposes `queue`. Rejects with E_CONFIG_INVALID when a secret
 * that it needs cannot be read.
 */
export async function openDashboard(
  options: OpenDashboardOptions,
  signal: AbortSignal,
): Promise<Omit<DashboardOptions, 'clock' | 'log' | 'queue'> & { queue: QueueDoor | null }> {
  const { config, fleet, listen, clock, log } = options;
  // Better now than at the first visit.
  const { auth } = config().serve;
  await Promise.all([auth?.token?.resolve(signal), auth?.operatorToken?.resolve(signal)]);
  const isLocal = isLoopback(listen.host);
  let lock = auth;
  return {
    source: new ClusterPages({ config, fleet, clock, log }),
    queue:
      config().queue === undefined ? null : new QueueDoor({ redis: await queueOptions(config(), signal), config, log }),
    entry: () => {
      // What had a lock keeps it until the next start, whatever the file says meanwhile.
      lock = config().serve.auth ?? lock;
      return entryOf(lock, isLocal);
    },
    allowActions: () => config().serve.allowActions,
  };
}

function entryOf(auth: ServeAuthConfig | undefined, isLocal: boolean): Entry {
  if (auth === undefined) return isLocal ? 'local' : 'closed';
  const { token, operatorToken, proxy, session, origin = null } = auth;
  return {
    token: token === undefined ? null : (signal) => token.resolve(signal),
    operatorToken: operatorToken === undefined ? null : (signal) => operatorToken.resolve(signal),
    proxy:
      proxy === undefined
        ? null
        : {
            header: proxy.header,
            groupsHeader: proxy.groupsHeader ?? null,
            operatorGroup: proxy.operatorGroup ?? null,
            trusted: proxy.trusted,
          },
    sessionMs: session,
    origin,
  };
}
