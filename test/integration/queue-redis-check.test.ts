import { describe, expect, it } from 'vitest';
import { oldestRedis } from '../../scripts/test-tools.ts';
import { Secret } from '../../src/core/secret.ts';
import { checkRedis, refusalOf } from '../../src/queue/redis-check.ts';
import type { RedisFinding } from '../../src/queue/redis-judge.ts';
import type { RedisOptions } from '../../src/queue/redis-options.ts';
import { startRedisCluster } from '../support/redis-cluster.ts';
import { BASE, open, single } from '../support/redis-open.ts';
import { type RedisServer, type RedisServerOptions, startRedis } from '../support/redis-server.ts';

const never = new AbortController().signal;

async function findings(options: RedisOptions): Promise<RedisFinding[]> {
  await using redis = open(options, 'worker').connection;
  await redis.untilReady(10_000, never);
  return await checkRedis(redis, never);
}

/** `check: verdict` of each finding. */
const verdicts = (found: readonly RedisFinding[]): Record<string, string> =>
  Object.fromEntries(found.map(({ check, verdict }) => [check, verdict]));
const GOOD = { version: 'ok', eviction: 'ok', persistence: 'ok', writes: 'ok', rights: 'ok' };

describe.each(['8.2.3' as const, ...(oldestRedis().length > 0 ? (['6.2.14'] as const) : [])])('Redis %s', (version) => {
  const start = (options: RedisServerOptions = {}): Promise<RedisServer> =>
    startRedis({ version, appendOnly: true, ...options });
  const asUser = (server: RedisServer): RedisOptions =>
    single(server, { username: 'worker', password: new Secret('hunter2') });

  it('is good when it is set up as the docs say', async () => {
    await using server = await start();
    const found = await findings(single(server));
    expect(verdicts(found)).toEqual(GOOD);
    expect(found[0]?.says).toBe(`Redis ${version}`);
    expect(refusalOf(found, 'x')).toBeNull();
    expect(await server.command('exists', 'strongroom:probe:rights')).toBe(0);
  });

  it('is refused when it evicts, and without persistence worth a note', async () => {
    await using server = await start({ evictionPolicy: 'allkeys-lru', appendOnly: false });
    const found = await findings(single(server));
    expect(verdicts(found)).toEqual({ ...GOOD, eviction: 'fails', persistence: 'note' });
    expect(refusalOf(found, server.url)).toMatchObject({
      code: 'E_QUEUE_CONFIG',
      message: `${server.url} cannot hold the queue: maxmemory-policy is allkeys-lru: Redis may throw jobs away`,
      hint: expect.stringContaining('CONFIG SET maxmemory-policy noeviction') as string,
    });
  });

  it('is refused as a replica and when it is full', async () => {
    await using server = await start();
    await using redis = open(single(server), 'worker').connection;
    await redis.untilReady(10_000, never);
    await server.makeReadOnly();
    const replica = await checkRedis(redis, never);
    expect(verdicts(replica)).toEqual({ ...GOOD, writes: 'fails' });
    expect(refusalOf(replica, 'x')?.message).toContain('is a read-only replica');
    await server.makeWritable();
    await server.command('config', 'set', 'maxmemory', '1');
    expect(verdicts(await checkRedis(redis, never))).toEqual({ ...GOOD, writes: 'fails' });
  });

  it('is refused to a user without the rights, each named with its category', async () => {
    await using server = await start({
      users: ['worker on >hunter2 ~strongroom:* +@all -@admin -@dangerous +info +config -@hash -@stream -zrem'],
    });
    const found = await findings(asUser(server));
    expect(verdicts(found)).toEqual({ ...GOOD, rights: 'fails' });
    const rights = found.find(({ check }) => check === 'rights');
    expect(rights?.says).toMatch(/^the user may not run @hash \(hget, .*\), @sortedset \(zrem\), @stream \(xlen, /);
    expect(rights?.hint).toBe('ACL SETUSER <user> ~strongroom:* +@hash +@sortedset +@stream');
    expect(refusalOf(found, 'x')?.code).toBe('E_QUEUE_DENIED');
  });

  it('is refused to a user without scripts', async () => {
    await using server = await start({ users: ['worker on >hunter2 ~strongroom:* +@all -@scripting'] });
    const rights = (await findings(asUser(server))).find(({ check }) => check === 'rights');
    expect(rights).toMatchObject({ verdict: 'fails', says: 'the user may not run @scripting (eval)' });
  });

  it('is not refused to a user who may not ask: what cannot be known is said', async () => {
    await using server = await start({
      users: ['worker on >hunter2 ~strongroom:* +@all -@admin -@dangerous -info -config -cluster'],
    });
    const found = await findings(asUser(server));
    const unknown = 'cannot be asked';
    expect(verdicts(found)).toEqual({ ...GOOD, version: unknown, eviction: unknown, persistence: unknown });
    expect(refusalOf(found, 'x')).toBeNull();
  });
});

it('a cluster is as bad as its worst node, which is named', async () => {
  await using cluster = await startRedisCluster();
  const [, second] = cluster.nodes;
  await second?.command('config', 'set', 'maxmemory-policy', 'volatile-lru');
  const found = await findings({ ...BASE, at: { type: 'cluster', nodes: cluster.addresses } });
  expect(verdicts(found)).toEqual({ ...GOOD, eviction: 'fails', persistence: 'note' });
  expect(found.find(({ check }) => check === 'eviction')?.says).toBe(
    `${second?.address}: maxmemory-policy is volatile-lru: Redis may throw jobs away`,
  );
});

it('a Redis that has gone silent is unreachable, not bad', async () => {
  await using server = await startRedis();
  await using redis = open(single(server), 'worker').connection;
  await redis.untilReady(10_000, never);
  server.pause();
  await expect(checkRedis(redis, never)).rejects.toMatchObject({ code: 'E_QUEUE_UNREACHABLE' });
  const stop = new AbortController();
  const asked = checkRedis(redis, stop.signal);
  stop.abort(new Error('enough'));
  await expect(asked).rejects.toThrow('enough');
});
