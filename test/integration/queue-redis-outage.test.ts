import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../src/core/secret.ts';
import type { RedisState } from '../../src/queue/redis.ts';
import { redisError } from '../../src/queue/redis-errors.ts';
import { openJobLine } from '../support/redis-jobs.ts';
import { open, single } from '../support/redis-open.ts';
import { startRedis } from '../support/redis-server.ts';
import { startTcp } from '../support/tcp-server.ts';
import { until } from '../support/until.ts';

const never = new AbortController().signal;
const states = (told: readonly RedisState[]): string[] => told.map(({ state }) => state);

/** Waits until the last state told is `away` for `reason`. */
function away(told: readonly RedisState[], reason: RegExp): Promise<RedisState> {
  return until(`away: ${reason}`, async () => {
    const last = told.at(-1);
    return last?.state === 'away' && reason.test(last.why?.message ?? '') ? last : undefined;
  });
}

describe('Redis', () => {
  it('stopped and back: both say so, a producer is refused within seconds, and the worker goes on by itself', async () => {
    await using server = await startRedis({ appendOnly: true });
    const [producer, worker] = [open(single(server)), open(single(server), 'worker')];
    await using one = producer.connection;
    await using two = worker.connection;
    await Promise.all([one.untilReady(10_000, never), two.untilReady(10_000, never)]);
    await using line = await openJobLine(one, two);
    await line.run();

    await server.stop();
    await Promise.all([away(producer.states, /nothing listens at/), away(worker.states, /nothing listens at/)]);
    const start = performance.now();
    const refused = await line.add().then(
      () => null,
      (e: unknown) => redisError(e, one.name),
    );
    expect(refused).toMatchObject({ code: 'E_QUEUE_UNREACHABLE', retryable: true });
    // Refused, not kept for later: whoever was told "no" must not see it done.
    expect(refused?.cause).toMatchObject({ message: expect.stringContaining("isn't writeable") as string });
    expect(performance.now() - start).toBeLessThan(5_000);
    await expect(one.untilReady(300, never)).rejects.toMatchObject({
      code: 'E_QUEUE_UNREACHABLE',
      message: `nothing listens at ${server.url}`,
    });

    await server.restart();
    await Promise.all([one.untilReady(20_000, never), two.untilReady(20_000, never)]);
    await line.run();
    expect(line.done).toEqual([1, 3]);
    for (const told of [producer.states, worker.states]) {
      expect(states(told)[0]).toBe('ready');
      expect(states(told).at(-1)).toBe('ready');
      expect(new Set(told.filter(({ state }) => state === 'away').map(({ since }) => since)).size).toBe(1);
    }
  });

  it('not there at first: waited for, and found when it comes', async () => {
    await using server = await startRedis();
    await server.stop();
    const { states: told, connection } = open(single(server), 'worker');
    await using redis = connection;
    await expect(redis.untilReady(500, never)).rejects.toMatchObject({ code: 'E_QUEUE_UNREACHABLE' });
    expect(redis.state.state).toBe('away');
    await server.restart();
    await redis.untilReady(20_000, never);
    expect(states(told)).toEqual(['away', 'ready']);
  });

  it('silent, with its connections open: a producer is refused, both say so, and both come back', async () => {
    await using server = await startRedis();
    const [producer, worker] = [open(single(server)), open(single(server), 'worker')];
    await using one = producer.connection;
    await using two = worker.connection;
    await Promise.all([one.untilReady(10_000, never), two.untilReady(10_000, never)]);
    await using line = await openJobLine(one, two);
    await line.run();
    server.pause();
    const start = performance.now();
    const refused = await line.add().then(
      () => null,
      (e: unknown) => redisError(e, one.name),
    );
    expect(refused).toMatchObject({ code: 'E_QUEUE_UNREACHABLE' });
    expect(performance.now() - start).toBeLessThan(15_000);
    await Promise.all([away(producer.states, /./), away(worker.states, /no answer in time/)]);
    server.resume();
    await Promise.all([one.untilReady(20_000, never), two.untilReady(20_000, never)]);
    await line.run();
  });

  it('read-only: away although it answers, without a storm of connections, and back when it is the primary', async () => {
    await using server = await startRedis();
    const { states: told, connection } = open(single(server), 'worker');
    await using redis = connection;
    await redis.untilReady(10_000, never);
    await server.makeReadOnly();
    await away(told, /read-only replica/);
    const connections = Number((await server.info('stats')).get('total_connections_received'));
    expect(connections).toBeLessThan(30);
    await server.makeWritable();
    await redis.untilReady(20_000, never);
  });

  it('moved behind an address that stays: the connection to what is now a replica is given up for a new one', async () => {
    await using old = await startRedis();
    await using next = await startRedis();
    let primary = old;
    await using proxy = await startTcp((client) => {
      const upstream = connect(primary.port, '127.0.0.1');
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        from.on('error', () => to.destroy()).once('close', () => to.destroy());
        from.pipe(to);
      }
    });
    const { states: told, connection } = open(
      { ...single(old), at: { type: 'single', address: `127.0.0.1:${proxy.port}` } },
      'worker',
    );
    await using redis = connection;
    await redis.untilReady(10_000, never);
    primary = next;
    await old.makeReadOnly();
    await until('the pulse at the new primary', async () =>
      (await next.command('exists', 'strongroom:pulse')) === 1 ? true : undefined,
    );
    await redis.untilReady(10_000, never);
    expect(states(told).at(-1)).toBe('ready');
  });

  it('full: away although it answers, and back when there is room', async () => {
    await using server = await startRedis();
    const { states: told, connection } = open(single(server), 'worker');
    await using redis = connection;
    await redis.untilReady(10_000, never);
    await server.command('config', 'set', 'maxmemory', '1');
    await away(told, /no room in/);
    await server.command('config', 'set', 'maxmemory', '0');
    await redis.untilReady(20_000, never);
    expect(states(told)).toEqual(['ready', 'away', 'ready']);
  });

  it('flushed: the next job is done all the same', async () => {
    await using server = await startRedis();
    await using one = open(single(server)).connection;
    await using two = open(single(server), 'worker').connection;
    await Promise.all([one.untilReady(10_000, never), two.untilReady(10_000, never)]);
    await using line = await openJobLine(one, two);
    await line.run();
    await server.flush();
    await line.run();
    expect(line.done).toEqual([1, 2]);
  });

  it('with another password than this morning: says so, does not stop, and is back when it is put right', async () => {
    await using server = await startRedis({ users: ['worker on >hunter2 ~* +@all'] });
    const login = { username: 'worker', password: new Secret('hunter2') };
    const { states: told, connection } = open(single(server, login), 'worker');
    await using redis = connection;
    await redis.untilReady(10_000, never);
    await server.command('acl', 'setuser', 'worker', 'resetpass', '>other');
    await server.command('client', 'kill', 'user', 'worker');
    const { why } = await away(told, /refuses the user or the password/);
    expect(why).toMatchObject({ code: 'E_QUEUE_DENIED', retryable: false });
    await server.command('acl', 'setuser', 'worker', '>hunter2');
    await redis.untilReady(20_000, never);
    expect(JSON.stringify(told)).not.toContain('hunter2');
  });
});

describe('waiting', () => {
  it('ends with the reason of the abort', async () => {
    await using server = await startRedis();
    await server.stop();
    await using redis = open(single(server)).connection;
    const stop = new AbortController();
    const waiting = redis.untilReady(30_000, stop.signal);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });

  it('ends when the connection is closed, which takes no time while there is no socket', async () => {
    await using server = await startRedis();
    await server.stop();
    const { states: told, connection } = open(single(server), 'worker');
    const waiting = connection.untilReady(30_000, never).catch((e: unknown) => e);
    await away(told, /nothing listens/);
    const start = performance.now();
    await connection[Symbol.asyncDispose]();
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(await waiting).toMatchObject({ code: 'E_BUG' });
  });
});
