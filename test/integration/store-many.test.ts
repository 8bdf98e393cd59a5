/** Ten thousand snapshots: what a listing and the search for the newest cost, in requests, and that they are right. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Catalogue } from '../../src/catalogue/catalogue.ts';
import { newSnapshotId, type SnapshotId } from '../../src/core/ids.ts';
import { generateSigningKey } from '../../src/crypt/generate.ts';
import { localSigner } from '../../src/crypt/sign.ts';
import { kindPrefix, latestKey, objectKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import { FailingS3 } from '../support/failing-s3.ts';
import { startVersityGw } from '../support/s3-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { runJson } from '../support/strongroom-cli.ts';
import { worldEnv } from '../support/world.ts';

const COUNT = 10_000;
const HOUR_MS = 3_600_000;
/** The largest page that S3 gives. */
const PAGE = 1000;
const never = new AbortController().signal;
const stack = new AsyncDisposableStack();

let shelf: Shelf;
/** in front of the bucket; passes everything and counts */
let proxy: FailingS3;
let bucket: Store;
let folder: Store;
let ids: SnapshotId[];
let newest: SnapshotId;

beforeAll(async () => {
  const server = stack.use(await startVersityGw());
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
      await writeFile(path, 'not a manifest');
    }
  }
  newest = (await shelf.publish({ now: new Date(now) })).snapshot;
  ids.push(newest);
});
afterAll(() => stack.disposeAsync());
beforeEach(() => proxy.reset());

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
      expect(countOf('list')).toBe(COUNT / PAGE);
      expect(requests()).toHaveLength(COUNT / PAGE + 1);
    }
  });

  it('on the command line takes no more memory than 48 MiB of heap', async () => {
    const { configFile, env } = shelf.app;
    const args = ['snapshots', 'list', '--limit', '3', '--config', configFile];
    const listed = await runJson(args, { env, nodeArgs: ['--max-old-space-size=48'] });
    const expected = ids.toReversed().slice(0, 3);
    expect(listed).toMatchObject({
      snapshots: expected.map((snapshot) => ({ snapshot, destinations: ['bucket', 'folder'] })),
      failures: [],
    });
    expect(requests()).toHaveLength(COUNT / PAGE + 1);
  });
});

describe('the newest', () => {
  const found = async (stores: readonly Store[], options: { notAfter?: Date } = {}) =>
    (await shelf.catalogue(stores)).latest(never, options);

  it('is found by the pointer in five requests', async () => {
    const { newest: found_, skipped } = await found([bucket]);
    expect(found_?.manifest.snapshot).toBe(newest);
    expect(skipped).toEqual([]);
    expect(requests().toSorted()).toEqual(['get', 'get', 'get', 'head', 'list']);
  });

  it('is found without the pointer by one full listing', async () => {
    await bucket.delete(latestKey(shelf.deps.cluster), { signal: never });
    proxy.reset();
    expect((await found([bucket])).newest?.manifest.snapshot).toBe(newest);
    expect(countOf('list')).toBe(COUNT / PAGE);
    expect(requests().length).toBeLessThanOrEqual(COUNT / PAGE + 4);
  });

  it('of a time is found by the listing of its day', async () => {
    const day = new Date(Date.now() + HOUR_MS);
    expect((await found([bucket], { notAfter: day })).newest?.manifest.snapshot).toBe(newest);
    expect(requests().length).toBeLessThanOrEqual(5);
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
    expect(countOf('list')).toBe(COUNT / PAGE);
    expect(countOf('get')).toBeLessThanOrEqual(101);
  });
});
