/** Clocks that are wrong, here or where a snapshot was made: refused by a real server, and never a silent wrong order. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { collect } from '../../src/core/flow.ts';
import { newSnapshotId, parseSnapshotId, type SnapshotId } from '../../src/core/ids.ts';
import { verifySnapshot } from '../../src/snapshots/verify.ts';
import { latestKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import { failureOf, inBucket } from '../support/backup-trial.ts';
import { never, newKey, putOptions, small } from '../support/faulty-store.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { type OpenedS3Store, openS3Store } from '../support/s3-store.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { worldEnv } from '../support/world.ts';

const MINUTE_MS = 60_000;
let server: S3Server;
let shelf: Shelf;
let bucket: string;

beforeAll(async () => {
  server = await sharedServer('versitygw');
  bucket = `clocks-${randomUUID()}`;
  await server.createBucket(bucket);
  shelf = await Shelf.open({ a: { type: 's3', server, bucket } }, worldEnv(server));
});
afterAll(() => shelf?.[Symbol.asyncDispose]());

describe('the clock of this machine differs from that of the destination', () => {
  let opened: OpenedS3Store;
  beforeAll(async () => {
    opened = await openS3Store(server, {}, { retry: { attempts: 3, baseMs: 1, maxMs: 1 } });
  });
  afterAll(() => opened?.[Symbol.asyncDispose]());
  afterEach(() => vi.useRealTimers());

  /** What the requests of `store` are signed with from now on: the server's own clock goes on. */
  const shift = (minutes: number) =>
    vi.useFakeTimers({ toFake: ['Date'], now: new Date(Date.now() + minutes * MINUTE_MS) });
  const everyRequest = (store: Store): [string, () => Promise<unknown>][] => [
    ['probeWrite', () => store.probeWrite('v1/', { signal: never })],
    ['put', () => store.put(newKey(), Buffer.from('x'), putOptions())],
    ['put in parts', () => store.put(newKey(), small(), putOptions())],
    ['head', () => store.head(newKey(), { signal: never })],
    ['get', () => collect(store.get(newKey(), { signal: never }), 10)],
    ['list', () => Array.fromAsync(store.list('v1/', { signal: never }))],
    ['delete', () => store.delete(newKey(), { signal: never })],
  ];

  it.each([17, -17, 60 * 24])('by %i minutes: every request is refused and says so', async (minutes) => {
    shift(minutes);
    for (const [name, send] of everyRequest(opened.store)) {
      const e: unknown = await send().then(
        () => 'nothing',
        (failure: unknown) => failure,
      );
      expect(e, name).toMatchObject({
        code: 'E_STORE_SKEW',
        retryable: false,
        message: expect.stringMatching(
          new RegExp(`here 20\\S+Z, there 20\\S+Z, (${Math.abs(minutes)}|${Math.abs(minutes) + 1}) min apart`),
        ) as string,
        hint: expect.stringContaining('NTP') as string,
      });
    }
    vi.useRealTimers();
    expect(await inBucket(server, opened.bucket)).toEqual({ objects: [], uploads: [] });
  });

  it.each([13, -13])('by %i minutes: nothing is refused', async (minutes) => {
    shift(minutes);
    await opened.store.probeWrite('v1/', { signal: never });
    expect(await Array.fromAsync(opened.store.list('v1/', { signal: never }))).toEqual([]);
  });

  it('is told on the command line with its own code', async () => {
    const ahead = 20 * MINUTE_MS;
    const preload = `const R = Date; globalThis.Date = class extends R {
      constructor(...a) { if (a.length > 0) super(...a); else super(R.now() + ${ahead}); }
      static now() { return R.now() + ${ahead}; } };`;
    const nodeArgs = ['--import', `data:text/javascript,${encodeURIComponent(preload)}`];
    const args = ['snapshots', 'list', '--json', '--config', shelf.app.configFile];
    const wrong = await runCli(args, { env: shelf.app.env, nodeArgs });
    expect(wrong).toMatchObject({ code: 14, stdout: '' });
    expect(failureOf(wrong)).toMatchObject({
      code: 'E_STORE_SKEW',
      exitCode: 14,
      message: expect.stringMatching(
        /listing .* in destination "a": the clocks differ too much: .* 2[01] min apart/,
      ) as string,
    });
    expect((await runCli(args, { env: shelf.app.env })).code).toBe(0);
  });
});

describe('the order of snapshots', () => {
  const store = () => shelf.deps.destinations[0]?.store as Store;
  const catalogue = () => shelf.catalogue([store()]);
  const latest = async (options: { notAfter?: Date } = {}) =>
    (await (await catalogue()).latest(never, options)).newest?.manifest.snapshot;
  /** Ids as two machines make them: the same millisecond, the rest at random. */
  const idAt = (time: Date, rest: string): SnapshotId => {
    const id = parseSnapshotId(`${newSnapshotId(time).slice(0, 10)}${rest.padEnd(16, '0')}`);
    if (id === null) throw new Error(`${rest} makes no id`);
    return id;
  };

  it('of one millisecond is that of their ids: the same to everybody, whoever was first', async () => {
    const now = new Date(Date.now() - 7 * 24 * 60 * MINUTE_MS);
    const [low, high] = [idAt(now, '4'), idAt(now, 'W')];
    const first = await shelf.publish({ now, snapshot: high });
    const second = await shelf.publish({ now, snapshot: low });
    expect(first.createdAt).toBe(second.createdAt);
    const { entries } = await (await catalogue()).list(never);
    expect(entries.map(({ snapshot }) => snapshot)).toEqual([low, high]);
    // The pointer of the one that was published last does not come before the other.
    expect(await latest()).toBe(high);
    await store().delete(latestKey(shelf.deps.cluster), { signal: never });
    expect(await latest()).toBe(high);
    expect(await latest({ notAfter: now })).toBe(high);
    expect(await latest({ notAfter: new Date(now.getTime() - 1) })).toBeUndefined();
    // Neither took anything of the other: both are whole.
    const deps = await shelf.snapshots();
    for (const manifest of [first, second]) {
      const { copies } = await verifySnapshot(deps, manifest, never);
      expect(copies).toMatchObject([{ level: 'archive', lacks: [], error: null }]);
    }
  });

  it('made one after the other in one millisecond, in one process, is the order they were made in', () => {
    const now = new Date();
    const ids = Array.from({ length: 100 }, () => newSnapshotId(now));
    expect(ids).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(100);
  });

  it('made under a clock that was ahead: it stays the latest until then, and the right one is found by its time', async () => {
    const now = new Date();
    const ahead = await shelf.publish({
      now: new Date(now.getTime() + 24 * 60 * MINUTE_MS),
      snapshot: idAt(new Date(now.getTime() + 24 * 60 * MINUTE_MS), '1'),
    });
    const right = await shelf.publish({ now, snapshot: idAt(now, '2') });
    expect(await latest()).toBe(ahead.snapshot);
    expect(await latest({ notAfter: new Date(now.getTime() + MINUTE_MS) })).toBe(right.snapshot);
    const { entries } = await (await catalogue()).list(never);
    expect(entries.slice(-2).map(({ snapshot }) => snapshot)).toEqual([right.snapshot, ahead.snapshot]);
  });
});
