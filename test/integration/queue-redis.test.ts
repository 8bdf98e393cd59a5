import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oldestRedis } from '../../scripts/test-tools.ts';
import { isError } from '../../src/core/errors.ts';
import { Secret } from '../../src/core/secret.ts';
import type { RedisOptions } from '../../src/queue/redis-options.ts';
import { createPki, type Pki } from '../support/pki.ts';
import { startRedisCluster } from '../support/redis-cluster.ts';
import { openJobLine } from '../support/redis-jobs.ts';
import { BASE, open, single } from '../support/redis-open.ts';
import { PRIMARY_NAME, startRedisSentinels } from '../support/redis-sentinel.ts';
import { startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';

let scratch: string;
let pki: Pki;
let foreign: Pki;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'strongroom-queue-redis-'));
  [pki, foreign] = await Promise.all([createPki(join(scratch, 'own')), createPki(join(scratch, 'foreign'))]);
});
afterAll(async () => {
  await rm(scratch, { recursive: true });
});

const never = new AbortController().signal;
const secret = (text: string): { password: Secret } => ({ password: new Secret(text) });

/** One job from a producer to a worker, each on a connection of its own. */
async function carriesJobs(options: RedisOptions): Promise<void> {
  await using producer = open(options).connection;
  await using worker = open(options, 'worker').connection;
  await Promise.all([producer.untilReady(10_000, never), worker.untilReady(10_000, never)]);
  await using line = await openJobLine(producer, worker);
  expect(await line.run()).toBe(1);
  expect(line.done).toEqual([1]);
  expect(line.errors).toEqual([]);
}

/** How untilReady fails, and how long that took. */
async function refusal(options: RedisOptions, role: 'producer' | 'worker' = 'worker') {
  const { states, connection } = open(options, role);
  await using _ = connection;
  const start = performance.now();
  const error = await connection.untilReady(15_000, never).then(
    () => 'was ready',
    (e: unknown) => (isError(e) ? e : String(e)),
  );
  if (typeof error === 'string') throw new Error(error);
  const ms = performance.now() - start;
  // Where ioredis never gets while it still tries; a cluster stays at the first when it had no socket open.
  const over = ['disconnecting', 'end'];
  await until('the end of all attempts', async () => over.includes(connection.client.status) || undefined);
  return { error, ms, states };
}

describe.each(['8.2.3' as const, ...(oldestRedis().length > 0 ? (['6.2.14'] as const) : [])])('Redis %s', (version) => {
  it('carries jobs by its address alone', async () => {
    await using server = await startRedis({ version });
    await carriesJobs(single(server));
    expect(await server.command('exists', 'strongroom:pulse')).toBe(1);
  });

  it('carries jobs for the default user with a password, in a database of its own', async () => {
    await using server = await startRedis({ version, password: 'hunter2' });
    await carriesJobs(single(server, { ...secret('hunter2'), db: 3 }));
    expect(await server.command('dbsize')).toBe(0);
  });

  it('carries jobs for an ACL user with the rights that the hint names', async () => {
    const rights = '~strongroom:* +@all -@admin -@dangerous +info';
    await using server = await startRedis({ version, password: 'x', users: [`worker on >hunter2 ${rights}`] });
    await carriesJobs(single(server, { username: 'worker', ...secret('hunter2') }));
  });

  it('carries jobs for a user who may not ask: no INFO, CONFIG, CLUSTER', async () => {
    const rights = '~strongroom:* +@all -@admin -@dangerous -info -config -cluster';
    await using server = await startRedis({ version, password: 'x', users: [`worker on >hunter2 ${rights}`] });
    await carriesJobs(single(server, { username: 'worker', ...secret('hunter2') }));
  });

  it('carries jobs over TLS with an authority of its own, and a client certificate', async () => {
    const certificate = await pki.issue({ name: `redis-${version}` });
    const client = await pki.issue({ name: `client-${version}`, hosts: ['client'] });
    await using server = await startRedis({ version, tls: { certificate, clientCa: pki.caPem } });
    const [cert, key] = await Promise.all([readFile(client.certFile, 'utf8'), readFile(client.keyFile, 'utf8')]);
    await carriesJobs(single(server, { tls: { ca: pki.caPem, cert, key: new Secret(key) } }));
    expect(server.secured).toBeGreaterThanOrEqual(3);
  });
});

describe('what no waiting mends is told at once, once, and not tried again', () => {
  type Row = [
    what: string,
    code: string,
    message: RegExp,
    hint: RegExp,
    at: () => Promise<[AsyncDisposable, RedisOptions]>,
  ];
  const withServer =
    (start: Parameters<typeof startRedis>[0], more: Partial<RedisOptions> = {}) =>
    async (): Promise<[AsyncDisposable, RedisOptions]> => {
      const server = await startRedis(start);
      return [server, single(server, more)];
    };
  const rows: Row[] = [
    [
      'a wrong password',
      'E_QUEUE_DENIED',
      /refuses the user or the password/,
      /queue\.password/,
      withServer({ password: 'a' }, secret('hunter2')),
    ],
    [
      'no password',
      'E_QUEUE_DENIED',
      /wants a password, and none is configured/,
      /queue\.password/,
      withServer({ password: 'a' }),
    ],
    [
      'an unknown user',
      'E_QUEUE_DENIED',
      /refuses the user/,
      /queue\.username/,
      withServer({}, { username: 'nobody', ...secret('hunter2') }),
    ],
    [
      'a user without rights to our keys',
      'E_QUEUE_DENIED',
      /may not do this/,
      /~<prefix>:\*/,
      withServer({ users: ['worker on >hunter2 ~other:* +@all'] }, { username: 'worker', ...secret('hunter2') }),
    ],
    [
      'a database that is not there',
      'E_QUEUE_CONFIG',
      /no database of that number/,
      /queue\.db/,
      withServer({}, { db: 99 }),
    ],
    [
      'a cluster that is none',
      'E_QUEUE_CONFIG',
      /no CLUSTER commands/,
      /queue\.url/,
      async () => {
        const server = await startRedis();
        return [server, { at: { type: 'cluster', nodes: [server.address] }, ...BASE }];
      },
    ],
    ['TLS to a port without', 'E_QUEUE_TLS', /does not speak TLS/, /redis:\/\//, withServer({}, { tls: {} })],
    [
      'another authority',
      'E_QUEUE_TLS',
      /not signed by a CA that is trusted/,
      /queue\.tls\.ca/,
      async () => {
        const server = await startRedis({ tls: { certificate: await pki.issue({ name: 'a' }) } });
        return [server, single(server, { tls: { ca: foreign.caPem } })];
      },
    ],
    [
      'a certificate for another name',
      'E_QUEUE_TLS',
      /for another name/,
      /queue\.tls\.serverName`: DNS:elsewhere/,
      async () => {
        const server = await startRedis({ tls: { certificate: await pki.issue({ name: 'b', hosts: ['elsewhere'] }) } });
        return [server, single(server, { tls: { ca: pki.caPem } })];
      },
    ],
  ];

  it.each(rows)('%s: %s', async (_what, code, message, hint, at) => {
    const [server, options] = await at();
    await using _ = server;
    const { error, ms, states } = await refusal(options);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string, retryable: false });
    expect(error.hint).toMatch(hint);
    expect(ms).toBeLessThan(10_000);
    expect(states.map(({ state }) => state)).not.toContain('ready');
    expect(states.at(-1)?.why).toBe(error);
    expect(JSON.stringify([error, states])).not.toContain('hunter2');
  });

  it('certificates that are none', () => {
    const tls = { ca: '-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n' };
    expect(() => open({ at: { type: 'single', address: '127.0.0.1:1' }, ...BASE, tls })).toThrow(
      expect.objectContaining({ code: 'E_QUEUE_CONFIG' }),
    );
  });
});

describe('Sentinel', () => {
  const options = (addresses: readonly string[], more: Partial<RedisOptions> = {}): RedisOptions => ({
    at: { type: 'sentinel', sentinels: addresses, name: PRIMARY_NAME },
    ...BASE,
    ...more,
  });

  it.each([
    ['plain', false],
    ['with TLS and passwords', true],
  ])('%s: carries jobs, and goes on by itself after a failover', async (_name, isGuarded) => {
    const certificate = await pki.issue({ name: 'sentinels' });
    await using group = await startRedisSentinels(
      isGuarded ? { password: 'data', sentinelPassword: 'watch', tls: { certificate } } : {},
    );
    const at: RedisOptions['at'] = {
      type: 'sentinel',
      sentinels: group.addresses,
      name: PRIMARY_NAME,
      ...(isGuarded ? secret('watch') : {}),
    };
    const how = { ...BASE, at, ...(isGuarded ? { ...secret('data'), tls: { ca: pki.caPem } } : {}) };
    const producer = open(how);
    const worker = open(how, 'worker');
    await using one = producer.connection;
    await using two = worker.connection;
    await Promise.all([one.untilReady(10_000, never), two.untilReady(10_000, never)]);
    await using line = await openJobLine(one, two);
    expect(await line.run()).toBe(1);

    await group.failover();
    await Promise.all([one.untilReady(30_000, never), two.untilReady(30_000, never)]);
    const number = await line.run(30_000);
    expect(line.done).toContain(number);
    for (const { states } of [producer, worker]) {
      expect(states.map(({ state }) => state)).toContain('away');
      expect(states.at(-1)).toMatchObject({ state: 'ready', why: null });
    }
  });

  it.each([
    ['another name', { name: 'elsewhere' }, 'E_QUEUE_CONFIG', /know no such name/],
    ['a wrong password of the sentinels', secret('hunter2'), 'E_QUEUE_DENIED', /the sentinels refuse us/],
    ['no password for the sentinels', {}, 'E_QUEUE_DENIED', /the sentinels refuse us/],
  ])('%s is told at once', async (_what, more, code, message) => {
    await using group = await startRedisSentinels({ sentinelPassword: 'watch' });
    const at: RedisOptions['at'] = {
      type: 'sentinel',
      sentinels: group.addresses,
      name: PRIMARY_NAME,
      ...('name' in more ? secret('watch') : {}),
      ...more,
    };
    const { error, ms } = await refusal({ ...BASE, at });
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(ms).toBeLessThan(10_000);
    expect(JSON.stringify(error)).not.toContain('hunter2');
  });

  it('another authority at the sentinels is named, which ioredis itself does not tell', async () => {
    const certificate = await pki.issue({ name: 'sentinels-foreign' });
    await using group = await startRedisSentinels({ tls: { certificate } });
    const { error } = await refusal(options(group.addresses, { tls: { ca: foreign.caPem } }));
    expect(error).toMatchObject({
      code: 'E_QUEUE_TLS',
      message: expect.stringContaining('not signed by a CA') as string,
    });
  });
});

describe('Cluster', () => {
  it.each([
    ['plain', false],
    ['with TLS and a password', true],
  ])('%s: carries jobs, all keys of a queue on one node', async (_name, isGuarded) => {
    const certificate = await pki.issue({ name: 'cluster' });
    await using cluster = await startRedisCluster(isGuarded ? { password: 'data', tls: { certificate } } : {});
    const at: RedisOptions['at'] = { type: 'cluster', nodes: cluster.addresses };
    await carriesJobs({ ...BASE, at, ...(isGuarded ? { ...secret('data'), tls: { ca: pki.caPem } } : {}) });
    const owner = await cluster.ownerOf('{strongroom}');
    for (const node of cluster.nodes) {
      const keys = Number(await node.command('dbsize'));
      if (node === owner) expect(keys).toBeGreaterThan(1);
      else expect(keys).toBe(0);
    }
  });

  it('a wrong password and another authority are told at once; a node asked as if it were alone, too', async () => {
    const certificate = await pki.issue({ name: 'cluster-refused' });
    await using cluster = await startRedisCluster({ password: 'data', tls: { certificate } });
    const at: RedisOptions['at'] = { type: 'cluster', nodes: cluster.addresses };
    const trusted = { tls: { ca: pki.caPem } };
    const denied = await refusal({ ...BASE, at, ...trusted, ...secret('hunter2') });
    expect(denied.error).toMatchObject({ code: 'E_QUEUE_DENIED' });
    const untrusted = await refusal({ ...BASE, at, tls: { ca: foreign.caPem }, ...secret('data') });
    expect(untrusted.error).toMatchObject({ code: 'E_QUEUE_TLS' });
    const owner = await cluster.ownerOf('strongroom:pulse');
    const other = cluster.addresses.find((address) => address !== owner.address) ?? '';
    const alone = await refusal({ ...BASE, at: { type: 'single', address: other }, ...trusted, ...secret('data') });
    expect(alone.error).toMatchObject({
      code: 'E_QUEUE_CONFIG',
      message: expect.stringContaining('is a node of a Redis Cluster') as string,
    });
  });

  it('is away while the node of the queue is, though the others answer, and comes back', async () => {
    await using cluster = await startRedisCluster();
    const { states, connection } = open({ ...BASE, at: { type: 'cluster', nodes: cluster.addresses } }, 'worker');
    await using redis = connection;
    await redis.untilReady(10_000, never);
    const owner = await cluster.ownerOf('{strongroom}');
    await owner.kill();
    await until('away', async () => redis.state.state === 'away' || undefined);
    await owner.restart();
    await redis.untilReady(30_000, never);
    expect(states.at(-1)?.state).toBe('ready');
  });
});
