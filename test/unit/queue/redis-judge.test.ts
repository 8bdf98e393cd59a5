import { describe, expect, it } from 'vitest';
import { judge, type NodeFacts, parseInfo } from '../../../src/queue/redis-judge.ts';

const facts = (info: string | null, more: Partial<NodeFacts> = {}): NodeFacts => ({
  node: null,
  info: info === null ? null : parseInfo(info),
  policy: null,
  save: null,
  appendOnly: null,
  ...more,
});
const GOOD = '# Server\r\nredis_version:7.4.0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n';
const verdict = (check: string, ...nodes: NodeFacts[]): string | undefined =>
  judge(nodes).find((finding) => finding.check === check)?.verdict;

describe('the version', () => {
  it.each([
    ['6.2.0', 'ok'],
    ['6.1.240', 'fails'],
    ['5.0.14', 'fails'],
    ['7.0.0', 'ok'],
    ['10.0.0', 'ok'],
    ['255.255.255', 'ok'],
  ])('%s: %s', (version, expected) => {
    expect(verdict('version', facts(`redis_version:${version}\r\n`))).toBe(expected);
  });

  it('of Valkey is its own', () => {
    const [found] = judge([facts('redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n')]);
    expect(found).toMatchObject({ verdict: 'ok', says: 'Valkey 8.1.0' });
  });

  it.each([null, '', 'redis_version:\r\n', 'redis_version:unstable\r\n'])(
    'that is not told cannot be asked: %j',
    (info) => {
      expect(verdict('version', facts(info))).toBe('cannot be asked');
    },
  );
});

it('the eviction policy comes from INFO, else from CONFIG', () => {
  expect(verdict('eviction', facts(GOOD, { policy: 'allkeys-lru' }))).toBe('ok');
  expect(verdict('eviction', facts('redis_version:7.4.0\r\n', { policy: 'noeviction' }))).toBe('ok');
  expect(verdict('eviction', facts(null, { policy: 'allkeys-lru' }))).toBe('fails');
  expect(verdict('eviction', facts('redis_version:7.4.0\r\n'))).toBe('cannot be asked');
});

it('persistence is a file of snapshots or of writes; none is a note only where that is known', () => {
  expect(verdict('persistence', facts(GOOD))).toBe('ok');
  expect(verdict('persistence', facts(null, { appendOnly: 'yes', save: '' }))).toBe('ok');
  expect(verdict('persistence', facts('aof_enabled:0\r\n', { save: '3600 1' }))).toBe('ok');
  expect(verdict('persistence', facts('aof_enabled:0\r\n', { save: '' }))).toBe('note');
  expect(verdict('persistence', facts('aof_enabled:0\r\n'))).toBe('cannot be asked');
});

it('of several nodes the worst counts, with its address', () => {
  const bad = facts('redis_version:6.0.0\r\n', { node: 'b:1' });
  const dumb = facts(null, { node: 'c:1' });
  const [found] = judge([facts(GOOD, { node: 'a:1' }), dumb, bad]);
  expect(found).toMatchObject({ verdict: 'fails', says: 'b:1: Redis 6.0.0 is too old' });
  const [next] = judge([facts(GOOD, { node: 'a:1' }), dumb]);
  expect(next?.says).toBe('c:1: the version cannot be asked: INFO is refused');
});
