/** What belongs to S3 alone: refusals of a real server, options, and destinations that do not answer. */
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectTaggingCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import { describe, expect, inject, test } from 'vitest';
import { collect } from '../../src/core/flow.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import { bufferBody } from '../../src/store/parts.ts';
import type { Store } from '../../src/store/store.ts';
import { FailingS3 } from '../support/failing-s3.ts';
import { never, newKey, PART, putOptions, small } from '../support/faulty-store.ts';
import { createPki } from '../support/pki.ts';
import { freePort } from '../support/process.ts';
import { openS3Store } from '../support/s3-store.ts';
import { sharedServer } from '../support/shared-servers.ts';

const retryOnce = { attempts: 2, baseMs: 1, maxMs: 1 };

/** every method that sends something */
function everyMethod(store: Store): [string, () => Promise<unknown>][] {
  const key = newKey();
  const options = { signal: never };
  return [
    ['put', () => store.put(key, Buffer.from('x'), putOptions())],
    ['put in parts', () => store.put(key, small(), putOptions())],
    ['head', () => store.head(key, options)],
    ['get', () => collect(store.get(key, options), 100)],
    ['list', () => Array.fromAsync(store.list('v1/', options))],
    ['delete', () => store.delete(key, options)],
    ['probeWrite', () => store.probeWrite('v1/', options)],
    ['listUnfinished', () => Array.fromAsync(store.listUnfinished('v1/', options))],
    ['abortUnfinished', () => store.abortUnfinished({ key, uploadId: 'x', startedAt: new Date() }, options)],
  ];
}

async function expectAll(store: Store, codes: readonly string[], skip: readonly string[] = []): Promise<string> {
  let said = '';
  for (const [name, call] of everyMethod(store)) {
    if (skip.includes(name)) continue;
    const e: unknown = await call().then(
      (value) => ({ nothing: `${name} resolved with ${String(value)}` }),
      (failure: unknown) => failure,
    );
    expect(e, name).toMatchObject({ code: expect.toBeOneOf([...codes]) as string });
    said += JSON.stringify(e);
  }
  return said;
}

describe('refused by VersityGW', () => {
  test('a wrong secret, an unknown key: E_STORE_DENIED, and no secret is said', async () => {
    const server = await sharedServer('versitygw');
    await using right = await openS3Store(server, {});
    for (const wrong of [{ secretAccessKey: 'wrongsecret' }, { accessKeyId: 'nobodysname' }]) {
      await using opened = await openS3Store({ ...server, ...wrong }, {}, { bucket: right.bucket, retry: retryOnce });
      const said = await expectAll(opened.store, ['E_STORE_DENIED']);
      expect(said).not.toContain('wrongsecret');
      expect(said).not.toContain(server.secretAccessKey);
    }
  });

  test('no such bucket: never "not there"', async () => {
    const server = await sharedServer('versitygw');
    await using opened = await openS3Store(server, {}, { bucket: `missing-${randomUUID()}` });
    await expectAll(opened.store, ['E_STORE_BUCKET']);
  });

  test('a key that is a folder there, too', async () => {
    const server = await sharedServer('versitygw');
    await using opened = await openS3Store(server, {});
    const above = `v1/${randomUUID()}` as ObjectKey;
    await opened.store.put(`${above}/below` as ObjectKey, Buffer.from('x'), putOptions());
    expect(await opened.store.head(above, { signal: never })).toBeNull();
  });
});

describe('no answer', () => {
  test('nobody listens: ECONNREFUSED in every message', async () => {
    const server = await sharedServer('versitygw');
    const via = `http://127.0.0.1:${await freePort()}`;
    await using opened = await openS3Store(server, {}, { bucket: 'any', via, retry: retryOnce, cleanupTimeoutMs: 500 });
    expect((await expectAll(opened.store, ['E_STORE_UNREACHABLE'])).match(/ECONNREFUSED/g)?.length).toBeGreaterThan(8);
  });

  test('a name that does not resolve', async () => {
    const server = await sharedServer('versitygw');
    const via = 'http://no-such-host.invalid';
    await using opened = await openS3Store(server, {}, { bucket: 'any', via, retry: retryOnce });
    await expect(opened.store.head(newKey(), { signal: never })).rejects.toMatchObject({
      code: 'E_STORE_UNREACHABLE',
      message: expect.stringMatching(/does not resolve \((ENOTFOUND|EAI_AGAIN)\)/) as string,
    });
  });

  test('a certificate of an unknown authority: said at once, not tried again', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'strongroom-tls-'));
    const pki = await createPki(directory);
    const files = await pki.issue({ name: 's3' });
    const [cert, key] = await Promise.all([readFile(files.certFile), readFile(files.keyFile)]);
    let connections = 0;
    const https = createServer({ cert, key }).on('connection', () => {
      connections += 1;
    });
    https.listen(0, '127.0.0.1');
    await once(https, 'listening');
    try {
      const address = https.address();
      const via = `https://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
      const server = await sharedServer('versitygw');
      await using opened = await openS3Store(server, {}, { bucket: 'any', via });
      await expect(opened.store.head(newKey(), { signal: never })).rejects.toMatchObject({
        code: 'E_STORE_UNREACHABLE',
        retryable: false,
        message: expect.stringContaining('the TLS handshake fails') as string,
      });
      expect(connections).toBe(1);
    } finally {
      https.close();
      https.closeAllConnections();
      await rm(directory, { recursive: true });
    }
  });
});

describe('how bytes travel', () => {
  test('every body is signed with its SHA-256, streams included, and parts carry their checksum', async () => {
    const server = await sharedServer('versitygw');
    await using proxy = await FailingS3.start(server.endpoint);
    await using opened = await openS3Store(server, {}, { via: proxy.url });
    const body = bufferBody(randomBytes(PART + 1), PART);
    await opened.store.put(newKey(), body, putOptions());
    const parts = proxy.calls.filter((call) => call.operation === 'part');
    const sent = parts.map(({ headers }) => [headers['x-amz-content-sha256'], headers['x-amz-checksum-sha256']]);
    const sums = body.partSha256.map((sha256) => Buffer.from(sha256));
    expect(new Set(sent.map(String))).toEqual(
      new Set(sums.map((sha256) => String([sha256.toString('hex'), sha256.toString('base64')]))),
    );
    for (const { headers } of parts) expect(headers['content-encoding']).toBeUndefined();
  });

  test('no more parts than asked for are in flight', async () => {
    const server = await sharedServer('versitygw');
    await using opened = await openS3Store(server, {}, { partConcurrency: 2 });
    const body = bufferBody(randomBytes(5 * PART), PART);
    let open = 0;
    let most = 0;
    const together = Promise.withResolvers<void>();
    const read = async function* counted(start: number, end: number) {
      open += 1;
      most = Math.max(most, open);
      // Nobody begins to send before two have begun to read.
      if (open === 2) together.resolve();
      await together.promise;
      yield* body.read(start, end);
      open -= 1;
    };
    await opened.store.put(newKey(), { ...body, read }, putOptions());
    expect(most).toBe(2);
  });

  test('without conditional writes it looks first', async () => {
    const server = await sharedServer('versitygw');
    await using proxy = await FailingS3.start(server.endpoint);
    await using opened = await openS3Store(server, {}, { via: proxy.url, conditionalWrites: false });
    const key = newKey();
    const { etag } = await opened.store.put(key, Buffer.from('one'), putOptions());
    for (const body of [Buffer.from('two'), small()]) {
      await expect(opened.store.put(key, body, putOptions())).rejects.toMatchObject({ code: 'E_STORE_CONFLICT' });
    }
    await opened.store.put(key, Buffer.from('three'), putOptions({ condition: { etag } }));
    await expect(opened.store.put(key, Buffer.from('x'), putOptions({ condition: { etag } }))).rejects.toMatchObject({
      code: 'E_STORE_CONFLICT',
    });
    expect(Buffer.from(await collect(opened.store.get(key, { signal: never }), 10)).toString()).toBe('three');
    const conditions = proxy.calls.filter(({ headers }) => headers['if-match'] ?? headers['if-none-match']);
    expect(conditions).toEqual([]);
  });
});

describe.skipIf(inject('localStackMissing') !== '')('options, on LocalStack', () => {
  test.each(['bytes', 'parts'])('class, tags, encryption and content type of an object sent as %s', async (kind) => {
    const server = await sharedServer('localstack');
    await using opened = await openS3Store(
      server,
      {},
      {
        storageClass: 'STANDARD_IA',
        tags: { team: 'platform ops + a/b', 'cost-centre': '42' },
        sse: { type: 'AES256' },
      },
    );
    const key = newKey();
    const body = kind === 'bytes' ? Buffer.from('{}') : small();
    await opened.store.put(key, body, putOptions({ contentType: 'application/json' }));
    const at = { Bucket: opened.bucket, Key: `backups/${key}` };
    const head = await opened.client.send(new HeadObjectCommand(at));
    expect(head).toMatchObject({
      StorageClass: 'STANDARD_IA',
      ServerSideEncryption: 'AES256',
      ContentType: 'application/json',
    });
    const { TagSet } = await opened.client.send(new GetObjectTaggingCommand(at));
    expect(Object.fromEntries((TagSet ?? []).map(({ Key, Value }) => [Key, Value]))).toEqual({
      team: 'platform ops + a/b',
      'cost-centre': '42',
    });
  });

  test('compliance mode is kept', async () => {
    await using opened = await openS3Store(await sharedServer('localstack'), { objectLock: true });
    const lock = { mode: 'compliance', until: new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000) } as const;
    const stored = await opened.store.put(newKey(), small(), putOptions({ lock }));
    expect(stored.lock).toEqual(lock);
  });
});
