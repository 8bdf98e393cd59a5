/** One of two destinations fails, in every way: no copy is taken for one, and the policy decides what the backup is. */
import { randomBytes, randomUUID } from 'node:crypto';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { OnProgress } from '../../src/core/progress.ts';
import { verifySnapshot } from '../../src/snapshots/verify.ts';
import type { S3StoreOptions } from '../../src/store/s3-options.ts';
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
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { openS3Store } from '../support/s3-store.ts';
import { grow } from '../support/seed-bulk.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { openApp } from '../support/strongroom-app.ts';
import { runCli, runJson } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { World, worldEnv } from '../support/world.ts';

const RETRY = { attempts: 2, baseMs: 20, maxMs: 50 };
const LONG = 999;
const never = new AbortController().signal;

const stack = new AsyncDisposableStack();
const buckets = { first: `first-${randomUUID()}`, second: `second-${randomUUID()}` };
let cluster: BaoCluster;
let s3: S3Server;
/** what answers for the second destination, and the wire to it */
let failing: FailingS3;
let wire: FaultProxy;
let world: World;
let app: TrialOptions;
let first: Store;

beforeAll(async () => {
  [cluster, s3] = await Promise.all([
    startCluster({ version: '2.7.2', nodes: 1 }).then((started) => stack.use(started)),
    sharedServer('versitygw'),
  ]);
  for (const bucket of Object.values(buckets)) await s3.createBucket(bucket);
  failing = stack.use(await FailingS3.start(s3.endpoint));
  wire = stack.use(await startFaultProxy(failing.url));
  world = stack.use(
    await World.create({
      destinations: {
        first: { type: 's3', server: s3, bucket: buckets.first },
        second: { type: 's3', server: { ...s3, endpoint: wire.url }, bucket: buckets.second },
      },
      canOpen: true,
    }),
  );
  await world.grant(cluster);
  await grow(cluster, 2 ** 20);
  app = { configFile: await world.config([cluster.first.url]), env: worldEnv(s3) };
  first = stack.use(await openS3Store(s3, {}, { name: 'first', bucket: buckets.first, prefix: '' })).store;
});
afterAll(() => stack.disposeAsync());

afterEach(async () => {
  await heal();
  expect(await inSpool(world)).toEqual([]);
});

async function heal(): Promise<void> {
  failing.reset();
  await wire.set({ kind: 'pass' });
}

type Trial = {
  /** how many destinations must hold a copy; 2 is the policy `all` */
  copies: 1 | 2;
  prove?: 'checksum' | 'read';
  second?: Partial<S3StoreOptions>;
  wrapSecond?: (store: Store) => Store;
  onProgress?: OnProgress;
};

function trial({ copies, prove, second, wrapSecond = (store) => store, onProgress }: Trial): TrialOptions {
  return {
    ...app,
    ...(onProgress === undefined ? {} : { onProgress }),
    change: async (configured) => {
      const { store } = stack.use(
        await openS3Store(
          s3,
          {},
          { name: 'second', bucket: buckets.second, prefix: '', via: wire.url, retry: RETRY, ...second },
        ),
      );
      const deps = await onStores(configured, [first, wrapSecond(store)]);
      return { ...deps, requiredCopies: copies, prove: prove ?? deps.prove };
    },
  };
}

/** Does `act` once, when preflight is over and the first bytes of the snapshot are here. */
function atSnapshot(act: () => unknown): OnProgress {
  let isDone = false;
  return ({ stage, bytes }) => {
    if (isDone || stage !== 'snapshot' || bytes === undefined) return;
    isDone = true;
    act();
  };
}

const content = async () => ({
  first: await inBucket(s3, buckets.first),
  second: await inBucket(s3, buckets.second),
});
const ofSnapshot = ({ objects }: { objects: readonly string[] }, id: string): string[] =>
  objects.filter((key) => key.includes(id)).map((key) => key.slice(key.indexOf(id) + id.length));
const WHOLE = ['.snap.age', '.keys.json', '.json', '.json.sig'].toSorted();

async function isCleanAgain(): Promise<void> {
  await heal();
  const result = await tryBackup(trial({ copies: 2 }));
  expect(result).toMatchObject({ complete: true, missing: [], attempts: 1 });
  const { first: one, second: two } = await content();
  expect([one.uploads, two.uploads]).toEqual([[], []]);
  for (const bucket of [one, two]) {
    expect(ofSnapshot(bucket, result.manifest.snapshot).toSorted()).toEqual(WHOLE);
  }
}

const always = (operation: Parameters<FailingS3['fail']>[0], fault: S3Fault) => () =>
  failing.fail(operation, fault, LONG);
const answer = (status: number, code: string): S3Fault => ({ kind: 'answer', status, code });

type Fault = { name: string; begin: () => unknown; code: string; exit: number; second?: Partial<S3StoreOptions> };
const faults: Fault[] = [
  { name: 'is gone', begin: () => wire.set({ kind: 'refuse' }), code: 'E_STORE_UNREACHABLE', exit: 14 },
  {
    name: 'crawls',
    begin: () => wire.set({ kind: 'throttle', bytesPerSecond: 20_000, direction: 'up' }),
    code: 'E_STORE_UNREACHABLE',
    exit: 14,
    second: { partTimeoutMs: 1500 },
  },
  { name: 'is full', begin: always('part', answer(403, 'QuotaExceeded')), code: 'E_STORE_FULL', exit: 14 },
  { name: 'answers 503 for good', begin: always('part', answer(503, 'SlowDown')), code: 'E_STORE_THROTTLED', exit: 14 },
  { name: 'takes rights away', begin: always('part', answer(403, 'AccessDenied')), code: 'E_STORE_DENIED', exit: 14 },
  { name: 'turns a bit', begin: always('part', { kind: 'corrupt-request' }), code: 'E_STORE_CHECKSUM', exit: 13 },
  {
    name: 'shows another checksum than was sent',
    begin: always('head', { kind: 'headers', set: { 'x-amz-checksum-sha256': `${'A'.repeat(43)}=-1` } }),
    code: 'E_STORE_CHECKSUM',
    exit: 13,
  },
];

describe.each(faults)('the second destination $name', ({ begin, code, exit, second = {} }) => {
  it('and all must have it: refused, and neither has anything of it', async () => {
    const before = await content();
    const error = await failedBackup(trial({ copies: 2, second, onProgress: atSnapshot(begin) }));
    expect(verdictOf(error)).toEqual([code, exit]);
    expect(error.message).toMatch(/^1 of 2 copies were stored and 2 are required, so nothing is published; second: /);
    expect(error.details['failures']).toMatchObject([{ store: 'second', code }]);
    expect((await content()).first).toEqual(before.first);
    await heal();
    expect((await content()).second).toEqual(before.second);
    await isCleanAgain();
  });

  it('and one copy is enough: stored in part, and the manifest says what is missing', async () => {
    const before = await content();
    const result = await tryBackup(trial({ copies: 1, second, onProgress: atSnapshot(begin) }));
    expect(result.complete).toBe(false);
    expect(result.missing).toMatchObject([{ what: 'copy in second', code }]);
    const { snapshot, destinations } = result.manifest;
    expect(destinations).toMatchObject([
      { name: 'first', status: 'stored', proof: 'checksum' },
      { name: 'second', status: 'missing', code },
    ]);
    await heal();
    const after = await content();
    expect(ofSnapshot(after.first, snapshot).toSorted()).toEqual(WHOLE);
    expect(after.first.uploads).toEqual([]);
    expect(after.second).toEqual(before.second);
    await isCleanAgain();
  });
});

describe('a destination that dies in the middle of its upload, and stays away until the run is over', () => {
  /** Runs `backup` until the second bucket has an unfinished upload; from then on nothing gets through to it. */
  async function dyingDuring<T>(backup: (onProgress: OnProgress) => Promise<T>): Promise<T> {
    const slowly = { kind: 'throttle', bytesPerSecond: 200_000, direction: 'up' } as const;
    const running = backup(atSnapshot(() => wire.set(slowly)));
    // Not the upload by which preflight tries its rights.
    const begun = until('the upload of the data has begun', async () =>
      (await inBucket(s3, buckets.second)).uploads.some((key) => key.endsWith('.snap.age')) ? true : undefined,
    );
    await Promise.race([begun, running]);
    await wire.set({ kind: 'refuse' });
    return await running;
  }

  it('and all must have it: the first is cleared at once, the second by the next run', async () => {
    const before = await content();
    const error = await dyingDuring((onProgress) => failedBackup(trial({ copies: 2, onProgress })));
    expect(verdictOf(error)).toEqual(['E_STORE_UNREACHABLE', 14]);
    const after = await content();
    expect(after.first).toEqual(before.first);
    expect(after.second.uploads).toHaveLength(1);
    expect(await inSpool(world)).toHaveLength(1);
    await isCleanAgain();
    expect((await content()).second.objects.filter((key) => after.second.objects.includes(key))).toEqual(
      before.second.objects,
    );
  });

  it('and one copy is enough: the first has it, the second is cleared by the next run', async () => {
    const before = await content();
    const { complete, missing, manifest } = await dyingDuring((onProgress) =>
      tryBackup(trial({ copies: 1, onProgress })),
    );
    expect(complete).toBe(false);
    expect(missing).toMatchObject([{ what: 'copy in second', code: 'E_STORE_UNREACHABLE' }]);
    expect((await content()).second.uploads).toHaveLength(1);
    expect(await inSpool(world)).toHaveLength(1);
    await isCleanAgain();
    const after = await content();
    expect(ofSnapshot(after.first, manifest.snapshot).toSorted()).toEqual(WHOLE);
    expect(ofSnapshot(after.second, manifest.snapshot)).toEqual([]);
    expect(after.second.objects).toEqual(expect.arrayContaining(before.second.objects));
  });
});

describe('a destination that is gone before the run', () => {
  it('and all must have it: Vault is asked for nothing', async () => {
    await wire.set({ kind: 'refuse' });
    const before = await inBucket(s3, buckets.first);
    const stages: string[] = [];
    const error = await failedBackup(trial({ copies: 2, onProgress: ({ stage }) => stages.push(stage) }));
    expect(verdictOf(error)).toEqual(['E_STORE_UNREACHABLE', 14]);
    expect(stages).toEqual(['preflight']);
    expect(await inBucket(s3, buckets.first)).toEqual(before);
  });

  it('and one copy is enough: stored in part, with a warning', async () => {
    await wire.set({ kind: 'refuse' });
    const { complete, missing, manifest } = await tryBackup(trial({ copies: 1 }));
    expect(complete).toBe(false);
    expect(missing).toMatchObject([{ what: 'copy in second', code: 'E_STORE_UNREACHABLE' }]);
    expect(manifest.warnings.join('\n')).toMatch(/destinations: .*"second"/);
    await isCleanAgain();
  });
});

it('a destination that asks to slow down for a while gets its copy', async () => {
  const slowDown = answer(503, 'SlowDown');
  const patient = { retry: { ...RETRY, attempts: 4 } };
  const begin = () => {
    for (const operation of ['create', 'part', 'complete', 'put', 'head'] as const)
      failing.fail(operation, slowDown, 2);
  };
  const result = await tryBackup(trial({ copies: 2, second: patient, onProgress: atSnapshot(begin) }));
  expect(result).toMatchObject({ complete: true, missing: [] });
  expect(failing.count('part')).toBe(3);
  expect(ofSnapshot((await content()).second, result.manifest.snapshot).toSorted()).toEqual(WHOLE);
});

describe('the proof of a copy', () => {
  it('sees an object that was exchanged after the upload', async () => {
    const before = await content();
    const { client } = stack.use(await openS3Store(s3, {}, { bucket: buckets.second, prefix: '' }));
    const exchanging = (store: Store): Store => ({
      ...bound(store),
      put: async (key, body, options) => {
        const stored = await store.put(key, body, options);
        if (key.endsWith('.snap.age')) {
          await client.send(
            new PutObjectCommand({ Bucket: buckets.second, Key: key, Body: randomBytes(stored.bytes) }),
          );
        }
        return stored;
      },
    });
    const error = await failedBackup(trial({ copies: 2, wrapSecond: exchanging }));
    expect(verdictOf(error)).toEqual(['E_STORE_CHECKSUM', 13]);
    expect(error.message).toMatch(/does not hold what was sent to it: part 1 of 1 differs/);
    expect(await content()).toEqual(before);
    await isCleanAgain();
  });

  it('by reading sees bytes that come back other than they went', async () => {
    const before = await content();
    const begin = always('get', { kind: 'corrupt-answer' });
    const error = await failedBackup(trial({ copies: 2, prove: 'read', onProgress: atSnapshot(begin) }));
    expect(verdictOf(error)).toEqual(['E_STORE_CHECKSUM', 13]);
    expect(await content()).toEqual(before);
    const { manifest } = await (heal(), tryBackup(trial({ copies: 2, prove: 'read' })));
    expect(manifest.destinations.map((copy) => copy.status === 'stored' && copy.proof)).toEqual(['read', 'read']);
  });
});

it('a destination that takes the data and refuses the manifest has no copy that counts, until the next run', async () => {
  let uploaded = 0;
  const onProgress: OnProgress = ({ stage, bytes, totalBytes }) => {
    if (stage !== 'upload second' || bytes !== totalBytes || uploaded > 0) return;
    uploaded += 1;
    failing.fail('put', answer(403, 'AccessDenied'), LONG);
  };
  const result = await tryBackup(trial({ copies: 2, onProgress }));
  expect(result.complete).toBe(false);
  expect(result.missing).toMatchObject([{ what: 'manifest in second', code: 'E_STORE_DENIED' }]);
  const { first: one, second: two } = await content();
  expect(ofSnapshot(one, result.manifest.snapshot).toSorted()).toEqual(WHOLE);
  expect(ofSnapshot(two, result.manifest.snapshot)).not.toContain('.json');
  await heal();
  await using opened = await openApp(app);
  const { copies } = await verifySnapshot(await opened.snapshotDeps('prod', never), result.manifest, never);
  expect(copies.map(({ destination, level }) => [destination, level])).toContainEqual(['first', 'archive']);
  await isCleanAgain();
  expect(ofSnapshot((await content()).second, result.manifest.snapshot).toSorted()).toEqual(WHOLE);
});

describe('on the command line, with a second destination that is full', () => {
  const full = () => failing.fail('part', answer(403, 'QuotaExceeded'), LONG);

  it('and all must have it: its own code, nothing on standard output', async () => {
    full();
    const before = await content();
    const result = await runCli(['backup', '--json', '--config', app.configFile], { env: app.env });
    expect(failureOf(result)).toMatchObject({ code: 'E_STORE_FULL', exitCode: 14 });
    expect(result).toMatchObject({ code: 14, stdout: '' });
    expect(await content()).toEqual(before);
  });

  it('and one copy is enough: 3, and the listing shows where it is not', async () => {
    const quorum = await world.config([cluster.first.url], { writePolicy: { quorum: 1 } }, 'quorum.yaml');
    full();
    const result = await runCli(['backup', '--json', '--config', quorum], { env: app.env });
    expect(result.code).toBe(3);
    expect(failureOf(result)).toMatchObject({
      code: 'E_PARTIAL',
      message: expect.stringContaining('copy in second') as string,
    });
    const document = JSON.parse(result.stdout) as { complete: boolean; manifest: { snapshot: string } };
    expect(document).toMatchObject({ complete: false, missing: [{ what: 'copy in second', code: 'E_STORE_FULL' }] });
    await heal();
    const { snapshot } = document.manifest;
    const listed = (await runJson(['snapshots', 'list', '--limit', '1', '--config', quorum], { env: app.env })) as {
      snapshots: unknown[];
    };
    expect(listed.snapshots).toMatchObject([{ snapshot, destinations: ['first'], missing: ['second'] }]);
    expect(await runJson(['snapshots', 'show', 'latest', '--config', quorum], { env: app.env })).toMatchObject({
      manifest: { snapshot, destinations: [{ status: 'stored' }, { status: 'missing', code: 'E_STORE_FULL' }] },
    });
  });
});

/** The methods of a store as values, for a store that is the same but for one. */
function bound(store: Store): Store {
  return {
    name: store.name,
    location: store.location,
    put: (...args) => store.put(...args),
    get: (...args) => store.get(...args),
    head: (...args) => store.head(...args),
    list: (...args) => store.list(...args),
    delete: (...args) => store.delete(...args),
    legalHold: (...args) => store.legalHold(...args),
    setLegalHold: (...args) => store.setLegalHold(...args),
    probeWrite: (...args) => store.probeWrite(...args),
    versions: (...args) => store.versions(...args),
    extendLock: (...args) => store.extendLock(...args),
    listUnfinished: (...args) => store.listUnfinished(...args),
    abortUnfinished: (...args) => store.abortUnfinished(...args),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
