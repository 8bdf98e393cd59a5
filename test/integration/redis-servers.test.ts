import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oldestRedis } from '../../scripts/test-tools.ts';
import { createPki, type Pki } from '../support/pki.ts';
import { startRedisCluster } from '../support/redis-cluster.ts';
import { PRIMARY_NAME, startRedisSentinels } from '../support/redis-sentinel.ts';
import { type RedisServer, type RedisServerOptions, startRedis } from '../support/redis-server.ts';

let scratch: string;
let pki: Pki;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'strongroom-redis-servers-'));
  pki = await createPki(join(scratch, 'pki'));
});
afterAll(async () => {
  await rm(scratch, { recursive: true });
});

/** What a client with these credentials gets for `command`, or the error it meets. */
async function ask(
  server: RedisServer,
  login: { username?: string; password?: string; tls?: { ca: string; cert?: Buffer; key?: Buffer } },
  ...command: [string, ...string[]]
): Promise<unknown> {
  const client = new Redis({ port: server.port, host: '127.0.0.1', ...login, lazyConnect: true, retryStrategy: null });
  const errors: Error[] = [];
  client.on('error', (e) => errors.push(e));
  try {
    return await client.call(...command);
  } catch (e) {
    return `${errors[0]?.message ?? ''} ${e instanceof Error ? e.message : ''}`;
  } finally {
    client.disconnect();
  }
}

describe.each(['8.2.3' as const, ...(oldestRedis().length > 0 ? (['6.2.14'] as const) : [])])('Redis %s', (version) => {
  const start = (options: RedisServerOptions = {}): Promise<RedisServer> => startRedis({ ...options, version });

  it('is that version, keeps what it was told to keep, and is gone afterwards', async () => {
    const server = await start({ appendOnly: true });
    const directory = String(((await server.command('config', 'get', 'dir')) as string[])[1]);
    try {
      expect((await server.info()).get('redis_version')).toBe(version);
      await server.command('set', 'a', '1');
      await server.restart();
      expect(await server.command('get', 'a')).toBe('1');
      await server.kill();
      await expect(server.command('ping')).rejects.toThrow();
      await server.restart();
      expect(await server.command('get', 'a')).toBe('1');
      await server.flush();
      expect(await server.command('dbsize')).toBe(0);
      expect(existsSync(directory)).toBe(true);
    } finally {
      await server[Symbol.asyncDispose]();
    }
    await expect(server.command('ping')).rejects.toThrow();
    expect(existsSync(directory)).toBe(false);
  });

  it('forgets without a file, refuses a write when full or read-only, and answers nothing while paused', async () => {
    await using server = await start({ maxMemory: 3_000_000 });
    await server.command('set', 'a', '1');
    const fill = async (): Promise<void> => {
      for (let index = 0; index < 200; index += 1) await server.command('set', `fill-${index}`, 'x'.repeat(100_000));
    };
    await expect(fill()).rejects.toThrow(/^OOM/);
    await server.flush();
    await server.makeReadOnly();
    await expect(server.command('set', 'a', '1')).rejects.toThrow(/^READONLY/);
    await server.makeWritable();
    await server.command('set', 'a', '2');
    server.pause();
    await expect(server.command('get', 'a')).rejects.toThrow('timed out');
    server.resume();
    expect(await server.command('get', 'a')).toBe('2');
    await server.restart();
    expect(await server.command('get', 'a')).toBe(null);
  });

  it('lets in who has the password, and an ACL user to what he may', async () => {
    await using server = await start({ password: 'first', users: ['worker on >second ~q:* +get +set'] });
    expect(await ask(server, {}, 'get', 'a')).toMatch(/NOAUTH/);
    expect(await ask(server, { password: 'wrong' }, 'get', 'a')).toMatch(/WRONGPASS/);
    expect(await ask(server, { password: 'first' }, 'set', 'a', '1')).toBe('OK');
    const worker = { username: 'worker', password: 'second' };
    expect(await ask(server, worker, 'set', 'q:a', '1')).toBe('OK');
    expect(await ask(server, worker, 'get', 'a')).toMatch(/NOPERM/);
    expect(await ask(server, worker, 'del', 'q:a')).toMatch(/NOPERM/);
  });

  it('speaks TLS with the certificate it was given, and can want one', async () => {
    const certificate = await pki.issue({ name: `redis-${version}` });
    const other = await createPki(join(scratch, `other-${version}`));
    await using server = await start({ tls: { certificate } });
    expect(server.url).toMatch(/^rediss:/);
    expect(await ask(server, { tls: { ca: pki.caPem } }, 'ping')).toBe('PONG');
    expect(server.secured).toBe(1);
    expect(await ask(server, { tls: { ca: other.caPem } }, 'ping')).toMatch(/unable to verify/);
    await using strict = await start({ tls: { certificate, clientCa: pki.caPem } });
    expect(await ask(strict, { tls: { ca: pki.caPem } }, 'ping')).toMatch(/closed|certificate required|ECONNRESET/);
    const { readFile } = await import('node:fs/promises');
    const [cert, key] = await Promise.all([readFile(certificate.certFile), readFile(certificate.keyFile)]);
    expect(await ask(strict, { tls: { ca: pki.caPem, cert, key } }, 'ping')).toBe('PONG');
  });
});

describe.each([
  ['plain', false],
  ['with TLS and passwords', true],
])('three sentinels, %s', (_name, isGuarded) => {
  it('put the replica in the place of a killed primary, with its data', async () => {
    const certificate = await pki.issue({ name: 'sentinel' });
    await using group = await startRedisSentinels(
      isGuarded ? { password: 'data', sentinelPassword: 'watch', tls: { certificate } } : {},
    );
    const before = await group.primary();
    await before.command('set', 'a', '1');
    expect(await before.command('wait', 1, 5_000)).toBe(1);
    const after = await group.failover();
    expect(after.port).not.toBe(before.port);
    expect(await after.command('get', 'a')).toBe('1');
    await after.command('set', 'a', '2');
    const [sentinel] = group.sentinels;
    const said = await sentinel?.command('sentinel', 'get-master-addr-by-name', PRIMARY_NAME);
    expect(said).toEqual(['127.0.0.1', String(after.port)]);
  });
});

describe.each([
  ['plain', false],
  ['with TLS and a password', true],
])('a cluster, %s', (_name, isGuarded) => {
  it('has three primaries with all slots, and sends a key to its owner', async () => {
    const certificate = await pki.issue({ name: 'cluster' });
    await using cluster = await startRedisCluster(isGuarded ? { password: 'data', tls: { certificate } } : {});
    const [first, second, third] = cluster.nodes;
    const said = String(await first?.command('cluster', 'info'));
    expect(said).toMatch(/cluster_slots_ok:16384/);
    expect(said).toMatch(/cluster_size:3/);
    for (const key of ['a', 'b', 'c']) {
      const owner = await cluster.ownerOf(key);
      await owner.command('set', key, key);
      const other = [first, second, third].find((node) => node !== owner);
      await expect(other?.command('get', key)).rejects.toThrow(new RegExp(`^MOVED \\d+ 127.0.0.1:${owner.port}$`));
    }
  });
});
