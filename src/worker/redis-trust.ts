/** Whether the Redis of a worker is one that a queue can be trusted to, said in its log before it takes the first job. */
import type { Log } from '../core/log.ts';
import type { RedisConnection } from '../queue/redis.ts';
import { checkRedis, refusalOf } from '../queue/redis-check.ts';

/** Without these nothing runs at all. An evicting Redis loses jobs, which are made again from the config: late is better than never. */
const VITAL: readonly string[] = ['version', 'rights'];

/**
 * Logs what is wrong, and what cannot be asked. Rejects with E_QUEUE_DENIED or E_QUEUE_CONFIG when Redis can never hold the queue, with
 * E_QUEUE_UNREACHABLE when it does not answer, with `signal.reason` on abort.
 */
export async function judgeRedis(redis: RedisConnection, log: Log, signal: AbortSignal): Promise<void> {
  const findings = await checkRedis(redis, signal);
  const refusal = refusalOf(
    findings.filter(({ check }) => VITAL.includes(check)),
    redis.name,
  );
  if (refusal !== null) throw refusal;
  for (const { check, verdict, says, hint } of findings) {
    const line = { check, says, ...(hint === undefined ? {} : { hint }) };
    if (verdict === 'fails') log.error(line, 'Redis is not set up for a queue');
    else if (verdict === 'cannot be asked') log.warn(line, 'it is not known whether Redis is set up for a queue');
    else if (verdict === 'note') log.info(line, 'a note about Redis');
  }
}
