/** What stores may answer, forget, hide and refuse, as a whole backup and the way to a restore meet it. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import type { ClusterName, SnapshotId } from '../../src/core/ids.ts';
import type { OnProgress } from '../../src/core/progress.ts';
import { KINDS } from '../../src/snapshots/presence.ts';
import { latestKey, type ObjectKind, objectKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import {
  failedBackup,
  failureOf,
  inBucket,
  inSpool,
  onStores,
  type TrialOptions,
  tryBackup,
  verdictOf,
} from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { FailingS3, type S3Fault } from '../support/failing-s3.ts';
import type { S3Call, S3Operation } from '../support/failing-s3-operation.ts';
import { installsOn } from '../support/restore-trial.ts';
import { type S3Server, s3Client } from '../support/s3-connection.ts';
import { openS3Store } from '../support/s3-store.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { rehearse } from '../support/strongroom-app.ts';
import { type CliResult, runCli, runJson } from '../support/strongroom-cli.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const CLUSTER = 'prod' as ClusterName;
const BOTH = ['a', 'b'] as const;
type Where = (typeof BOTH)[number];
const RETRY = { attempts: 2, baseMs: 1, maxMs: 1 };
const ALWAYS = 999;

const stack = new AsyncDisposableStack();
const buckets = { a: `a-${randomUUID()}`, b: `b-${randomUUID()}`, locked: `locked-${randomUUID()}` };
let cluster: BaoCluster;
let s3: S3Server;
let client: S3Client;
let proxies: Record<Where, FailingS3>;
let world: World;
let app: TrialOptions;
let stores: Store[];
let older: SnapshotId;
let newer: SnapshotId;

beforeAll(async () => {
  [cluster, s3] = await Promise.all([
    startCluster({ version: '2.7.2', nodes: 1 }).then((started) => stack.use(started)),
    sharedServer('versitygw'),
  ]);
  client = stack.adopt(s3Client(s3), (opened) => opened.destroy());
  for (const [name, bucket] of Object.entries(buckets))
    await s3.createBucket(bucket, { objectLock: name === 'locked' });
  proxies = {
    a: stack.use(await FailingS3.start(s3.endpoint)),
    b: stack.use(await FailingS3.start(s3.endpoint)),
  };
  const destination = (name: Where) =>
    ({ type: 's3', server: { ...s3, endpoint: proxies[name].url }, bucket: buckets[name] }) as const;
  world = stack.use(await World.create({ destinations: { a: destination('a'), b: destination('b') }, canOpen: true }));
  await world.grant(cluster, RESTORE_POLICY);
  app = { configFile: await world.config([cluster.first.url]), env: worldEnv(s3) };
  const opened = await Promise.all(
    BOTH.map((name) =>
      openS3Store(s3, {}, { name, bucket: buckets[name], prefix: '', via: proxies[name].url, retry: RETRY }),
    ),
  );
  stores = opened.map((store) => stack.use(store).store);
  older = (await tryBackup(quick())).manifest.snapshot as SnapshotId;
  newer = (await tryBackup(quick())).manifest.snapshot as SnapshotId;
});
afterAll(() => stack.disposeAsync());

afterEach(async () => {
  heal();
  expect(await inSpool(world)).toEqual([]);
  expect(await installsOn(cluster.first)).toBe(0);
});

function heal(): void {
  for (const proxy of Object.values(proxies)) proxy.reset();
}

/** Both destinations must have their copy; tries follow each other at once. */
function quick(more: Partial<TrialOptions> = {}): TrialOptions {
  return { ...app, change: async (configured) => await onStores(configured, stores), ...more };
}

const answer = (status: number, code: string): S3Fault => ({ kind: 'answer', status, code });
const content = async () => ({ a: await inBucket(s3, buckets.a), b: await inBucket(s3, buckets.b) });
const keyOf = (kind: ObjectKind, id: SnapshotId) => objectKey(CLUSTER, kind, id);
const kindsOf = async (where: Where, id: SnapshotId): Promise<ObjectKind[]> => {
  const { objects } = await inBucket(s3, buckets[where]);
  return KINDS.filter((kind) => objects.includes(keyOf(kind, id)));
};

describe('a backup is refused before Vault is asked for a byte, when one destination of two answers', () => {
  it.each<[name: string, status: number, code: string, exit: number, says: RegExp]>([
    ['NoSuchBucket', 404, 'E_STORE_BUCKET', 15, /there is no bucket/],
    ['PermanentRedirect', 301, 'E_STORE_BUCKET', 15, /redirect.* never followed/],
    ['ExpiredToken', 400, 'E_STORE_DENIED', 14, /have expired/],
    ['InvalidAccessKeyId', 403, 'E_STORE_DENIED', 14, /not known there/],
    ['SignatureDoesNotMatch', 403, 'E_STORE_DENIED', 14, /signature does not fit/],
    ['KMS.DisabledException', 400, 'E_STORE_DENIED', 14, /KMS\.DisabledException/],
    ['RequestTimeTooSkewed', 403, 'E_STORE_SKEW', 14, /clocks differ/],
    ['InternalError', 500, 'E_STORE_RESPONSE', 14, /error inside/],
    ['BadGateway', 502, 'E_STORE_UNREACHABLE', 14, /behind its gateway/],
    ['NotImplemented', 501, 'E_PRECONDITION', 14, /cannot do what was asked/],
  ])('%s', async (name, status, code, exit, says) => {
    const before = await content();
    proxies.b.fail('create', answer(status, name), ALWAYS);
    const stages: string[] = [];
    const error = await failedBackup(quick({ onProgress: ({ stage }) => stages.push(stage) }));
    expect(verdictOf(error)).toEqual([code, exit]);
    expect(error.message).toMatch(says);
    expect(error.message).toContain('in destination "b"');
    expect(stages).toEqual(['preflight']);
    expect(await content()).toEqual(before);
  });
});

describe('a backup whose second destination changes its mind after preflight publishes nothing', () => {
  /** Does `act` once, when the first bytes of the snapshot are here. */
  const atSnapshot = (act: () => unknown): OnProgress => {
    let isDone = false;
    return ({ stage, bytes }) => {
      if (isDone || stage !== 'snapshot' || bytes === undefined) return;
      isDone = true;
      act();
    };
  };

  it.each<[name: string, status: number, operation: S3Operation, code: string, exit: number]>([
    ['RequestTimeTooSkewed', 403, 'part', 'E_STORE_SKEW', 14],
    ['ExpiredToken', 400, 'complete', 'E_STORE_DENIED', 14],
    ['EntityTooLarge', 400, 'part', 'E_PRECONDITION', 14],
    ['MetadataTooLarge', 400, 'create', 'E_PRECONDITION', 14],
    ['InvalidStorageClass', 400, 'put', 'E_PRECONDITION', 14],
    ['PreconditionFailed', 412, 'complete', 'E_STORE_CONFLICT', 14],
    ['ConditionalRequestConflict', 409, 'complete', 'E_STORE_CONFLICT', 14],
    ['NoSuchUpload', 404, 'part', 'E_STORE_RESPONSE', 14],
    ['MalformedXML', 400, 'complete', 'E_STORE_RESPONSE', 14],
    ['RequestTimeout', 400, 'part', 'E_STORE_UNREACHABLE', 14],
    ['InvalidDigest', 400, 'put', 'E_STORE_CHECKSUM', 13],
  ])('%s', async (name, status, operation, code, exit) => {
    const before = await content();
    const begin = () => proxies.b.fail(operation, answer(status, name), ALWAYS);
    const error = await failedBackup(quick({ onProgress: atSnapshot(begin) }));
    expect(verdictOf(error)).toEqual([code, exit]);
    expect(error.message).toMatch(/^1 of 2 copies were stored and 2 are required, so nothing is published; b: /);
    expect(await content()).toEqual(before);
  });
});

it('manifests that were taken and are not shown: an error, nothing is taken from them, and the next run finds them', async () => {
  const before = (await inBucket(s3, buckets.a)).objects;
  const ofManifest = ({ key }: S3Call) => key.includes('/manifests/');
  const isNew = (call: S3Call) => ofManifest(call) && ![older, newer].some((id) => call.key.includes(id));
  for (const name of BOTH) proxies[name].fail('head', answer(404, 'NotFound'), ALWAYS, isNew);
  const error = await failedBackup(quick());
  expect(verdictOf(error)).toEqual(['E_STORE_RESPONSE', 14]);
  expect(error.message).toContain('stored, and then it is not there');
  const made = (await inBucket(s3, buckets.a)).objects.filter(
    (key) => ofManifest({ key } as S3Call) && !before.includes(key),
  );
  const id = /-([0-9A-Z]{26})\.json$/.exec(made[0] ?? '')?.[1] as SnapshotId;
  for (const name of BOTH) expect(await kindsOf(name, id)).toEqual(KINDS);
  expect(await inSpool(world)).toHaveLength(1);
  heal();
  const next = await tryBackup(quick());
  expect(next).toMatchObject({ complete: true });
  for (const name of BOTH) expect(await kindsOf(name, id)).toEqual(KINDS);
  expect(await runJson(['snapshots', 'verify', id, '--config', app.configFile], { env: app.env })).toMatchObject({
    copies: BOTH.map(() => ({ level: 'archive', error: null })),
  });
  newer = next.manifest.snapshot as SnapshotId;
});

describe('a listing that lags', () => {
  const hideNewest = () => {
    const body = (xml: string) =>
      xml.replaceAll(/<Contents>.*?<\/Contents>/gs, (entry) => (entry.includes(newer) ? '' : entry));
    for (const name of BOTH) proxies[name].fail('list', { kind: 'rewrite', body }, ALWAYS);
  };

  it('is no gap in the chain, and no reason to restore what is older', async () => {
    hideNewest();
    const dryRun = ['restore', '--dry-run', '--snapshot', 'latest', '--config', app.configFile];
    const shown = await runCli(dryRun, { env: app.env });
    expect(shown.code).toBe(0);
    expect(shown.stdout).toContain(newer);
    const { manifest } = await tryBackup(quick());
    expect(manifest.previous?.snapshot).toBe(newer);
    newer = manifest.snapshot as SnapshotId;
  });
});

describe('the way to a restore', () => {
  const ofData = ({ key }: S3Call) => key.includes('/data/');

  it.each<[name: string, status: number, code: string]>([
    ['AccessDenied', 403, 'E_STORE_DENIED'],
    ['ExpiredToken', 400, 'E_STORE_DENIED'],
    ['SignatureDoesNotMatch', 403, 'E_STORE_DENIED'],
    ['KMS.DisabledException', 400, 'E_STORE_DENIED'],
    ['NoSuchBucket', 404, 'E_STORE_BUCKET'],
    ['RequestTimeTooSkewed', 403, 'E_STORE_SKEW'],
    ['InvalidObjectState', 403, 'E_PRECONDITION'],
    ['NoSuchKey', 404, 'E_NOT_FOUND'],
  ])(
    '%s to whoever reads the data: the other destination has it, and without one it is told',
    async (name, status, code) => {
      proxies.a.fail('get', answer(status, name), ALWAYS, ofData);
      await rehearse(app);
      expect(proxies.a.calls.filter((call) => call.operation === 'get' && ofData(call))).toHaveLength(1);
      proxies.b.fail('get', answer(status, name), ALWAYS, ofData);
      await expect(rehearse(app)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(/no destination has a usable copy of \w+: a: .*; b: /) as string,
      });
    },
  );

  /** Takes objects of the newest snapshot away, runs `look`, and puts them back. */
  async function without(gone: readonly (readonly [Where, ObjectKind])[], look: () => Promise<void>): Promise<void> {
    const back: (() => Promise<unknown>)[] = [];
    for (const [where, kind] of gone) {
      const at = { Bucket: buckets[where], Key: keyOf(kind, newer) };
      const found = await client.send(new GetObjectCommand(at));
      const Body = (await found.Body?.transformToByteArray()) ?? new Uint8Array();
      back.push(() => client.send(new PutObjectCommand({ ...at, Body, Metadata: found.Metadata ?? {} })));
      await client.send(new DeleteObjectCommand(at));
    }
    try {
      await look();
    } finally {
      for (const put of back) await put();
    }
  }
  const inBoth = (...kinds: ObjectKind[]) => BOTH.flatMap((where) => kinds.map((kind) => [where, kind] as const));

  it('one destination has what the other lacks: together they are enough', async () => {
    await without(
      [
        ['a', 'manifests'],
        ['a', 'keys'],
        ['b', 'data'],
      ],
      async () => {
        const plan = await rehearse(app, { snapshot: newer });
        expect(plan.warnings.join('\n')).toMatch(/a: .*it is not there/);
        await rehearse(app);
      },
    );
    await without([['a', 'sigs'], ...inBoth('keys')], async () => {
      await rehearse(app);
    });
  });

  it('no data anywhere: refused, latest as well', async () => {
    await without(inBoth('data'), async () => {
      for (const snapshot of ['latest', newer]) {
        await expect(rehearse(app, { snapshot })).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
      }
    });
  });

  it('no signature anywhere: refused, latest as well', async () => {
    await without(inBoth('sigs'), async () => {
      for (const snapshot of ['latest', newer]) {
        await expect(rehearse(app, { snapshot })).rejects.toMatchObject({ code: 'E_SIGNATURE' });
      }
    });
  });

  it('no manifest anywhere: latest is not the one before in silence, and that one is named', async () => {
    const { previous } = (
      (await runJson(['snapshots', 'show', newer, '--config', app.configFile], { env: app.env })) as {
        manifest: { previous: { snapshot: string } };
      }
    ).manifest;
    await without(inBoth('manifests'), async () => {
      const dryRun = (snapshot: string): Promise<CliResult> =>
        runCli(['restore', '--dry-run', '--json', '--snapshot', snapshot, '--config', app.configFile], {
          env: app.env,
        });
      const latest = await dryRun('latest');
      expect(latest).toMatchObject({ code: 10, stdout: '' });
      expect(failureOf(latest)).toMatchObject({
        code: 'E_NOT_FOUND',
        message: expect.stringContaining(`the manifest of ${newer}; its data is in a and b`) as string,
        hint: expect.stringContaining(`--snapshot ${previous.snapshot}`) as string,
      });
      expect((await dryRun(previous.snapshot)).code).toBe(0);
    });
  });
});

describe('a destination that is to lock', () => {
  /** The config with `objectLock` on both destinations, in other buckets. */
  async function lockingConfig(bucket: string): Promise<string> {
    const config = parse(await readFile(app.configFile, 'utf8')) as { destinations: Record<string, object> };
    const { a } = config.destinations;
    const objectLock = { mode: 'governance', keep: '1h' };
    config.destinations = { ...config.destinations, a: { ...a, bucket, objectLock } };
    return await world.write('locking.yaml', stringify(config));
  }
  const run = async (bucket: string, ...args: string[]) =>
    await runCli(['backup', '--json', ...args, '--config', await lockingConfig(bucket)], { env: app.env });

  it('and whose bucket cannot: said by the dry run and by the backup, before anything is taken or sent', async () => {
    const before = await content();
    const rehearsed = await run(buckets.a, '--dry-run');
    expect(rehearsed.code).toBe(14);
    expect(JSON.parse(rehearsed.stdout)).toMatchObject({
      ready: false,
      checks: expect.arrayContaining([
        {
          name: 'destinations',
          status: 'failed',
          detail: expect.stringContaining('the bucket has no object lock') as string,
        },
      ]) as unknown[],
    });
    const failed = await run(buckets.a);
    expect(failed).toMatchObject({ code: 14, stdout: '' });
    expect(failureOf(failed)).toMatchObject({
      code: 'E_PRECONDITION',
      exitCode: 14,
      hint: 'make the bucket with object lock enabled, or take objectLock out of this destination',
    });
    expect(await content()).toEqual(before);
  });

  it('and whose bucket can: every object of the snapshot is locked there', async () => {
    const done = await run(buckets.locked);
    expect(done.code).toBe(0);
    const { manifest } = JSON.parse(done.stdout) as { manifest: { snapshot: SnapshotId; destinations: unknown[] } };
    expect(manifest.destinations).toMatchObject([{ name: 'a', lock: { mode: 'governance' } }, { name: 'b' }]);
    await using opened = await openS3Store(s3, {}, { bucket: buckets.locked, prefix: '' });
    for (const kind of KINDS) {
      const head = await opened.store.head(keyOf(kind, manifest.snapshot), { signal: new AbortController().signal });
      expect(head?.lock?.mode, kind).toBe('governance');
    }
    newer = manifest.snapshot;
  });
});

describe('clocks', () => {
  it('of this machine, 20 minutes ahead: backup and restore are refused with their own code', async () => {
    const before = await content();
    const ahead = 20 * 60_000;
    const preload = `const R = Date; globalThis.Date = class extends R {
      constructor(...a) { if (a.length > 0) super(...a); else super(R.now() + ${ahead}); }
      static now() { return R.now() + ${ahead}; } };`;
    const nodeArgs = ['--import', `data:text/javascript,${encodeURIComponent(preload)}`];
    for (const command of [['backup'], ['restore', '--dry-run']]) {
      const result = await runCli([...command, '--json', '--config', app.configFile], { env: app.env, nodeArgs });
      expect(result).toMatchObject({ code: 14, stdout: '' });
      expect(failureOf(result)).toMatchObject({
        code: 'E_STORE_SKEW',
        message: expect.stringMatching(/2[01] min apart/) as string,
        hint: expect.stringContaining('NTP') as string,
      });
    }
    expect(await content()).toEqual(before);
  });

  it('of the machine that made the newest snapshot: every backup says that it is not the latest', async () => {
    const tomorrow = { now: () => new Date(Date.now() + 24 * 3_600_000) };
    const early = await tryBackup(
      quick({ change: async (configured) => ({ ...(await onStores(configured, stores)), clock: tomorrow }) }),
    );
    const id = early.manifest.snapshot as SnapshotId;
    try {
      const { complete, manifest } = await tryBackup(quick());
      expect(complete).toBe(true);
      expect(manifest.snapshot < id).toBe(true);
      expect(manifest.warnings.join('\n')).toMatch(
        new RegExp(`catalogue: the newest snapshot ${id} was made at .*, (1d|23h 59m) ahead of this machine's clock`),
      );
    } finally {
      for (const name of BOTH) {
        for (const Key of [...KINDS.map((kind) => keyOf(kind, id)), latestKey(CLUSTER)]) {
          await client.send(new DeleteObjectCommand({ Bucket: buckets[name], Key }));
        }
      }
    }
  });
});
