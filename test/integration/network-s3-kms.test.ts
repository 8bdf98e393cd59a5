/** The network between strongroom and its S3 and KMS endpoints, opened from a config: TLS, redirects, broken wires. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CODES, isError } from '../../src/core/errors.ts';
import type { Secret } from '../../src/core/secret.ts';
import { generateBreakGlass } from '../../src/crypt/generate.ts';
import type { KmsKey, KmsWrap } from '../../src/crypt/kms.ts';
import type { ObjectKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import { balanceRequests } from '../support/balancer.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { never, newKey, putOptions, small } from '../support/faulty-store.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { createPki, type Pki } from '../support/pki.ts';
import { type Replay, type ReplayHandler, startReplay } from '../support/replay-server.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { startVersityGw } from '../support/s3-servers.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { openApp } from '../support/strongroom-app.ts';
import { OLD_TLS, startTlsFront } from '../support/tls-front.ts';
import { World, worldEnv } from '../support/world.ts';

const REGION = 'eu-central-1';
const CONTEXT = { cluster: 'prod', snapshot: '01JD0000000000000000000000' };

const stack = new AsyncDisposableStack();
const bucket = `net-${randomUUID()}`;
let s3: S3Server;
let kms: KmsEmulator;
let keyArn: string;
let pki: Pki;
let stranger: Pki;
let identity: Secret<string>;
/** what the restore side asks for */
let stored: ObjectKey;
let wrapped: KmsWrap;

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'strongroom-net-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  [s3, kms, pki, stranger] = await Promise.all([
    sharedServer('versitygw'),
    startKms(),
    createPki(join(directory, 'own')),
    createPki(join(directory, 'stranger')),
  ]);
  stack.use(kms);
  await s3.createBucket(bucket);
  keyArn = kms.createKey({ region: REGION });
  ({ identity } = await generateBreakGlass());
  const { store, key } = await open({ s3: s3.endpoint, kms: kms.url });
  stored = newKey();
  await store.put(stored, Buffer.from('kept'), putOptions());
  wrapped = await key.wrap(identity, CONTEXT, never);
});
afterAll(() => stack.disposeAsync());

let round: AsyncDisposableStack;
beforeEach(() => {
  round = new AsyncDisposableStack();
  kms.clearCalls();
});
afterEach(() => round.disposeAsync());

type Endpoints = { s3?: string; kms?: string; ca?: string };

/** Store and key as an app opens them from a config with these endpoints. */
async function open(at: Endpoints): Promise<{ store: Store; key: KmsKey }> {
  const ca = at.ca === undefined ? {} : { ca: at.ca };
  const owner = round ?? stack;
  const world = owner.use(
    await World.create({
      destinations: {
        bucket: { type: 's3', server: { ...s3, endpoint: at.s3 ?? s3.endpoint }, bucket, extra: ca },
      },
      kms: [{ keyArn, endpoint: at.kms ?? kms.url, ...ca }],
    }),
  );
  const configFile = await world.config(['http://127.0.0.1:1']);
  const app = owner.use(await openApp({ configFile, env: worldEnv(s3) }));
  const { stores, kms: keys } = await app.snapshotDeps('prod', never);
  const [[store], [key]] = [stores, keys];
  if (store === undefined || key === undefined) throw new Error('the config has no store or no key');
  return { store, key };
}

type Peer = {
  name: 'S3' | 'KMS';
  real: () => string;
  at: (url: string, ca?: string) => Endpoints;
  /** what a backup does, and what a restore does */
  calls: Record<'backup' | 'restore', (opened: { store: Store; key: KmsKey }) => Promise<unknown>>;
  code: 'E_STORE_UNREACHABLE' | 'E_KEY_UNAVAILABLE';
  exit: number;
  owner: string;
};

const withCa = (ca?: string) => (ca === undefined ? {} : { ca });
const PEERS: Peer[] = [
  {
    name: 'S3',
    real: () => s3.endpoint,
    at: (url, ca) => ({ s3: url, ...withCa(ca) }),
    calls: {
      backup: ({ store }) => store.put(newKey(), Buffer.from('new'), putOptions()),
      restore: async ({ store }) => Buffer.concat(await Array.fromAsync(store.get(stored, { signal: never }))),
    },
    code: 'E_STORE_UNREACHABLE',
    exit: 14,
    owner: "the destination's `ca`",
  },
  {
    name: 'KMS',
    real: () => kms.url,
    at: (url, ca) => ({ kms: url, ...withCa(ca) }),
    calls: {
      backup: ({ key }) => key.wrap(identity, CONTEXT, never),
      restore: async ({ key }) => (await key.unwrap(wrapped, CONTEXT, never)).reveal(),
    },
    code: 'E_KEY_UNAVAILABLE',
    exit: 12,
    owner: "the key's `ca`",
  },
];
const SIDES = ['backup', 'restore'] as const;

async function failure(call: Promise<unknown>) {
  const error: unknown = await call.then(
    (value) => new Error(`succeeded: ${String(value)}`),
    (e: unknown) => e,
  );
  if (!isError(error)) throw error;
  return error;
}

/** Counts what comes, and would answer it. */
const bystander = async (handler: ReplayHandler = () => ({ status: 200 })): Promise<Replay> =>
  round.use(await startReplay(handler));

describe.each(PEERS)('TLS to $name', ({ real, at, calls, code, exit, owner }) => {
  test('with the `ca` of the config: served, to a backup and to a restore', async () => {
    const front = round.use(await startTlsFront(real(), await pki.issue({ name: 'good' })));
    const opened = await open(at(front.url, pki.caPem));
    await calls.backup(opened);
    expect(String(await calls.restore(opened))).toMatch(/^(kept|AGE-SECRET-KEY-.*)$/);
    expect(front.secured).toBeGreaterThan(0);
  });

  type Case = {
    what: string;
    certificate?: Partial<Parameters<Pki['issue']>[0]>;
    ca?: () => string | undefined;
    tls?: typeof OLD_TLS;
    says: string;
    hint: string;
  };
  const own = () => pki.caPem;
  const cases: Case[] = [
    { what: 'no ca is configured', ca: () => undefined, says: 'not signed by a CA that is trusted here', hint: owner },
    { what: 'the ca of a stranger', ca: () => stranger.caPem, says: 'not signed by a CA that is', hint: owner },
    {
      what: 'it has expired',
      certificate: { expired: true },
      says: 'has expired (CERT_HAS_EXPIRED)',
      hint: 'renew it',
    },
    {
      what: 'it is for another host',
      certificate: { hosts: ['s3.elsewhere.test'] },
      says: 'is for another name (ERR_TLS_CERT_ALTNAME_INVALID)',
      hint: 'a name that the certificate has: DNS:s3.elsewhere.test',
    },
    { what: 'nothing after TLS 1.1', tls: OLD_TLS, says: 'no version of TLS that is safe', hint: 'speak TLS 1.2' },
  ];

  test.each(cases)('$what: said at once, tried once, and nothing is sent', async (c) => {
    const behind = await bystander();
    const certificate = await pki.issue({ name: c.what.replaceAll(/\W/g, '-'), ...c.certificate });
    const front = round.use(await startTlsFront(behind.url, certificate, c.tls));
    const opened = await open(at(front.url, (c.ca ?? own)()));
    for (const side of SIDES) {
      const error = await failure(calls[side](opened));
      expect([error.code, CODES[error.code].exit, error.retryable]).toEqual([code, exit, false]);
      expect(error.message).toMatch(/the TLS handshake (with KMS )?fails: /);
      expect(error.message).toContain(c.says);
      expect(error.hint).toContain(c.hint);
    }
    expect(front.connections).toBe(SIDES.length);
    expect(behind.seen).toEqual([]);
  });

  test('a plain listener: the scheme is what to change', async () => {
    const opened = await open(at(real().replace('http:', 'https:'), pki.caPem));
    for (const side of SIDES) {
      const error = await failure(calls[side](opened));
      expect([error.code, error.retryable]).toEqual([code, false]);
      expect(error.message).toContain('it does not speak TLS');
      expect(error.hint).toContain('`endpoint` with http://');
    }
  });
});

describe('a redirect to a stranger', () => {
  const xml = (code: string, to: string) =>
    `<?xml version="1.0"?><Error><Code>${code}</Code><Message>go there</Message><Endpoint>${new URL(to).host}</Endpoint></Error>`;

  test.each([
    [301, 'PermanentRedirect'],
    [302, 'Found'],
    [307, 'TemporaryRedirect'],
    [308, 'PermanentRedirect'],
  ])('from S3 with %d: named, and nothing signed goes there', async (status, name) => {
    const target = await bystander();
    const answering = await bystander(({ path }) => ({
      status,
      headers: { location: `${target.url}${path}`, 'content-type': 'application/xml' },
      body: xml(name, target.url),
    }));
    const opened = await open({ s3: answering.url });
    for (const side of SIDES) {
      const error = await failure(PEERS[0]?.calls[side](opened) ?? Promise.resolve());
      expect([error.code, CODES[error.code].exit, error.retryable]).toEqual(['E_STORE_BUCKET', 15, false]);
      expect(error.message).toContain(
        `it answers with a redirect to ${target.url} (${status}), which is never followed`,
      );
    }
    expect(answering.seen).toHaveLength(SIDES.length);
    expect(answering.seen[0]?.headers.authorization).toContain('AWS4-HMAC-SHA256');
    expect(target.seen).toEqual([]);
  });

  test('from S3 that names another region: that region is told, and nobody is asked again', async () => {
    const target = await bystander();
    const answering = await bystander(({ path }) => ({
      status: 301,
      headers: {
        location: `${target.url}${path}`,
        'x-amz-bucket-region': 'eu-north-1',
        'content-type': 'application/xml',
      },
      body: xml('PermanentRedirect', target.url),
    }));
    const { store } = await open({ s3: answering.url });
    const error = await failure(store.head(stored, { signal: never }));
    expect([error.code, error.hint]).toEqual(['E_STORE_BUCKET', 'set region: eu-north-1']);
    expect(target.seen).toEqual([]);
  });

  test.each([301, 302, 307, 308])('from KMS with %d: said, and no identity goes there', async (status) => {
    const target = await bystander();
    const answering = await bystander(() => ({ status, headers: { location: target.url }, body: {} }));
    const opened = await open({ kms: answering.url });
    for (const side of SIDES) {
      const error = await failure(PEERS[1]?.calls[side](opened) ?? Promise.resolve());
      expect([error.code, CODES[error.code].exit, error.retryable]).toEqual(['E_KEY_UNAVAILABLE', 12, false]);
      expect(error.message).toContain(`KMS answers with a redirect (${status}), which is never followed`);
      expect(error.hint).toContain('endpoint of the key');
    }
    expect(answering.seen).toHaveLength(SIDES.length);
    expect(target.seen).toEqual([]);
  });
});

describe('the wire to KMS', () => {
  test('that gives 1 kB/s is enough', async () => {
    const wire = round.use(await startFaultProxy(kms.url));
    const opened = await open({ kms: wire.url });
    await wire.set({ kind: 'throttle', bytesPerSecond: 1000 });
    const wrap = await opened.key.wrap(identity, CONTEXT, never);
    expect(wrap.keyId).toBe(keyArn);
  });

  test.each(SIDES)('that is reset in the middle of each answer: %s tries three times and says so', async (side) => {
    const wire = round.use(await startFaultProxy(kms.url));
    const opened = await open({ kms: wire.url });
    await wire.set({ kind: 'reset', afterBytes: 100 });
    const error = await failure(PEERS[1]?.calls[side](opened) ?? Promise.resolve());
    expect([error.code, error.retryable]).toEqual(['E_KEY_UNAVAILABLE', true]);
    expect(error.message).toMatch(/KMS cannot be reached \((ECONNRESET|EPIPE)\)/);
    expect(wire.totals.connections).toBe(3);
  });

  test('whose name does not resolve', async () => {
    const { key } = await open({ kms: 'https://no-such-host.invalid' });
    const error = await failure(key.wrap(identity, CONTEXT, never));
    expect([error.code, error.retryable]).toEqual(['E_KEY_UNAVAILABLE', true]);
    expect(error.message).toMatch(/KMS cannot be reached \((ENOTFOUND|EAI_AGAIN)\)/);
  });
});

describe('a balancer', () => {
  test('before two stores: the parts of an upload do not come together, and nothing is taken for stored', async () => {
    const other = round.use(await startVersityGw());
    await other.createBucket(bucket);
    const balancer = round.use(await balanceRequests([s3.endpoint, other.endpoint]));
    const { store } = await open({ s3: balancer.url });
    const key = newKey();
    const error = await failure(store.put(key, small(), putOptions()));
    expect([error.code, CODES[error.code].exit]).toEqual(['E_STORE_RESPONSE', 14]);
    expect(error.message).toContain('the destination no longer knows the upload');
    expect(error.hint).toContain('leads to several stores');
    const { store: direct } = await open({});
    expect(await direct.head(key, { signal: never })).toBeNull();
  });

  test('before two KMS: a key that one of them does not have is refused, and not taken for lost', async () => {
    const other = round.use(await startKms());
    const balancer = round.use(await balanceRequests([kms.url, other.url]));
    const { key } = await open({ kms: balancer.url });
    expect((await key.check(never)).state).toBe('enabled');
    const error = await failure(key.wrap(identity, CONTEXT, never));
    expect([error.code, error.retryable]).toEqual(['E_KEY_REFUSED', false]);
    expect(error.message).toContain('there is no such key');
  });
});
