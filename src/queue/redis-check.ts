/** Whether this Redis is one that a queue can be trusted to: asked before the worker starts, and by `doctor`. */
import { Cluster, ReplyError } from 'ioredis';
import { StrongroomError } from '../core/errors.ts';
import type { RedisClient } from './redis-client.ts';
import { redisError, silent } from './redis-errors.ts';
import { judge, type NodeFacts, parseInfo, type RedisFinding } from './redis-judge.ts';
import { refusedCommands } from './redis-rights.ts';

const ANSWER_MS = 5_000;

/** The part of a RedisConnection that is asked. */
export type CheckedRedis = { client: RedisClient; prefix: string; name: string };

/**
 * One finding for each of version, eviction, writes, rights and persistence; in a cluster of the worst primary. What a
 * provider or an ACL keeps to itself is told as `cannot be asked`. Rejects with E_QUEUE_UNREACHABLE and its like when
 * there is no answer at all, with `signal.reason` on abort.
 */
export async function checkRedis(redis: CheckedRedis, signal: AbortSignal): Promise<RedisFinding[]> {
  const { client, name } = redis;
  const nodes = client instanceof Cluster ? client.nodes('master') : [client];
  if (nodes.length === 0) throw redisError(undefined, name);
  const facts: NodeFacts[] = [];
  for (const node of nodes) {
    const info = await ask(() => node.info(), name, signal);
    const config = async (option: string): Promise<string | null> => {
      const answer = await ask(() => node.config('GET', option), name, signal);
      return Array.isArray(answer) && typeof answer[1] === 'string' ? answer[1] : null;
    };
    facts.push({
      node: client instanceof Cluster ? `${node.options.host}:${node.options.port}` : null,
      info: info === null ? null : parseInfo(info),
      policy: await config('maxmemory-policy'),
      save: await config('save'),
      appendOnly: await config('appendonly'),
    });
  }
  return [...judge(facts), await checkWrites(redis, signal), await checkRights(redis, signal)];
}

/** E_QUEUE_DENIED for missing rights, else E_QUEUE_CONFIG, with all that fails; null when nothing does. */
export function refusalOf(findings: readonly RedisFinding[], name: string): StrongroomError | null {
  const failed = findings.filter(({ verdict }) => verdict === 'fails');
  const [first] = failed;
  if (first === undefined) return null;
  const code = failed.every(({ check }) => check === 'rights') ? 'E_QUEUE_DENIED' : 'E_QUEUE_CONFIG';
  return new StrongroomError(code, `${name} cannot hold the queue: ${failed.map(({ says }) => says).join('; ')}`, {
    hint: failed.flatMap(({ hint }) => hint ?? []).join('; '),
    details: { failed: failed.map(({ check }) => check) },
  });
}

async function checkWrites({ client, prefix, name }: CheckedRedis, signal: AbortSignal): Promise<RedisFinding> {
  const isWritten = async (): Promise<RedisFinding> => {
    await client.set(`${prefix}:probe`, '1', 'PX', 1_000);
    return { check: 'writes', verdict: 'ok', says: 'a write is taken' };
  };
  try {
    return await answered(isWritten, name, signal);
  } catch (e) {
    signal.throwIfAborted();
    const { code, message, hint } = redisError(e, name);
    if (!(e instanceof ReplyError)) throw redisError(e, name);
    if (code === 'E_QUEUE_DENIED') {
      return {
        check: 'writes',
        verdict: 'cannot be asked',
        says: 'whether writes are taken cannot be asked: SET is refused',
      };
    }
    return { check: 'writes', verdict: 'fails', says: message, ...(hint === undefined ? {} : { hint }) };
  }
}

async function checkRights({ client, prefix, name }: CheckedRedis, signal: AbortSignal): Promise<RedisFinding> {
  const keys = `~${prefix}:*`;
  try {
    const refused = await answered(() => refusedCommands(client, prefix), name, signal);
    if (refused.size === 0) return { check: 'rights', verdict: 'ok', says: 'the user may run what a queue needs' };
    const list = [...refused].map(([category, commands]) => `${category} (${commands.join(', ')})`);
    return {
      check: 'rights',
      verdict: 'fails',
      says: `the user may not run ${list.join(', ')}`,
      hint: `ACL SETUSER <user> ${keys} ${[...refused.keys()].map((category) => `+${category}`).join(' ')}`,
    };
  } catch (e) {
    signal.throwIfAborted();
    const error = redisError(e, name);
    if (error.code !== 'E_QUEUE_DENIED') throw error;
    const isKey = /key/i.test(e instanceof Error ? e.message : '');
    return {
      check: 'rights',
      verdict: 'fails',
      says: isKey ? `the user may not touch keys that begin with ${prefix}:` : 'the user may not run @scripting (eval)',
      hint: `ACL SETUSER <user> ${keys} +@scripting`,
    };
  }
}

/** null = refused, or unknown to this server. */
async function ask<T>(question: () => Promise<T>, name: string, signal: AbortSignal): Promise<T | null> {
  try {
    return await answered(question, name, signal);
  } catch (e) {
    signal.throwIfAborted();
    if (
      /NOPERM|unknown (?:sub)?command|not (?:allowed|supported|permitted)/i.test(e instanceof Error ? e.message : '')
    ) {
      return null;
    }
    throw redisError(e, name);
  }
}

/** Rejects with E_QUEUE_UNREACHABLE when there is no answer within 5 s: a worker's client itself waits for ever. */
async function answered<T>(question: () => Promise<T>, name: string, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const late = AbortSignal.timeout(ANSWER_MS);
  const ended = AbortSignal.any([late, signal]);
  const over = Promise.withResolvers<never>();
  const end = (): void => over.reject(signal.aborted ? signal.reason : silent(name));
  ended.addEventListener('abort', end, { once: true });
  try {
    return await Promise.race([question(), over.promise]);
  } finally {
    ended.removeEventListener('abort', end);
  }
}
