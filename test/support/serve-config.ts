/** strongroom serve inside the test's process, by a config file. */
import { loadConfig } from '../../src/config/load.ts';
import { type Log, silentLog } from '../../src/core/log.ts';
import { type Clock, systemClock } from '../../src/core/units.ts';
import { serve } from '../../src/watch/serve.ts';

export type Served = AsyncDisposable & { url: string };

/** Serves on a free port of 127.0.0.1 until it is disposed, which waits for its end. */
export async function serveConfig(file: string, how: { log?: Log; clock?: Clock } = {}): Promise<Served> {
  const load = () => loadConfig(file, { env: {} });
  const stop = new AbortController();
  const listening = Promise.withResolvers<string>();
  const options = {
    config: await load(),
    load,
    listen: { host: '127.0.0.1', port: 0 },
    clock: how.clock ?? systemClock,
    log: how.log ?? silentLog,
    onListening: listening.resolve,
  };
  const served = serve(options, stop.signal);
  served.catch(listening.reject);
  const url = await listening.promise;
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await served;
    },
  };
}

/** Follows `/events`; `text` is what came so far. The caller disposes it. */
export async function followEvents(
  url: string,
  headers: Record<string, string>,
): Promise<AsyncDisposable & { response: Response; text: () => string; ended: Promise<void> }> {
  const stop = new AbortController();
  const response = await fetch(`${url}/events`, { headers, signal: stop.signal });
  let text = '';
  const ended = (async () => {
    for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
  })().catch(() => undefined);
  return {
    response,
    text: () => text,
    ended,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ended;
    },
  };
}
