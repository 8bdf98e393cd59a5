/** Every answer that an S3 may give, given to the real client: by a proxy that leaves the real store behind it untouched. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isError } from '../../src/core/errors.ts';
import { collect } from '../../src/core/flow.ts';
import { type ObjectKey, PROBE } from '../../src/store/layout.ts';
import { KNOWN_ANSWERS } from '../../src/store/s3-error-table.ts';
import type { Store } from '../../src/store/store.ts';
import type { S3Fault } from '../support/failing-s3.ts';
import type { S3Operation } from '../support/failing-s3-operation.ts';
import { FaultyStore, never, newKey, putOptions, small } from '../support/faulty-store.ts';
import { ANSWERS, BY_REQUEST, OWN_NAMES, type S3Answer } from '../support/s3-answers.ts';
import { sharedServer } from '../support/shared-servers.ts';

const ALWAYS = 999;
/** Tries of one request; the fewest that show whether it was tried again. */
const RETRY = { attempts: 2, baseMs: 1, maxMs: 1 };

let on: FaultyStore;
let store: Store;
/** an object that is there, to be read and listed */
let key: ObjectKey;

beforeAll(async () => {
  on = await FaultyStore.start(await sharedServer('versitygw'));
  ({ store } = await on.open({ retry: RETRY }));
  key = (await on.direct.store.put(newKey(), Buffer.from('untouched'), putOptions())).key;
});
afterEach(async () => {
  on.proxy.reset();
  expect((await on.read(key)).toString()).toBe('untouched');
});
afterAll(() => on?.[Symbol.asyncDispose]());

/** What sends each kind of request; writes go to a key of their own. */
const calls: Partial<Record<S3Operation, (fresh: ObjectKey) => Promise<unknown>>> = {
  create: (fresh) => store.probeWrite(fresh, { signal: never }),
  part: (fresh) => store.put(fresh, small(), putOptions()),
  complete: (fresh) => store.put(fresh, small(), putOptions()),
  put: (fresh) => store.put(fresh, Buffer.from('x'), putOptions()),
  get: () => collect(store.get(key, { signal: never }), 100),
  list: () => Array.fromAsync(store.list('v1/', { signal: never })),
  uploads: () => Array.fromAsync(store.listUnfinished('v1/', { signal: never })),
  delete: () => store.delete(key, { signal: never }),
};

const asFault = ({ status, code, message }: Pick<S3Answer, 'status' | 'code' | 'message'>): S3Fault => ({
  kind: 'answer',
  status,
  code,
  ...(message === undefined ? {} : { message }),
});

async function failed(operation: S3Operation, answer: Pick<S3Answer, 'status' | 'code' | 'message'>): Promise<unknown> {
  on.proxy.reset();
  on.proxy.fail(operation, asFault(answer), ALWAYS);
  const fresh = newKey();
  const e: unknown = await calls[operation]?.(fresh).catch((failure: unknown) => failure);
  expect(await on.direct.store.head(fresh, { signal: never })).toBeNull();
  return e;
}

it('every name that the table knows is answered here', () => {
  const answered = new Set([...ANSWERS.map(({ code }) => code), ...OWN_NAMES, ...BY_REQUEST]);
  expect(KNOWN_ANSWERS.filter((name) => !answered.has(name))).toEqual([]);
});

describe('an answer becomes the same to whatever was asked', () => {
  const label = ({ code, status, message }: S3Answer) =>
    `${status} ${code}${message === undefined ? '' : `: ${message}`}`;

  it.each(ANSWERS.map((answer) => [label(answer), answer] as const))('%s', async (_label, answer) => {
    for (const operation of ['create', 'part', 'put', 'get', 'list', 'delete'] as const) {
      const e = await failed(operation, answer);
      expect(e, operation).toMatchObject({ code: answer.becomes, retryable: answer.retryable });
      if (!isError(e)) throw e;
      expect(`${e.message}; ${e.hint ?? ''}`, operation).toMatch(answer.says);
      expect(e.message).toContain('in destination "primary"');
      expect(e.details, operation).toMatchObject({ answer: answer.code, status: answer.status });
      // One that may pass is asked again, and no other.
      const tries = on.proxy.count(operation);
      if (answer.retryable) expect(tries, operation).toBeGreaterThan(1);
      else expect(tries, operation).toBe(1);
    }
    // What was begun for the part was aborted, whatever the reason of its failure.
    expect(await Array.fromAsync(on.direct.store.listUnfinished('v1/', { signal: never }))).toEqual([]);
  });
});

it('a redirect that names the region of the bucket is told with it, and followed neither', async () => {
  const moved = { kind: 'answer', status: 301, code: 'PermanentRedirect', fields: { Region: 'eu-west-3' } } as const;
  on.proxy.fail('list', moved, ALWAYS);
  await expect(calls.list?.(newKey())).rejects.toMatchObject({
    code: 'E_STORE_BUCKET',
    message: expect.stringContaining('in another region') as string,
    hint: 'set region: eu-west-3',
  });
  expect(on.proxy.count('list')).toBe(1);
});

describe('not found', () => {
  it.each(['NoSuchKey', 'NotFound', 'NoSuchVersion'])(
    '%s is what was asked for, the bucket, or a lost condition',
    async (code) => {
      expect(await failed('get', { status: 404, code })).toMatchObject({ code: 'E_NOT_FOUND', retryable: false });
      // Gone is what was wanted.
      expect(await failed('delete', { status: 404, code })).toBeUndefined();
      expect(await failed('put', { status: 404, code })).toMatchObject({ code: 'E_STORE_CONFLICT' });
      expect(await failed('complete', { status: 404, code })).toMatchObject({ code: 'E_STORE_CONFLICT' });
      expect(await failed('list', { status: 404, code })).toMatchObject({ code: 'E_STORE_BUCKET' });
    },
  );

  it('of a HEAD is the object, when the bucket answers otherwise, and the bucket when it does not', async () => {
    const head = { kind: 'answer', status: 404, code: 'NotFound' } as const;
    const fresh = await on.open({ retry: RETRY });
    on.proxy.fail('head', head, ALWAYS);
    on.proxy.fail('list', { kind: 'answer', status: 404, code: 'NoSuchBucket' }, ALWAYS);
    await expect(fresh.store.head(key, { signal: never })).rejects.toMatchObject({ code: 'E_STORE_BUCKET' });
    on.proxy.reset();
    on.proxy.fail('head', head, ALWAYS);
    expect(await fresh.store.head(key, { signal: never })).toBeNull();
  });

  it('MethodNotAllowed is a delete marker to whoever reads, and a refusal to whoever writes', async () => {
    const answer = { status: 405, code: 'MethodNotAllowed' };
    expect(await failed('get', answer)).toMatchObject({ code: 'E_NOT_FOUND' });
    expect(await failed('put', answer)).toMatchObject({ code: 'E_STORE_RESPONSE', retryable: false });
  });
});

describe('a refusal of a HEAD has no words, so a GET is asked for them', () => {
  it.each([
    ['ExpiredToken', 400, 'E_STORE_DENIED', /expired/],
    ['RequestTimeTooSkewed', 403, 'E_STORE_SKEW', /clocks differ/],
    ['InvalidAccessKeyId', 403, 'E_STORE_DENIED', /not known there/],
    ['KMS.DisabledException', 400, 'E_STORE_DENIED', /KMS\.DisabledException/],
  ] as const)('%s', async (code, status, becomes, says) => {
    on.proxy.fail('head', { kind: 'answer', status, code }, ALWAYS);
    on.proxy.fail('get', { kind: 'answer', status, code }, ALWAYS);
    const e: unknown = await store.head(key, { signal: never }).catch((failure: unknown) => failure);
    expect(e).toMatchObject({ code: becomes, message: expect.stringMatching(says) as string });
  });
});

describe('the answer to a commit', () => {
  it.each([
    ['PreconditionFailed', 412, 'E_STORE_CONFLICT'],
    ['EntityTooSmall', 400, 'E_PRECONDITION'],
    ['InvalidPart', 400, 'E_STORE_CHECKSUM'],
    ['MalformedXML', 400, 'E_STORE_RESPONSE'],
    ['AccessDenied', 403, 'E_STORE_DENIED'],
    ['SlowDown', 503, 'E_STORE_THROTTLED'],
    ['BadGateway', 502, 'E_STORE_UNREACHABLE'],
    ['QuotaExceeded', 403, 'E_STORE_FULL'],
  ])('%s: no object, no upload', async (code, status, becomes) => {
    expect(await failed('complete', { code, status })).toMatchObject({ code: becomes });
    expect(on.proxy.count('abort')).toBeGreaterThan(0);
    expect(await Array.fromAsync(on.direct.store.listUnfinished('v1/', { signal: never }))).toEqual([]);
  });
});

it('a store that shows what it has stored only after a while is waited for', async () => {
  const patient = await on.open({ retry: { attempts: 4, baseMs: 1, maxMs: 1 } });
  const late = { kind: 'answer', status: 404, code: 'NotFound' } as const;
  const at = newKey();
  on.proxy.fail('head', late, 3);
  await patient.store.put(at, Buffer.from('late'), putOptions());
  expect(on.proxy.count('head')).toBe(4);
  on.proxy.reset();
  on.proxy.fail('head', late, ALWAYS);
  await expect(patient.store.put(newKey(), Buffer.from('never'), putOptions())).rejects.toMatchObject({
    code: 'E_STORE_RESPONSE',
    message: expect.stringContaining('stored, and then it is not there') as string,
  });
  expect(on.proxy.count('put')).toBe(1);
});

it('a probe leaves no upload, whatever the answer to it is', async () => {
  on.proxy.fail('create', { kind: 'answer', status: 403, code: 'AccessDenied' });
  await expect(store.probeWrite('v1/', { signal: never })).rejects.toMatchObject({ code: 'E_STORE_DENIED' });
  await store.probeWrite('v1/', { signal: never });
  const uploads = await Array.fromAsync(on.direct.store.listUnfinished('v1/', { signal: never }));
  expect(uploads.filter(({ key: left }) => left.includes(PROBE))).toEqual([]);
});
