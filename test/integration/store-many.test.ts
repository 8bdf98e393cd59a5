/** Ten thousand snapshots: what a listing and the search for the newest cost, in requests, and that they are right. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Catalogue } from '../../src/catalogue/catalogue.ts';
import { newSnapshotId, type SnapshotId, snapshotTime } from '../../src/core/ids.ts';
import { generateSigningKey } from '../../src/crypt/generate.ts';
import { localSigner } from '../../src/crypt/sign.ts';
import { walkSnapshots } from '../../src/snapshots/audit-walk.ts';
import { listNames } from '../../src/snapshots/list.ts';
import { kindPrefix, latestKey, objectKey } from '../../src/store/layout.ts';
import type { Store, StoredObject } from '../../src/store/store.ts';
import { FailingS3 } from '../support/failing-s3.ts';
import { startVersityGw } from '../support/s3-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { runJson } from '../support/strongroom-cli.ts';
import { worldEnv } from '../support/world.ts';

const COUNT = 10_000;
const HOUR_MS = 3_600_000;
/** The largest page that S3 gives. */
const PAGE = 1000;
/** The pages, the pointer, and what the parts of a listing that are asked for at once read over their ends. */
const MOST_REQUESTS = COUNT / PAGE + 1 + 4;
/** What `snapshots list` shows unless told otherwise. */
const SHOWN = 50;
const DAY_MS = 24 * HOUR_MS;
/** as long as one: what is shorter may be a tombstone, and is opened */
const notAManifest = 'not a manifest '.repeat(200);
const never = new AbortController().signal;
const stack = new AsyncDisposableStack();

let server: Awaited<ReturnType<typeof startVersityGw>>;
let shelf: Shelf;
/** in front of the bucket; passes everything and counts */
let proxy: FailingS3;
let bucket: Store;
let folder: Store;
let ids: SnapshotId[];
let newest: SnapshotId;

beforeAll(async () => {
  server = stack.use(await startVersityGw());
  await server.createBucket('many');
  proxy = stack.use(await FailingS3.start(server.endpoint));
  shelf = stack.use(
    await Shelf.open(
      {
        bucket: { type: 's3', server: { ...server, endpoint: proxy.url }, bucket: 'many' },
        folder: { type: 'directory', path: 'folder' },
      },
      worldEnv(server),
    ),
  );
  const [a, b] = shelf.deps.destinations;
  if (a === undefined || b === undefined) throw new Error('two destinations are configured');
  bucket = a.store;
  folder = b.store;
  const folders = [join(server.objects, 'many'), join(shelf.world.directory, 'folder')];
  const now = Date.now();
  // One an hour, as a busy cluster has after fourteen months; only the newest is more than a name.
  ids = Array.from({ length: COUNT - 1 }, (_, i) => newSnapshotId(new Date(now - (COUNT - i) * HOUR_MS)));
  for (const root of folders) {
    const made = new Set<string>();
    for (const id of ids) {
      const path = join(root, objectKey(shelf.deps.cluster, 'manifests', id));
      if (!made.has(dirname(path))) await mkdir(dirname(path), { recursive: true });
      made.add(dirname(path));
      await writeFile(path, notAManifest);
    }
  }
  newest = (await shelf.publish({ now: new Date(now) })).snapshot;
  ids.push(newest);
});
afterAll(() => stack.disposeAsync());
beforeEach(() => proxy.reset());

const manifestPages = () =>
  proxy.calls.filter(({ operation, query }) => operation === 'list' && query.get('prefix')?.includes('/manifests/'))
    .length;
const requests = () => proxy.calls.map(({ operation }) => operation);
const countOf = (operation: string) => requests().filter((made) => made === operation).length;

describe('the listing', () => {
  it('of a bucket asks for one page after the other, and for the next only when it is needed', async () => {
    let seen = 0;
    for await (const _ of bucket.list(kindPrefix(shelf.deps.cluster, 'manifests'), { signal: never })) {
      seen += 1;
      if (seen === PAGE) break;
    }
    expect(requests()).toEqual(['list']);
  });

  it.each(['bucket', 'folder'])('of a %s has every snapshot once, oldest first', async (name) => {
    const store = name === 'bucket' ? bucket : folder;
    const { entries, failures } = await (await shelf.catalogue([store])).list(never);
    expect(failures).toEqual([]);
    expect(entries.map(({ snapshot }) => snapshot)).toEqual(ids);
    if (name === 'bucket') {
      expect(countOf('list')).toBeGreaterThanOrEqual(COUNT / PAGE);
      expect(requests().length).toBeLessThanOrEqual(MOST_REQUESTS);
    }
  });

  it('of a bucket asks for what is behind the first page in several parts at once', async () => {
    let now = 0;
    let most = 0;
    const watched = watchList(bucket, async (page) => {
      now += 1;
      most = Math.max(most, now);
      const result = await page();
      now -= 1;
      return result;
    });
    const { entries } = await (await shelf.catalogue([watched])).list(never);
    expect(entries).toHaveLength(COUNT);
    expect(most).toBe(4);
  });

  it('of a period asks for its days only', async () => {
    const [since, until_] = [ids[COUNT - 100], ids[COUNT - 60]].map((id) => snapshotTime(id as SnapshotId));
    if (since === undefined || until_ === undefined) throw new Error('there are ten thousand');
    const { entries } = await listNames(
      { catalogue: await shelf.catalogue([bucket]) },
      { since, until: until_ },
      never,
    );
    expect(entries.map(({ snapshot }) => snapshot)).toEqual(ids.slice(COUNT - 100, COUNT - 59).toReversed());
    expect(requests()).toEqual(['list']);
  });

  it('loses nothing when every cache is deleted', async () => {
    const catalogue = await shelf.catalogue([bucket, folder]);
    const before = await catalogue.list(never);
    for (const store of [bucket, folder]) await store.delete(latestKey(shelf.deps.cluster), { signal: never });
    await rm(join(shelf.world.directory, 'folder', '.strongroom', 'meta'), { recursive: true });
    expect(await catalogue.list(never)).toEqual(before);
    expect((await catalogue.latest(never)).newest?.manifest.snapshot).toBe(newest);
    expect(before.entries).toHaveLength(COUNT);
    const pointer = { snapshot: newest, manifest: objectKey(shelf.deps.cluster, 'manifests', newest) };
    for (const store of [bucket, folder]) {
      const put = { signal: never, condition: 'absent', contentType: 'application/json' } as const;
      await store.put(latestKey(shelf.deps.cluster), Buffer.from(JSON.stringify(pointer)), put);
    }
  });

  it('on the command line takes no more memory than 48 MiB of heap', async () => {
    const { configFile, env } = shelf.app;
    const args = ['snapshots', 'list', '--names-only', '--limit', '3', '--config', configFile];
    const listed = await runJson(args, { env, nodeArgs: ['--max-old-space-size=48'] });
    const expected = ids.toReversed().slice(0, 3);
    expect(listed).toMatchObject({
      snapshots: expected.map((snapshot) => ({ snapshot, destinations: ['bucket', 'folder'] })),
      more: COUNT - 3,
      failures: [],
    });
    expect(requests().length).toBeLessThanOrEqual(MOST_REQUESTS);
  });

  it('of a region has what is in the buckets there', async () => {
    const { configFile, env } = shelf.app;
    const args = ['snapshots', 'list', '--names-only', '--limit', '1', '--config', configFile, '--region'];
    const listed = await runJson([...args, server.region], { env });
    expect(listed).toMatchObject({
      snapshots: [{ snapshot: newest, destinations: ['bucket', 'folder'] }],
      more: COUNT - 1,
    });
    await expect(runJson([...args, 'nowhere-1'], { env })).rejects.toThrow(`it has some in ${server.region}`);
  });

  it('opens only what is shown: for fifty snapshots no more than two objects each', async () => {
    const { configFile, env } = shelf.app;
    const listed = await runJson(['snapshots', 'list', '--config', configFile], { env });
    expect(listed).toMatchObject({ snapshots: { length: SHOWN }, more: COUNT - SHOWN });
    expect((listed as { snapshots: unknown[] }).snapshots[0]).toMatchObject({ snapshot: newest, purpose: 'backup' });
    expect(countOf('get')).toBeLessThanOrEqual(2 * SHOWN + 1);
    // Proofs and holds are a listing each.
    expect(countOf('list')).toBeLessThanOrEqual(MOST_REQUESTS + 1);
  });
});

it('opens no more than a few of many objects that are too small for a manifest', async () => {
  const few = 400;
  const root = join(server.objects, 'small');
  await server.createBucket('small');
  for (const id of ids.slice(0, few)) {
    const path = join(root, objectKey(shelf.deps.cluster, 'manifests', id));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, 'x');
  }
  await using other = await Shelf.open(
    { bucket: { type: 's3', server: { ...server, endpoint: proxy.url }, bucket: 'small' } },
    worldEnv(server),
  );
  proxy.reset();
  const { entries } = await (await other.catalogue(other.deps.destinations.map(({ store }) => store))).list(never);
  expect(entries).toHaveLength(few);
  // And the pointer.
  expect(countOf('get')).toBe(32 + 1);
});

describe('the walk of an audit', () => {
  it('sees every snapshot of both destinations side by side, a page of each listing at a time', async () => {
    const seen: SnapshotId[] = [];
    let behind = 0;
    const walk = {
      cluster: shelf.deps.cluster,
      stores: [bucket, folder],
      onObject: () => undefined,
      onForeign: () => undefined,
      onFailure: (_: Store, e: Error) => {
        throw e;
      },
    };
    for await (const { snapshot, stores } of walkSnapshots(walk, never)) {
      seen.push(snapshot);
      // What was asked for is at most a page ahead of what was seen.
      behind = Math.max(behind, manifestPages() * PAGE - seen.length);
      expect([...stores.keys()]).toEqual([bucket, folder]);
    }
    expect(seen).toEqual(ids);
    expect(behind).toBeLessThanOrEqual(PAGE);
    expect(countOf('list')).toBe(COUNT / PAGE + 3);
  });
});

describe('the newest', () => {
  const found = async (stores: readonly Store[], options: { notAfter?: Date } = {}) =>
    (await shelf.catalogue(stores)).latest(never, options);

  it('is found by the pointer in six requests', async () => {
    const { newest: found_, skipped } = await found([bucket]);
    expect(found_?.manifest.snapshot).toBe(newest);
    expect(skipped).toEqual([]);
    // What is behind the pointer is a listing, and so are the marks.
    expect(requests().toSorted()).toEqual(['get', 'get', 'get', 'head', 'list', 'list']);
  });

  it('is found without the pointer by one full listing', async () => {
    await bucket.delete(latestKey(shelf.deps.cluster), { signal: never });
    proxy.reset();
    expect((await found([bucket])).newest?.manifest.snapshot).toBe(newest);
    expect(countOf('list')).toBeGreaterThanOrEqual(COUNT / PAGE);
    expect(requests().length).toBeLessThanOrEqual(MOST_REQUESTS + 3);
  });

  it('of a time is found by the listing of its day', async () => {
    const day = new Date(Date.now() + HOUR_MS);
    expect((await found([bucket], { notAfter: day })).newest?.manifest.snapshot).toBe(newest);
    expect(requests().length).toBeLessThanOrEqual(5);
  });

  it.each([1, 5, 40, 300])('of a time %s days behind it is found without a listing of everything', async (days) => {
    const time = new Date(snapshotTime(newest).getTime() + days * DAY_MS);
    expect((await found([bucket], { notAfter: time })).newest?.manifest.snapshot).toBe(newest);
    // Further back the periods are longer, so that a gap of a year costs four listings, and the last is of few pages.
    expect(requests().length).toBeLessThanOrEqual(days > 64 ? COUNT / PAGE + 6 : days > 8 ? 7 : 6);
  });

  it('of a time before everything is nobody, by five listings that end where they begin', async () => {
    const first = snapshotTime(ids[0] as SnapshotId);
    const { newest: none } = await found([bucket], { notAfter: new Date(first.getTime() - 1) });
    expect(none).toBeNull();
    expect(requests()).toEqual(Array.from({ length: 5 }, () => 'list'));
  });

  it('is given up after fifty refusals where every manifest is refused, as with a forgotten signing key', async () => {
    const stranger = await localSigner(generateSigningKey().privateKeyPem).publicKeyPem(never);
    const { cluster } = shelf.deps;
    const { newest: none, skipped } = await new Catalogue({ cluster, stores: [bucket], trusted: [stranger] }).latest(
      never,
    );
    expect(none).toBeNull();
    expect(skipped).toHaveLength(50);
    expect(new Set(skipped.map(({ code }) => code))).toEqual(new Set(['E_SIGNATURE']));
    expect(countOf('list')).toBeLessThanOrEqual(MOST_REQUESTS);
    expect(countOf('get')).toBeLessThanOrEqual(101);
  });
});

/** The same store, whose listings go through `next`, one call for each object. */
function watchList(
  store: Store,
  next: (page: () => Promise<IteratorResult<StoredObject>>) => Promise<IteratorResult<StoredObject>>,
): Store {
  const list: Store['list'] = (...args) => ({
    [Symbol.asyncIterator]: () => {
      const objects = store.list(...args)[Symbol.asyncIterator]();
      return {
        next: () => next(() => objects.next()),
        return: async (value: unknown) => (await objects.return?.(value)) ?? { done: true, value },
      };
    },
  });
  return new Proxy(store, {
    get(target, name): unknown {
      if (name === 'list') return list;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
