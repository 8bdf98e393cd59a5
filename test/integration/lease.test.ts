/** The lease on real S3 servers, with runs that are real processes: started together, killed, stopped and cut off. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { commitIn } from '../../src/catalogue/tombstone.ts';
import { newRunId, newSnapshotId, parseClusterName } from '../../src/core/ids.ts';
import { silentLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import { thisProcess } from '../../src/lease/holder.ts';
import type { Lease } from '../../src/lease/lease.ts';
import { takeLease } from '../../src/lease/take.ts';
import { leaseKey } from '../../src/store/layout.ts';
import type { S3StoreOptions } from '../../src/store/s3-options.ts';
import { FailingS3, type S3Fault } from '../support/failing-s3.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { never } from '../support/faulty-store.ts';
import { LeaseRun, publishLine, unpublished } from '../support/lease-runs.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { openS3Store } from '../support/s3-store.ts';
import { type SharedName, sharedServer } from '../support/shared-servers.ts';
import { Shelf } from '../support/shelf.ts';
import { until } from '../support/until.ts';
import { worldEnv } from '../support/world.ts';

const TTL_MS = 6_000;
/** So long that nothing runs out while a test looks. */
const LONG_MS = 60_000;
const cluster = parseClusterName('prod');

let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync());

const servers: SharedName[] = inject('localStackMissing') === '' ? ['versitygw', 'localstack'] : ['versitygw'];

describe.each(servers)('on %s', (name) => {
  let server: S3Server;
  let shelf: Shelf;
  beforeEach(async () => {
    server = await sharedServer(name);
    const buckets = { a: `a-${randomUUID()}`, b: `b-${randomUUID()}` };
    for (const bucket of Object.values(buckets)) await server.createBucket(bucket);
    const destination = (bucket: string) => ({ type: 's3', server, bucket }) as const;
    shelf = stack.use(await Shelf.open({ a: destination(buckets.a), b: destination(buckets.b) }, worldEnv(server)));
  });

  const start = async (host: string | null, ttlMs = TTL_MS, waitMs = 0): Promise<LeaseRun> =>
    stack.use(await LeaseRun.start(shelf, { host, ttlMs, waitMs }));

  it.each(['one machine', 'machines of their own'])(
    'three workers and a CronJob that start at the same instant on %s: exactly one holds it',
    async (where) => {
      const hosts = ['w1', 'w2', 'w3', 'cron'].map((host) => (where === 'one machine' ? null : host));
      const runs = await Promise.all(hosts.map((host) => start(host, LONG_MS / 10)));
      const outcomes = await Promise.all(runs.map((run) => run.takes()));
      expect(outcomes.map(({ event }) => event).sort()).toEqual(['refused', 'refused', 'refused', 'taken']);
      expect(outcomes.find(({ event }) => event === 'taken')).toMatchObject({ onRecord: ['a', 'b'] });
      for (const { event, code, message } of outcomes) {
        if (event !== 'refused') continue;
        expect(code).toBe('E_LOCKED');
        expect(message).toMatch(/^prod is held by run [0-9A-Z]{26} \(lease-run on /);
      }
    },
  );

  it('killed with -9: another takes over at once on the same machine, and after the ttl on another', async () => {
    const here = await start(null, LONG_MS);
    expect(await here.takes()).toMatchObject({ event: 'taken' });
    await here.kill();
    const next = await start(null, LONG_MS);
    const begun = performance.now();
    expect(await next.takes()).toMatchObject({ event: 'taken', onRecord: ['a', 'b'] });
    expect(performance.now() - begun).toBeLessThan(LONG_MS / 2);
    next.say('release');
    await next.saw('released');

    const there = await start('far', TTL_MS);
    expect(await there.takes()).toMatchObject({ event: 'taken' });
    await there.kill();
    const other = await start('near', TTL_MS);
    const killed = performance.now();
    expect(await other.takes()).toMatchObject({ event: 'taken' });
    expect(performance.now() - killed).toBeGreaterThanOrEqual(TTL_MS);
  });

  it('stopped past its lease while it was about to publish: it wakes up, and cannot', async () => {
    const [mine, theirs] = [await unpublished(shelf), await unpublished(shelf)];
    const paused = await start('far');
    expect(await paused.takes()).toMatchObject({ event: 'taken' });
    paused.say(`announce ${mine.snapshot}`);
    expect(await paused.saw('announced', 'unannounceed')).toMatchObject({ event: 'announced', onRecord: ['a', 'b'] });
    paused.child.kill('SIGSTOP');

    const other = await start('near');
    expect(await other.takes()).toMatchObject({ event: 'taken' });
    other.say(`announce ${theirs.snapshot}`);
    await other.saw('announced');
    other.say(publishLine(theirs));
    expect(await other.saw('published', 'unpublished')).toMatchObject({ event: 'published' });

    paused.say(publishLine(mine));
    paused.child.kill('SIGCONT');
    // It does not look at its signal here: what refuses it is the answer of the store to the write itself.
    expect(await paused.saw('published', 'unpublished')).toMatchObject({
      event: 'unpublished',
      code: 'E_LOCKED',
      message: expect.stringContaining('another run took over the lease and fenced it') as string,
    });
    expect(await paused.saw('lost')).toMatchObject({ code: 'E_LOCKED', aborted: true });

    const { catalogue, destinations } = shelf.deps;
    const { entries, failures } = await catalogue.list(never);
    expect(failures).toEqual([]);
    expect(entries).toEqual([{ snapshot: theirs.snapshot, destinations: ['a', 'b'] }]);
    expect(await catalogue.latest(never)).toMatchObject({
      newest: { manifest: { snapshot: theirs.snapshot } },
      skipped: [],
    });
    await expect(catalogue.read(mine.snapshot, never)).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
    for (const { store } of destinations) {
      expect(await commitIn(catalogue, store, mine.snapshot, never)).toMatchObject({ kind: 'tombstone' });
    }
    other.say('release');
    await other.saw('released');
  });

  it('stopped after it has published: it is no less published', async () => {
    const mine = await unpublished(shelf);
    const paused = await start('far');
    await paused.takes();
    paused.say(`announce ${mine.snapshot}`);
    await paused.saw('announced');
    paused.say(publishLine(mine));
    await paused.saw('published');
    paused.child.kill('SIGSTOP');
    const other = await start('near');
    expect(await other.takes()).toMatchObject({ event: 'taken' });
    paused.child.kill('SIGCONT');
    await paused.saw('lost');
    const { entries } = await shelf.deps.catalogue.list(never);
    expect(entries).toEqual([{ snapshot: mine.snapshot, destinations: ['a', 'b'] }]);
  });

  describe('in one bucket', () => {
    const take = async (
      options: Partial<S3StoreOptions> & { via?: string },
      { ttlMs = TTL_MS, host }: { ttlMs?: number; host?: string } = {},
    ): Promise<Lease> => {
      const opened = stack.use(await openS3Store(server, {}, options));
      const self = host === undefined ? thisProcess() : { ...thisProcess(), host, space: host };
      const deps = { cluster, stores: [opened.store], clock: systemClock, log: silentLog, ttlMs, self };
      const run = newRunId(new Date());
      return stack.use(await takeLease(deps, { need: 'any', waitMs: 0, run, door: 'test', fence: null }, never));
    };
    const newBucket = async (): Promise<string> => {
      const bucket = `b-${randomUUID()}`;
      await server.createBucket(bucket);
      return bucket;
    };
    const isLost = async (lease: Lease): Promise<void> => {
      await until('the lease to be lost', async () => await Promise.resolve(lease.signal.aborted || undefined), {
        everyMs: 5,
      });
    };

    it.each(['hang', 'refuse'] as const)('cut off from it (%s): lost in time, and free for another', async (kind) => {
      const bucket = await newBucket();
      const proxy = stack.use(await startFaultProxy(server.endpoint));
      const lease = await take({ bucket, via: proxy.url, cleanupTimeoutMs: 500, commitGraceMs: 100 }, { host: 'far' });
      const cut = performance.now();
      await proxy.set({ kind });
      const next = take({ bucket }, { host: 'near' });
      await isLost(lease);
      expect(performance.now() - cut).toBeLessThan(TTL_MS);
      expect(lease.signal.reason).toMatchObject({ code: 'E_LOCKED', details: { lost: 'silence' } });
      expect((await next).token).toBe(2);
      await expect(lease.willPublish(newSnapshotId(new Date()), never)).rejects.toMatchObject({ code: 'E_LOCKED' });
      await proxy.set({ kind: 'pass' });
    });

    it.each(['lose-answer', 'hold-answer'] as const)(
      'with renewals that arrive and are not answered (%s): not lost',
      async (kind) => {
        const bucket = await newBucket();
        const proxy = stack.use(await FailingS3.start(server.endpoint));
        const options = { bucket, via: proxy.url, partTimeoutMs: 1_500, requestTimeoutMs: 1_500 };
        const lease = await take(options, { ttlMs: 2 * TTL_MS });
        const fault: S3Fault = { kind };
        proxy.fail('put', fault, 4);
        const before = proxy.count('put');
        await until(
          'more renewals than that',
          async () => await Promise.resolve(proxy.count('put') >= before + 7 || undefined),
        );
        expect(lease.signal.aborted).toBe(false);
        expect(lease.heldIn).toEqual(['primary']);
        await lease.willPublish(newSnapshotId(new Date()), never);
      },
    );

    it('costs a backup so many requests, and no more', async () => {
      const bucket = await newBucket();
      const proxy = stack.use(await FailingS3.start(server.endpoint));
      const cost = (): Record<string, number> => {
        const counted: Record<string, number> = {};
        for (const { operation, key } of proxy.calls) {
          if (operation === 'list' || key.endsWith(leaseKey(cluster)))
            counted[operation] = (counted[operation] ?? 0) + 1;
        }
        proxy.reset();
        return counted;
      };
      const first = await take({ bucket, via: proxy.url }, { ttlMs: LONG_MS });
      // The listing tells an empty bucket from none, when nothing else was asked before.
      expect(cost()).toEqual({ head: 2, list: 1, put: 1 });
      await first.willPublish(newSnapshotId(new Date()), never);
      expect(cost()).toEqual({ head: 1, put: 1 });
      await first[Symbol.asyncDispose]();
      expect(cost()).toEqual({ head: 1, put: 1 });
      await take({ bucket, via: proxy.url }, { ttlMs: LONG_MS });
      expect(cost()).toEqual({ head: 2, get: 1, put: 1 });
    });

    it('in a bucket with versions, every one of them its own', async () => {
      const opened = stack.use(await openS3Store(server, { objectLock: true }));
      const lease = await take({ bucket: opened.bucket }, { ttlMs: LONG_MS });
      await lease.willPublish(newSnapshotId(new Date()), never);
      await expect(take({ bucket: opened.bucket })).rejects.toMatchObject({ code: 'E_LOCKED' });
      await lease[Symbol.asyncDispose]();
      expect((await take({ bucket: opened.bucket })).token).toBe(2);
    });

    it('that does not know conditions: kept between runs that do not come at the same moment', async () => {
      const bucket = await newBucket();
      const lease = await take({ bucket, conditionalWrites: false }, { ttlMs: LONG_MS });
      await expect(take({ bucket, conditionalWrites: false })).rejects.toMatchObject({ code: 'E_LOCKED' });
      await lease[Symbol.asyncDispose]();
      expect((await take({ bucket, conditionalWrites: false })).token).toBe(2);
    });
  });
});
