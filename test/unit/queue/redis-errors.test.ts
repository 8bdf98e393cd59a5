import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { backoffMs } from '../../../src/queue/redis-client.ts';
import { needsAHand, redisError } from '../../../src/queue/redis-errors.ts';
import { keyPrefix, nameOf, parseAddress } from '../../../src/queue/redis-options.ts';

const coded = (code: string, message = ''): Error => Object.assign(new Error(message), { code });

describe('an error', () => {
  it.each([
    ['WRONGPASS invalid username-password pair or user is disabled.', 'E_QUEUE_DENIED', /refuses the user/],
    ['ERR invalid password', 'E_QUEUE_DENIED', /refuses the user/],
    ['NOAUTH Authentication required.', 'E_QUEUE_DENIED', /wants a password/],
    ["NOPERM User w has no permissions to run the 'hset' command", 'E_QUEUE_DENIED', /may not do this/],
    ['NOPERM No permissions to access a key', 'E_QUEUE_DENIED', /may not do this/],
    ['All sentinels are unreachable. Last error: WRONGPASS invalid', 'E_QUEUE_DENIED', /the sentinels refuse us/],
    ['All sentinels are unreachable. Last error: ERR No such master with that name', 'E_QUEUE_CONFIG', /no such name/],
    ['ERR DB index is out of range', 'E_QUEUE_CONFIG', /no database/],
    ['ERR This instance has cluster support disabled', 'E_QUEUE_CONFIG', /no CLUSTER commands/],
    ["ERR unknown command 'cluster', with args", 'E_QUEUE_CONFIG', /no CLUSTER commands/],
    ['MOVED 15495 127.0.0.1:7000', 'E_QUEUE_CONFIG', /is a node of a Redis Cluster/],
    ["OOM command not allowed when used memory > 'maxmemory'.", 'E_QUEUE_UNREACHABLE', /no room/],
    ["READONLY You can't write against a read only replica.", 'E_QUEUE_UNREACHABLE', /read-only replica/],
    ['MISCONF Redis is configured to save RDB snapshots', 'E_QUEUE_UNREACHABLE', /no writes are taken/],
    ['LOADING Redis is loading the dataset in memory', 'E_QUEUE_UNREACHABLE', /not ready/],
    ['CLUSTERDOWN The cluster is down', 'E_QUEUE_UNREACHABLE', /not ready/],
    ['Command timed out', 'E_QUEUE_UNREACHABLE', /no answer in time/],
    ["Socket timeout. Expecting data, but didn't receive any in 20000ms.", 'E_QUEUE_UNREACHABLE', /no answer in time/],
    ['Connection is closed.', 'E_QUEUE_UNREACHABLE', /no connection/],
  ])('of Redis or ioredis: %s', (message, code, says) => {
    const error = redisError(new Error(message), 'redis://r:1');
    expect(error).toMatchObject({ code, message: expect.stringMatching(says) as string });
    expect(error.message).toContain('redis://r:1');
    expect(error.hint).toBeTruthy();
    expect(needsAHand(error)).toBe(code !== 'E_QUEUE_UNREACHABLE');
  });

  it.each([
    ['ECONNREFUSED', 'E_QUEUE_UNREACHABLE', /nothing listens at/],
    ['ENOTFOUND', 'E_QUEUE_UNREACHABLE', /no such host name/],
    ['ETIMEDOUT', 'E_QUEUE_UNREACHABLE', /within the time-out/],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'E_QUEUE_TLS', /not signed by a CA/],
    ['CERT_HAS_EXPIRED', 'E_QUEUE_TLS', /has expired/],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'E_QUEUE_TLS', /refuses our side/],
  ])('of a socket: %s', (code, expected, says) => {
    expect(redisError(coded(code), 'x')).toMatchObject({
      code: expected,
      message: expect.stringMatching(says) as string,
    });
  });

  it('is found where ioredis hides it', () => {
    const hidden = Object.assign(new Error('Failed to refresh slots cache.'), { lastNodeError: new Error('NOAUTH x') });
    expect(redisError(hidden, 'x').code).toBe('E_QUEUE_DENIED');
    const aborted = Object.assign(new Error('EXECABORT'), { previousErrors: [new Error('NOPERM y')] });
    expect(redisError(aborted, 'x').code).toBe('E_QUEUE_DENIED');
    expect(redisError(new Error('a', { cause: coded('ECONNREFUSED') }), 'x').message).toBe('nothing listens at x');
    expect(redisError(new AggregateError([coded('ECONNREFUSED')]), 'x').message).toBe('nothing listens at x');
  });

  it('names the command that was refused, and keeps its cause', () => {
    const cause = new Error("NOPERM User w has no permissions to run the 'hset' command");
    expect(redisError(cause, 'x')).toMatchObject({ details: { command: 'hset' }, cause });
  });

  it('of ours passes, and anything else is unreachable', () => {
    const own = new StrongroomError('E_BUG', 'x');
    expect(redisError(own, 'x')).toBe(own);
    expect(redisError(undefined, 'x').code).toBe('E_QUEUE_UNREACHABLE');
  });
});

it('the wait doubles up to five seconds, less up to half', () => {
  for (const [times, full] of [
    [1, 100],
    [2, 200],
    [6, 3_200],
    [7, 5_000],
    [1_000_000, 5_000],
  ] as const) {
    const waits = Array.from({ length: 200 }, () => backoffMs(times));
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(full / 2);
    expect(Math.max(...waits)).toBeLessThanOrEqual(full);
    expect(new Set(waits).size).toBeGreaterThan(10);
  }
});

it('what is asked is named without a secret, and a cluster gets its hash tag', () => {
  const base = { prefix: 'strongroom', db: 0 };
  const single = { ...base, at: { type: 'single', address: 'r:1' } } as const;
  const cluster = { ...base, at: { type: 'cluster', nodes: ['a:1', 'b:2'] } } as const;
  const sentinel = { ...base, at: { type: 'sentinel', sentinels: ['a:1'], name: 'main' } } as const;
  expect(nameOf(single)).toBe('redis://r:1');
  expect(nameOf({ ...single, tls: {} })).toBe('rediss://r:1');
  expect(nameOf(cluster)).toBe('the Redis Cluster at a:1, b:2');
  expect(nameOf(sentinel)).toBe('the primary main of the sentinels a:1');
  expect([single, sentinel, cluster].map(keyPrefix)).toEqual(['strongroom', 'strongroom', '{strongroom}']);
  expect(parseAddress('[::1]:6379')).toEqual({ host: '::1', port: 6379 });
  expect(parseAddress('r.example:1')).toEqual({ host: 'r.example', port: 1 });
});
