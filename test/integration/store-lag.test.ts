/** A listing that lags behind: what is there is not shown for a while. Nothing good may be passed over or swept away for it. */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { note } from '../../src/backup/journal.ts';
import type { Destination } from '../../src/backup/options.ts';
import { sweepAfterCrash, sweepAgain } from '../../src/backup/sweep.ts';
import type { Manifest } from '../../src/catalogue/manifest.ts';
import { newRunId, type SnapshotId } from '../../src/core/ids.ts';
import { KINDS } from '../../src/snapshots/presence.ts';
import { runFolder } from '../../src/spool/folder.ts';
import { latestKey, type ObjectKind, objectKey } from '../../src/store/layout.ts';
import { filesIn, inBucket } from '../support/backup-trial.ts';
import { FailingS3, type S3Fault } from '../support/failing-s3.ts';
import { never } from '../support/faulty-store.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { openS3Store } from '../support/s3-store.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { worldEnv } from '../support/world.ts';

const ALWAYS = 999;
const RETRY = { attempts: 2, baseMs: 1, maxMs: 1 };

let stack: AsyncDisposableStack;
let server: S3Server;
let shelf: Shelf;
/** two buckets, each behind a proxy of its own */
let destinations: Record<'a' | 'b', Destination>;
let proxies: Record<'a' | 'b', FailingS3>;
let buckets: Record<'a' | 'b', string>;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  server = await sharedServer('versitygw');
  buckets = { a: `a-${randomUUID()}`, b: `b-${randomUUID()}` };
  const [a, b] = [stack.use(await FailingS3.start(server.endpoint)), stack.use(await FailingS3.start(server.endpoint))];
  proxies = { a, b };
  for (const bucket of Object.values(buckets)) await server.createBucket(bucket);
  shelf = stack.use(await Shelf.open({ a: { type: 's3', server, bucket: buckets.a } }, worldEnv(server)));
  const open = async (name: 'a' | 'b'): Promise<Destination> => {
    const via = { bucket: buckets[name], prefix: '', via: proxies[name].url, name, retry: RETRY };
    return { store: stack.use(await openS3Store(server, {}, via)).store, lock: null };
  };
  destinations = { a: await open('a'), b: await open('b') };
});
afterEach(() => stack.disposeAsync());

/** Pages without what `isHidden`; everything else of the page is as it came. */
const showing = (isHidden: (key: string) => boolean): S3Fault => ({
  kind: 'rewrite',
  body: (xml) =>
    xml.replaceAll(/<(Contents|Upload)>.*?<Key>(.*?)<\/Key>.*?<\/\1>/gs, (entry, _kind, key: string) =>
      isHidden(key) ? '' : entry,
    ),
});
function lag(name: 'a' | 'b', isHidden: (key: string) => boolean): void {
  for (const operation of ['list', 'uploads'] as const) proxies[name].fail(operation, showing(isHidden), ALWAYS);
}
const publish = (names: readonly ('a' | 'b')[]) =>
  shelf.publish({ destinations: names.map((name) => destinations[name]) });
const catalogueOf = (names: readonly ('a' | 'b')[]) => shelf.catalogue(names.map((name) => destinations[name].store));
const kindsIn = async (name: 'a' | 'b', snapshot: SnapshotId): Promise<ObjectKind[]> => {
  const { objects } = await inBucket(server, buckets[name]);
  return KINDS.filter((kind) => objects.includes(objectKey(shelf.deps.cluster, kind, snapshot)));
};

describe('the newest snapshot is not listed yet', () => {
  let older: Manifest & { snapshot: SnapshotId };
  let newer: Manifest & { snapshot: SnapshotId };
  beforeEach(async () => {
    older = await publish(['a', 'b']);
    newer = await publish(['a', 'b']);
  });
  const hidesNewer = (key: string) => key.includes(newer.snapshot);

  it('and is listed and the latest all the same, for the pointer names it', async () => {
    lag('a', hidesNewer);
    const catalogue = await catalogueOf(['a']);
    // The fault is what it claims to be: the listing itself does not have it.
    const shown = await Array.fromAsync(destinations.a.store.list('', { signal: never }));
    expect(shown.filter(({ key }) => hidesNewer(key))).toEqual([]);
    const { entries } = await catalogue.list(never);
    expect(entries.map(({ snapshot }) => snapshot)).toEqual([older.snapshot, newer.snapshot]);
    const { newest, skipped } = await catalogue.latest(never);
    expect(newest?.manifest.snapshot).toBe(newer.snapshot);
    expect(skipped).toEqual([]);
  });

  it('nor named by the pointer: another destination knows it', async () => {
    lag('a', hidesNewer);
    proxies.a.fail('get', { kind: 'answer', status: 404, code: 'NoSuchKey' }, ALWAYS, ({ key }) =>
      key.endsWith(latestKey(shelf.deps.cluster)),
    );
    const catalogue = await catalogueOf(['a', 'b']);
    const { entries } = await catalogue.list(never);
    expect(entries.at(-1)).toEqual({ snapshot: newer.snapshot, destinations: ['b'] });
    expect((await catalogue.latest(never)).newest?.manifest.snapshot).toBe(newer.snapshot);
  });

  it('a listing that lags behind a removal shows what is gone, and the latest is right', async () => {
    const key = objectKey(shelf.deps.cluster, 'manifests', older.snapshot);
    let page = '';
    proxies.a.fail('list', { kind: 'rewrite', body: (xml) => (page = xml) });
    const catalogue = await catalogueOf(['a']);
    await catalogue.list(never);
    await destinations.a.store.delete(key, { signal: never });
    proxies.a.fail('list', { kind: 'rewrite', body: () => page }, ALWAYS);
    expect((await catalogue.list(never)).entries.map(({ snapshot }) => snapshot)).toContain(older.snapshot);
    expect((await catalogue.latest(never)).newest?.manifest.snapshot).toBe(newer.snapshot);
    await expect(catalogue.read(older.snapshot, never)).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
  });
});

describe('the sweep after a run that was killed', () => {
  async function sweep(snapshot: SnapshotId): Promise<void> {
    const both = Object.values(destinations);
    const deps = { ...shelf.deps, destinations: both, catalogue: await catalogueOf(['a', 'b']) };
    const folder = runFolder(shelf.deps.spool.directory, shelf.deps.cluster);
    await mkdir(folder, { recursive: true });
    await note(folder, newRunId(new Date()), snapshot);
    const killed = await sweepAfterCrash(deps, folder, never);
    expect(killed).toEqual([snapshot]);
    await sweepAgain(deps, folder, killed, never);
    expect(await filesIn(folder)).toEqual([]);
  }
  const hideAll = () => {
    for (const name of ['a', 'b'] as const) lag(name, () => true);
  };

  it('takes nothing from a published snapshot that no listing shows', async () => {
    const { snapshot } = await publish(['a', 'b']);
    hideAll();
    await sweep(snapshot);
    for (const name of ['a', 'b'] as const) expect(await kindsIn(name, snapshot)).toEqual(KINDS);
    expect(proxies.a.count('delete') + proxies.b.count('delete')).toBe(0);
  });

  it('gives one published in one of two its other manifest, though no listing shows the first', async () => {
    const { snapshot } = await publish(['a', 'b']);
    for (const kind of ['sigs', 'manifests'] as const) {
      await destinations.b.store.delete(objectKey(shelf.deps.cluster, kind, snapshot), { signal: never });
    }
    proxies.b.reset();
    hideAll();
    await sweep(snapshot);
    for (const name of ['a', 'b'] as const) expect(await kindsIn(name, snapshot)).toEqual(KINDS);
    expect(proxies.a.count('delete') + proxies.b.count('delete')).toBe(0);
  });

  it('and takes one that was never published, though no listing shows it', async () => {
    const { snapshot } = await publish(['a', 'b']);
    for (const { store } of Object.values(destinations)) {
      await store.delete(objectKey(shelf.deps.cluster, 'manifests', snapshot), { signal: never });
    }
    hideAll();
    await sweep(snapshot);
    for (const name of ['a', 'b'] as const) expect(await kindsIn(name, snapshot)).toEqual([]);
  });

  it('takes nothing while a destination does not tell whether it was published there', async () => {
    const { snapshot } = await publish(['a']);
    // `b` has the data only, and the one that has the manifest answers nothing about it.
    const denied: S3Fault = { kind: 'answer', status: 403, code: 'AccessDenied' };
    const ofManifest = ({ key }: { key: string }) => key.includes('/manifests/');
    for (const operation of ['head', 'get'] as const) proxies.a.fail(operation, denied, ALWAYS, ofManifest);
    const both = Object.values(destinations);
    const deps = { ...shelf.deps, destinations: both, catalogue: await catalogueOf(['a', 'b']) };
    const folder = runFolder(shelf.deps.spool.directory, shelf.deps.cluster);
    await mkdir(folder, { recursive: true });
    await note(folder, newRunId(new Date()), snapshot);
    await sweepAgain(deps, folder, await sweepAfterCrash(deps, folder, never), never);
    expect(await kindsIn('a', snapshot)).toEqual(KINDS);
    expect(await filesIn(folder)).toHaveLength(1);
  });
});

it('a pointer to a manifest that nobody has is replaced by the next backup, and told of until then', async () => {
  const { snapshot } = await publish(['a']);
  const lost = await publish(['a']);
  await destinations.a.store.delete(objectKey(shelf.deps.cluster, 'manifests', lost.snapshot), { signal: never });
  const catalogue = await catalogueOf(['a']);
  const before = await catalogue.latest(never);
  expect(before.newest?.manifest.snapshot).toBe(snapshot);
  expect(before.skipped).toMatchObject([
    {
      code: 'E_NOT_FOUND',
      message: expect.stringContaining(`the manifest of ${lost.snapshot}; its data is in a`) as string,
    },
  ]);
  const next = await publish(['a']);
  expect(await catalogue.latest(never)).toMatchObject({
    newest: { manifest: { snapshot: next.snapshot } },
    skipped: [],
  });
});
