import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { answerOf, mayHaveHappened, translate } from '../../../src/store/s3-errors.ts';
import type { Operation, Where } from '../../../src/store/s3-where.ts';

const at = (operation: Operation, more: Partial<Where> = {}): Where => ({
  operation,
  destination: 'primary',
  bucket: 'backups-eu',
  key: 'v1/prod/data/x',
  ...more,
});

/** as the SDK throws it */
function answer(name: string, status: number, more: Record<string, unknown> = {}): Error {
  const { message, ...fields } = more;
  return Object.assign(new Error(typeof message === 'string' ? message : name), {
    name,
    $fault: 'client',
    $metadata: { httpStatusCode: status, requestId: 'REQ1' },
    ...fields,
  });
}

const network = (code: string) => Object.assign(new Error(`connect ${code} 10.0.0.1:443`), { code });

describe('what S3 says', () => {
  const table: [string, number, Operation, string, boolean][] = [
    ['NoSuchBucket', 404, 'put', 'E_STORE_BUCKET', false],
    ['PermanentRedirect', 301, 'list', 'E_STORE_BUCKET', false],
    ['AuthorizationHeaderMalformed', 400, 'put', 'E_STORE_BUCKET', false],
    ['AccessDenied', 403, 'put', 'E_STORE_DENIED', false],
    ['ExpiredToken', 400, 'part', 'E_STORE_DENIED', false],
    ['InvalidAccessKeyId', 403, 'list', 'E_STORE_DENIED', false],
    ['SignatureDoesNotMatch', 403, 'list', 'E_STORE_DENIED', false],
    ['KMS.DisabledException', 400, 'put', 'E_STORE_DENIED', false],
    ['RequestTimeTooSkewed', 403, 'put', 'E_STORE_SKEW', false],
    ['SlowDown', 503, 'part', 'E_STORE_THROTTLED', true],
    ['ThrottlingException', 400, 'part', 'E_STORE_THROTTLED', true],
    ['ServiceUnavailable', 503, 'get', 'E_STORE_THROTTLED', true],
    ['TooManyRequests', 429, 'get', 'E_STORE_THROTTLED', true],
    ['InternalError', 500, 'complete', 'E_STORE_RESPONSE', true],
    ['BadDigest', 400, 'part', 'E_STORE_CHECKSUM', true],
    ['XAmzContentSHA256Mismatch', 400, 'part', 'E_STORE_CHECKSUM', true],
    ['XAmzContentChecksumMismatch', 400, 'part', 'E_STORE_CHECKSUM', true],
    ['InvalidPart', 400, 'complete', 'E_STORE_CHECKSUM', true],
    ['EntityTooLarge', 400, 'part', 'E_PRECONDITION', false],
    ['QuotaExceeded', 403, 'part', 'E_STORE_FULL', false],
    ['XMinioStorageFull', 507, 'part', 'E_STORE_FULL', false],
    ['InsufficientCapacity', 507, 'part', 'E_STORE_FULL', false],
    ['InvalidObjectState', 403, 'get', 'E_PRECONDITION', false],
    ['PreconditionFailed', 412, 'put', 'E_STORE_CONFLICT', false],
    ['ConditionalRequestConflict', 409, 'complete', 'E_STORE_CONFLICT', true],
    ['NoSuchKey', 404, 'get', 'E_NOT_FOUND', false],
    ['NoSuchKey', 404, 'put', 'E_STORE_CONFLICT', false],
    ['NoSuchUpload', 404, 'part', 'E_STORE_RESPONSE', true],
    ['MethodNotAllowed', 405, 'get', 'E_NOT_FOUND', false],
    ['InvalidRange', 416, 'get', 'E_PRECONDITION', false],
    ['NotImplemented', 501, 'put', 'E_PRECONDITION', false],
    ['RequestTimeout', 400, 'part', 'E_STORE_UNREACHABLE', true],
    ['IncompleteBody', 400, 'part', 'E_STORE_UNREACHABLE', true],
    ['CredentialsProviderError', 0, 'put', 'E_STORE_DENIED', false],
    ['MalformedXML', 400, 'complete', 'E_STORE_RESPONSE', false],
    // Names nobody knows: the status decides.
    ['Whatever', 403, 'put', 'E_STORE_DENIED', false],
    ['Whatever', 404, 'list', 'E_STORE_BUCKET', false],
    ['Whatever', 404, 'head', 'E_NOT_FOUND', false],
    ['Whatever', 412, 'put', 'E_STORE_CONFLICT', false],
    ['Whatever', 502, 'put', 'E_STORE_UNREACHABLE', true],
    ['Whatever', 503, 'put', 'E_STORE_THROTTLED', true],
    ['Whatever', 507, 'put', 'E_STORE_FULL', false],
    ['Whatever', 599, 'put', 'E_STORE_RESPONSE', true],
    ['SyntaxError', 0, 'list', 'E_STORE_RESPONSE', true],
  ];
  test.each(table)('%s %d while %s is %s', (name, status, operation, code, retryable) => {
    const e = translate(answer(name, status), at(operation));
    expect(e).toMatchObject({ code, retryable });
    expect(e.message).toMatch(/^[a-z ]+ "v1\/prod\/data\/x" in destination "primary": [^\n]+[^.\n]$/);
    expect(e.details).toMatchObject({ destination: 'primary', key: 'v1/prod/data/x', answer: name });
  });

  test.each([
    ['ECONNREFUSED', true],
    ['ECONNRESET', true],
    ['EPIPE', true],
    ['ENOTFOUND', true],
    ['EAI_AGAIN', true],
    ['ETIMEDOUT', true],
    ['EHOSTUNREACH', true],
    ['CERT_HAS_EXPIRED', false],
    ['SELF_SIGNED_CERT_IN_CHAIN', false],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', false],
    ['ERR_TLS_CERT_ALTNAME_INVALID', false],
  ])('%s is E_STORE_UNREACHABLE', (code, retryable) => {
    const e = translate(network(code), at('part'));
    expect(e).toMatchObject({ code: 'E_STORE_UNREACHABLE', retryable });
    expect(e.message).toContain(code);
    expect(e.hint).toBeDefined();
  });

  test('a wrapped network error is found in its cause', () => {
    const wrapped = new Error('request failed', { cause: network('ECONNRESET') });
    expect(translate(wrapped, at('get'))).toMatchObject({ code: 'E_STORE_UNREACHABLE' });
  });

  test('our own deadline is said in seconds', () => {
    const e = translate(answer('AbortError', 0), at('part'), 1500);
    expect(e).toMatchObject({ code: 'E_STORE_UNREACHABLE', retryable: true });
    expect(e.message).toContain('no answer within 1.5 s');
  });

  test('ours pass through', () => {
    const ours = new StrongroomError('E_SPACE', 'x');
    expect(translate(ours, at('part'))).toBe(ours);
  });
});

describe('hints', () => {
  test.each<[Operation, Partial<Where>, string]>([
    ['put', {}, 's3:PutObject on'],
    ['create', { alsoNeeds: ['s3:PutObjectRetention'] }, 's3:PutObject and s3:PutObjectRetention'],
    ['abort', {}, 's3:AbortMultipartUpload'],
    ['list', {}, 's3:ListBucket'],
    ['uploads', {}, 's3:ListBucketMultipartUploads'],
    ['get', { versionId: 'v7' }, 's3:GetObjectVersion'],
    ['delete', { versionId: 'v7' }, 's3:DeleteObjectVersion'],
    ['delete', {}, 's3:DeleteObject on'],
  ])('access denied while %s names what is missing', (operation, more, permission) => {
    const { hint } = translate(answer('AccessDenied', 403), at(operation, more));
    expect(hint).toContain(permission);
    expect(hint).toContain('"backups-eu"');
  });

  test('another region is named', () => {
    const e = translate(answer('PermanentRedirect', 301, { Region: 'eu-west-3' }), at('put'));
    expect(e.hint).toContain('eu-west-3');
  });

  test('both clocks are said, also when only the Date header tells', () => {
    const there = new Date(Date.now() + 3_600_000);
    const byField = translate(answer('RequestTimeTooSkewed', 403, { ServerTime: there.toISOString() }), at('put'));
    expect(byField.message).toMatch(/60 min apart/);
    const $response = { headers: { date: there.toUTCString() } };
    expect(translate(answer('RequestTimeTooSkewed', 403, { $response }), at('put')).message).toMatch(/60 min apart/);
  });

  test('a lock is told from a missing permission by its words', () => {
    const worm = answer('AccessDenied', 403, { message: 'Access Denied because object protected by object lock.' });
    expect(translate(worm, at('delete'))).toMatchObject({ code: 'E_STORE_LOCKED' });
    expect(translate(worm, at('put'))).toMatchObject({ code: 'E_STORE_DENIED' });
  });

  test('a bucket without object lock is named', () => {
    const e = answer('InvalidRequest', 400, { message: 'Bucket is missing Object Lock Configuration' });
    expect(translate(e, at('create'))).toMatchObject({ code: 'E_PRECONDITION' });
  });
});

test('nothing that the server echoed is kept: it may hold a session token', () => {
  const e = translate(
    answer('SignatureDoesNotMatch', 403, {
      message: 'The request signature we calculated does not match',
      CanonicalRequest: 'PUT\n/x\nx-amz-security-token:SESSIONTOKEN\n',
      AWSAccessKeyId: 'AKIASECRET',
      $response: { headers: { 'x-amz-security-token': 'SESSIONTOKEN' } },
    }),
    at('put'),
  );
  const shown = `${inspect(e, { depth: 20, showHidden: true })}${JSON.stringify(e)}${e.message}${e.hint}`;
  expect(shown).toContain('SignatureDoesNotMatch');
  expect(shown).not.toContain('SESSIONTOKEN');
  expect(shown).not.toContain('AKIASECRET');
});

test('what may have happened all the same', () => {
  const happened = (e: Error) => mayHaveHappened(translate(e, at('complete')));
  expect(happened(network('ECONNRESET'))).toBe(true);
  expect(happened(answer('InternalError', 500))).toBe(true);
  expect(happened(answer('PreconditionFailed', 412))).toBe(false);
  expect(happened(answer('AccessDenied', 403))).toBe(false);
  expect(answerOf(translate(answer('NoSuchUpload', 404), at('complete')))).toBe('NoSuchUpload');
});
