import { expect, test } from 'vitest';
import type { ErrorCode } from '../../../src/core/errors.ts';
import {
  type Answer,
  type Asked,
  locationOrigin,
  policyLine,
  retryAfterMs,
  statusError,
} from '../../../src/vault/status-errors.ts';

const ASKED: Asked = { node: 'https://n1:8200', method: 'GET', path: 'sys/storage/raft/snapshot' };

function answer(status: number, errors: string[] = [], headers: Record<string, string> = {}): Answer {
  return { status, headers, json: { errors }, errors };
}

const TABLE: readonly [ErrorCode, number, string, Partial<Asked>][] = [
  ['E_VAULT_SEALED', 503, 'Vault is sealed', {}],
  ['E_VAULT_UNINITIALISED', 400, 'Vault is not initialized', {}],
  ['E_VAULT_UNINITIALISED', 501, '', {}],
  ['E_VAULT_DENIED', 403, 'permission denied', {}],
  ['E_VAULT_DENIED', 403, '2 errors occurred: permission denied invalid token', {}],
  ['E_VAULT_RATE_LIMITED', 429, 'request path "sys/leader": rate limit quota exceeded', {}],
  ['E_VAULT_NAMESPACE', 400, 'operation unavailable in namespaces', {}],
  ['E_VAULT_NAMESPACE', 400, 'operation only available in root namespace', {}],
  ['E_VAULT_NAMESPACE', 404, 'namespace not found', {}],
  ['E_VAULT_NAMESPACE', 404, 'no handler for route "auth/x/login". route entry not found.', { namespace: 'team' }],
  ['E_VAULT_NOT_RAFT', 400, 'raft storage is not in use', {}],
  ['E_VAULT_NOT_RAFT', 404, 'unsupported path', {}],
  ['E_VAULT_STANDBY', 500, 'local node not active but active cluster node not found', {}],
  ['E_VAULT_STANDBY', 307, '', {}],
  ['E_VAULT_REMOVED', 500, 'node was removed from a HA cluster', {}],
  ['E_VAULT_REMOVED', 530, '', {}],
  ['E_VAULT_TLS', 400, 'Client sent an HTTP request to an HTTPS server.', {}],
  ['E_VAULT_RESPONSE', 404, 'no handler for route "x". route entry not found.', {}],
  ['E_VAULT_RESPONSE', 404, 'unsupported path', { path: 'sys/anything' }],
  ['E_VAULT_RESPONSE', 301, '', {}],
  ['E_VAULT_RESPONSE', 503, 'upstream connect error', {}],
  ['E_VAULT_RESPONSE', 500, 'internal error', {}],
];

test.each(TABLE)('%s for %i "%s"', (code, status, text, asked) => {
  expect(statusError(answer(status, text === '' ? [] : [text]), { ...ASKED, ...asked }).code).toBe(code);
});

test('a refused right is answered with the very policy line that grants it', () => {
  const force = { ...ASKED, method: 'POST', path: 'sys/storage/raft/snapshot-force' };
  expect(statusError(answer(403, ['permission denied']), ASKED).hint).toContain(
    'path "sys/storage/raft/snapshot" { capabilities = ["read"] }',
  );
  expect(statusError(answer(403, ['permission denied']), force).hint).toContain(
    'path "sys/storage/raft/snapshot-force" { capabilities = ["update"] }',
  );
  expect(policyLine('LIST', 'sys/policies/acl')).toBe('path "sys/policies/acl" { capabilities = ["list"] }');
});

test('a redirect is told with where it points, without path and query', () => {
  const error = statusError(answer(307, [], { location: 'https://leader:8200/v1/sys/x?token=hvs.abc' }), ASKED);
  expect(error.message).toContain('https://leader:8200;');
  expect(JSON.stringify(error)).not.toContain('hvs.abc');
  expect(locationOrigin({ location: '/v1/relative' })).toBeNull();
});

test('what the server failed at may be tried again, what it did not understand may not', () => {
  expect(statusError(answer(500, ['internal error']), ASKED).retryable).toBe(true);
  expect(statusError(answer(400, ['bad parameter']), ASKED).retryable).toBe(false);
});

test('an answer that is no JSON is blamed on what stands between', () => {
  const html = { status: 502, headers: { 'content-type': 'text/html' }, json: undefined, errors: ['Bad Gateway'] };
  expect(statusError(html, ASKED).hint).toContain('proxy or load balancer');
});

test('Retry-After comes in seconds or as a date', () => {
  const now = new Date('2026-11-22T10:00:00Z');
  expect(retryAfterMs({ 'retry-after': '7' }, now)).toBe(7000);
  expect(retryAfterMs({ 'retry-after': 'Sun, 22 Nov 2026 10:00:03 GMT' }, now)).toBe(3000);
  expect(retryAfterMs({ 'retry-after': 'later' }, now)).toBeNull();
  expect(retryAfterMs({}, now)).toBeNull();
  expect(statusError(answer(429, ['quota'], { 'retry-after': '7' }), ASKED).details['retryAfterMs']).toBe(7000);
});
