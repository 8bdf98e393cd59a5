/** Is the queue's Redis one that the worker will start on? */
import type { Config } from '../config/load.ts';
import { openRedis } from '../queue/redis.ts';
import { checkRedis } from '../queue/redis-check.ts';
import type { RedisFinding } from '../queue/redis-judge.ts';
import { queueOptions } from '../queue-options.ts';
import { type Outcome, ok, problem, unknown, warning } from './finding.ts';
import type { Check } from './run-checks.ts';

const READY_MS = 10_000;

export function queueChecks(config: Config): Check[] {
  if (config.queue === undefined) {
    const said = unknown(
      'queue',
      'none is configured: strongroom worker needs one, timers that run strongroom job run do not',
    );
    return [{ area: 'queue', what: 'queue', run: () => Promise.resolve([said]) }];
  }
  return [{ area: 'queue', what: 'queue', limitMs: 30_000, run: (signal) => askRedis(config, signal) }];
}

async function askRedis(config: Config, signal: AbortSignal): Promise<Outcome[]> {
  const options = await queueOptions(config, signal);
  await using redis = openRedis(options, { role: 'producer' });
  await redis.untilReady(READY_MS, signal);
  const found = await checkRedis(redis, signal);
  const safety = options.tls === undefined ? 'without TLS' : 'by TLS, with a certificate that is trusted';
  return [ok('queue', `${redis.name} answers, ${safety}; keys begin with ${redis.prefix}`), ...found.map(outcomeOf)];
}

function outcomeOf({ check, verdict, says, hint }: RedisFinding): Outcome {
  const what = `queue, ${check}`;
  const fix = hint ?? 'set appendonly yes in redis.conf';
  switch (verdict) {
    case 'ok':
      return ok(what, says);
    case 'note':
      return warning(what, says, fix);
    case 'cannot be asked':
      return unknown(what, says, hint ?? null);
    case 'fails':
      return problem(what, says, hint ?? 'use another Redis for the queue');
  }
}
