import { describe, expect, it } from 'vitest';
import { advise } from '../../../src/config/advice.ts';
import { queueConfig } from '../../../src/config/queue.ts';
import { complaints, parse, SAMPLE } from './sample.ts';

const withQueue = (block: string): string => `${SAMPLE}queue: ${block}\n`;

describe('a queue', () => {
  it.each([
    ['one Redis', '{ url: redis://redis-0 }', { url: 'redis://redis-0:6379', prefix: 'strongroom', db: 0 }],
    ['one over TLS', '{ url: "rediss://[::1]:7000/", db: 2 }', { url: 'rediss://[::1]:7000', db: 2 }],
    ['sentinels', '{ sentinels: ["a:26379", "[::1]:26379"], name: main }', { name: 'main' }],
    ['a cluster', '{ cluster: ["10.0.0.1:6379"], prefix: vaults-eu, tls: {} }', { prefix: 'vaults-eu', tls: {} }],
  ])('may be %s', (_what, block, expected) => {
    expect(queueConfig(parse(withQueue(block)))).toMatchObject(expected);
  });

  it.each([
    ['nothing', '{ db: 1 }', 'queue: needs one way to Redis; write url, or sentinels and name, or cluster'],
    [
      'two ways',
      '{ url: "redis://r", cluster: ["r:1"] }',
      'queue.cluster: a second way to Redis beside url; keep one of them',
    ],
    [
      'a password in the url',
      '{ url: "redis://u:hunter2@r:6379" }',
      'queue.url: not the address of Redis; write redis',
    ],
    ['a user in the url', '{ url: "redis://hunter2@r:6379" }', 'queue.url: not the address of Redis; write redis'],
    ['a database in the url', '{ url: "redis://r:6379/2" }', 'queue.url: not the address of Redis; write redis'],
    ['another scheme', '{ url: "https://r:6379" }', 'queue.url: not the address of Redis; write redis'],
    ['no host', '{ url: "redis://" }', 'queue.url: not the address of Redis; write redis'],
    ['a password in plain text', '{ url: "redis://r", password: hunter2 }', 'queue.password: a secret in plain text'],
    ['a sentinel as a url', '{ sentinels: ["redis://r:1"], name: n }', 'queue.sentinels[0]: not the address of a sen'],
    ['a node without a port', '{ cluster: [redis-0] }', 'queue.cluster[0]: not the address of a node; write host:port'],
    ['a port that is none', '{ cluster: ["redis-0:70000"] }', 'queue.cluster[0]: not the address of a node'],
    ['a node twice', '{ cluster: ["r:1", "r:1"] }', 'queue.cluster[1]: stands here twice; delete one'],
    ['no sentinel', '{ sentinels: [], name: n }', 'queue.sentinels: an empty list; add an entry'],
    ['sentinels of no name', '{ sentinels: ["r:1"] }', 'queue.name: is missing; add it, as it stands in sentinel.conf'],
    [
      'a name without sentinels',
      '{ url: "redis://r", name: n }',
      'queue.name: only for sentinels; write sentinels too',
    ],
    [
      'a password for no sentinel',
      '{ url: "redis://r", sentinelPassword: env:A }',
      'queue.sentinelPassword: only for sentinels',
    ],
    ['a database of a cluster', '{ cluster: ["r:1"], db: 1 }', 'queue.db: Redis Cluster has only database 0; delete'],
    ['a user without a password', '{ url: "redis://r", username: w }', 'queue.username: a user without a password'],
    [
      'trust without TLS',
      '{ url: "redis://r", tls: { serverName: r } }',
      'queue.tls: how to trust a server that is asked without TLS; write rediss:// in url',
    ],
    ['half a certificate', '{ url: "rediss://r", tls: { key: env:K } }', 'queue.tls.key: half of a client certificate'],
    ['braces', '{ cluster: ["r:1"], prefix: "{a}" }', 'queue.prefix: not a prefix; write letters, digits'],
    ['a colon', '{ url: "redis://r", prefix: "a:b" }', 'queue.prefix: not a prefix; write letters, digits'],
    ['a typo', '{ ulr: "redis://r" }', 'queue.ulr: unknown option; did you mean url?'],
  ])('may not be %s', (_what, block, complaint) => {
    const said = complaints(withQueue(block));
    expect(said).toContainEqual(expect.stringMatching(/^18:\d+ queue/));
    expect(said.map((line) => line.replace(/^18:\d+ /, ''))).toContainEqual(expect.stringContaining(complaint));
    expect(said.join()).not.toContain('hunter2');
  });

  it('is not there unless it is written, and who needs it says so', () => {
    expect(() => queueConfig(parse(SAMPLE))).toThrow(
      expect.objectContaining({
        code: 'E_CONFIG_INVALID',
        message: '/etc/sr/strongroom.yaml has no queue: a worker takes its jobs from Redis',
        hint: expect.stringContaining('add queue: { url: redis://host:port }') as string,
      }),
    );
  });
});

describe('advice about the queue', () => {
  const said = (block: string): string[] => advise(parse(withQueue(block))).filter((line) => line.startsWith('queue'));

  it.each(['{ url: "redis://redis-0" }', '{ cluster: ["127.0.0.1:1", "r:1"] }', '{ sentinels: ["r:1"], name: n }'])(
    'warns of plain text to other machines: %s',
    (block) => {
      expect(said(block)).toEqual([expect.stringContaining('cross the network in the clear')]);
    },
  );

  it.each([
    '{ url: "rediss://r" }',
    '{ url: "redis://localhost" }',
    '{ url: "redis://[::1]" }',
    '{ cluster: ["r:1"], tls: {} }',
  ])('has nothing to say of %s', (block) => {
    expect(said(block)).toEqual([]);
  });
});
