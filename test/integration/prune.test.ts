/** Prunes of real buckets: with versions, with locks that nobody can lift, with logins that may not delete, and killed in the middle. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  DeleteObjectCommand,
  GetObjectRetentionCommand,
  ListObjectVersionsCommand,
  PutObjectLegalHoldCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { SnapshotId } from '../../src/core/ids.ts';
import { objectKey } from '../../src/store/layout.ts';
import { FailingS3 } from '../support/failing-s3.ts';
import { KINDS } from '../support/held.ts';
import { baseEnv } from '../support/process.ts';
import { DAY_MS, HOUR_MS, PruneScene } from '../support/prune-scene.ts';
import { type BucketOptions, type S3Server, s3Client } from '../support/s3-connection.ts';
import { type SharedName, sharedServer } from '../support/shared-servers.ts';
import { runCli, runJson } from '../support/strongroom-cli.ts';
import { worldEnv } from '../support/world.ts';

const CHILD = fileURLToPath(new URL('../support/prune-child.ts', import.meta.url));
const never = new AbortController().signal;
const servers: SharedName[] = inject('localStackMissing') === '' ? ['versitygw', 'localstack'] : ['versitygw'];

describe.each(servers)('a prune on %s', (name) => {
  let server: S3Server;
  let client: S3Client;
  beforeAll(async () => {
    server = await sharedServer(name);
    client = s3Client(server);
  });
  afterAll(() => client?.destroy());

  async function open(
    bucketOptions: BucketOptions,
    extra: Record<string, unknown> = {},
    retention: Record<string, unknown> = { keepLast: 2 },
  ): Promise<PruneScene & { bucket: string }> {
    const bucket = `prune-${randomUUID()}`;
    await server.createBucket(bucket, bucketOptions);
    const scene = await PruneScene.open({ a: { type: 's3', server, bucket, extra } }, retention, worldEnv(server));
    return Object.assign(scene, { bucket });
  }

  /** Versions and delete markers of a snapshot's objects, as the server itself lists them. */
  async function versionsOf(bucket: string, snapshot: SnapshotId): Promise<string[]> {
    const { Versions, DeleteMarkers, IsTruncated } = await client.send(
      new ListObjectVersionsCommand({ Bucket: bucket }),
    );
    expect(IsTruncated).not.toBe(true);
    return [...(Versions ?? []), ...(DeleteMarkers ?? [])]
      .map(({ Key }) => Key ?? '')
      .filter((key) => key.includes(snapshot) && !/\/(?:proofs|holds|marks)\//.test(key));
  }

  it('empties a bucket without versions of what the plan names, and changes nothing the second time', async () => {
    await using scene = await open({});
    const [first, second, third] = [await scene.publish(3), await scene.publish(2), await scene.publish(1)];
    const planned = await scene.plan();
    const toGo = planned.destinations[0]?.snapshots.filter(({ action }) => action === 'remove');
    const result = await scene.prune();
    expect(result.destinations[0]).toMatchObject({ error: null, deferred: [] });
    expect(result.destinations[0]?.removed.map(({ snapshot }) => snapshot)).toEqual([first.snapshot]);
    expect(toGo?.map(({ snapshot }) => snapshot)).toEqual([first.snapshot]);
    expect(await versionsOf(scene.bucket, first.snapshot)).toEqual([]);
    for (const { snapshot } of [second, third]) expect(await versionsOf(scene.bucket, snapshot)).toHaveLength(4);
    const again = await scene.prune();
    expect(again.destinations[0]).toMatchObject({ removed: [], orphans: [], deferred: [], error: null });
  });

  it('removes every version and delete marker of what it removes, and leaves what others hid', async () => {
    await using scene = await open({ versioning: true });
    const [first, hidden] = [await scene.publish(5), await scene.publish(4)];
    await scene.publish(2);
    await scene.publish(1);
    const { cluster } = scene.shelf.deps;
    const [store] = scene.stores;
    // A rewrap: the sidecar has two versions.
    const keys = objectKey(cluster, 'keys', first.snapshot);
    const head = await store?.head(keys, { signal: never });
    const put = { signal: never, contentType: 'application/json', condition: { etag: head?.etag ?? '' } };
    await store?.put(keys, Buffer.from('{}'), put);
    // Somebody deletes all of another snapshot: behind the markers it is still there.
    for (const kind of KINDS) {
      const Key = objectKey(cluster, kind, hidden.snapshot);
      await client.send(new DeleteObjectCommand({ Bucket: scene.bucket, Key }));
    }
    scene.now = new Date(scene.now.getTime() + 3 * DAY_MS);
    const result = await scene.prune();
    expect(result.destinations[0]).toMatchObject({ error: null, removed: [{ snapshot: first.snapshot }] });
    expect(await versionsOf(scene.bucket, first.snapshot)).toEqual([]);
    expect(await versionsOf(scene.bucket, hidden.snapshot)).toHaveLength(8);
    expect(result.plan.destinations[0]?.orphans.find(({ snapshot }) => snapshot === hidden.snapshot)).toMatchObject({
      action: 'keep',
      reason: expect.stringContaining('hidden by somebody else') as string,
    });
    // What is written again and again: the pointer by each backup, the lease by each run.
    const cleared = ({ destinations }: typeof result) =>
      destinations[0]?.orphans.map((one) => `${one.what} ${one.name}`);
    expect(cleared(result)).toEqual(['versions v1/prod/latest.json']);
    expect(cleared(await scene.prune())).toEqual(['versions v1/prod/lease.json']);
  });

  it.each(['governance', 'compliance'] as const)('defers what is locked in %s mode, with its date', async (mode) => {
    await using scene = await open({ objectLock: true }, { objectLock: { mode, keep: '1h' } });
    const first = await scene.shelf.publish({ now: new Date(Date.now() - 30 * 60_000) });
    await scene.shelf.publish({ now: new Date(Date.now() - 20 * 60_000) });
    await scene.shelf.publish({ now: new Date(Date.now() - 10 * 60_000) });
    const result = await scene.prune();
    const [one] = result.destinations;
    expect(one).toMatchObject({ removed: [], error: null, deferred: [{ snapshot: first.snapshot }] });
    const until = one?.deferred[0]?.until?.getTime() ?? 0;
    expect(Math.abs(until - (Date.now() + HOUR_MS / 2))).toBeLessThan(5 * 60_000);
    expect(one?.deferred[0]?.why).toContain('locked until');
    expect(await versionsOf(scene.bucket, first.snapshot)).toHaveLength(4);
    // A clock that is ahead sees no lock any more; the store does, and nothing of it is lost.
    scene.now = new Date(Date.now() + 2 * HOUR_MS);
    const early = await scene.prune();
    expect(early.destinations[0]).toMatchObject({
      removed: [],
      error: null,
      deferred: [{ snapshot: first.snapshot, until: null, why: expect.stringMatching(/lock/) as string }],
    });
    expect(await versionsOf(scene.bucket, first.snapshot)).toHaveLength(4);
  });

  it('leaves alone what is under a legal hold of the store', async () => {
    await using scene = await open({ objectLock: true });
    const [first] = [await scene.publish(3), await scene.publish(2), await scene.publish(1)];
    const Key = objectKey(scene.shelf.deps.cluster, 'data', first.snapshot);
    await client.send(new PutObjectLegalHoldCommand({ Bucket: scene.bucket, Key, LegalHold: { Status: 'ON' } }));
    const result = await scene.prune();
    expect(result.destinations[0]).toMatchObject({ removed: [], deferred: [], error: null });
    expect(result.plan.destinations[0]?.snapshots.at(-1)?.reasons).toEqual([
      'held by the store: a legal hold on its objects',
    ]);
    expect(await versionsOf(scene.bucket, first.snapshot)).toHaveLength(4);
    await client.send(new PutObjectLegalHoldCommand({ Bucket: scene.bucket, Key, LegalHold: { Status: 'OFF' } }));
    expect((await scene.prune()).destinations[0]?.removed).toHaveLength(1);
  });

  it('makes locks last longer that follow a policy which keeps longer', async () => {
    const follow = { mode: 'governance', follow: 'retention', max: '60d', slack: '1d' };
    await using scene = await open({ objectLock: true }, { objectLock: follow }, { keepDaily: 14 });
    // As it was uploaded under a policy that kept little: the slack alone.
    const { snapshot } = await scene.publish(0);
    const ends = async (): Promise<number[]> => {
      const found: number[] = [];
      for (const kind of KINDS) {
        const Key = objectKey(scene.shelf.deps.cluster, kind, snapshot);
        const { Retention } = await client.send(new GetObjectRetentionCommand({ Bucket: scene.bucket, Key }));
        found.push(Math.round(((Retention?.RetainUntilDate?.getTime() ?? 0) - Date.now()) / DAY_MS));
      }
      return found;
    };
    expect(await ends()).toEqual([1, 1, 1, 1]);
    const result = await scene.prune();
    expect(result.destinations[0]).toMatchObject({ error: null, extended: [{ snapshot }] });
    for (const days of await ends()) expect(days === 14 || days === 15).toBe(true);
    expect((await scene.prune()).destinations[0]?.extended).toEqual([]);
  });
});

describe('a prune that is killed with -9 in the middle', () => {
  async function startChild(configFile: string, env: Record<string, string>, removals: number): Promise<ChildProcess> {
    const order = JSON.stringify({ configFile, removals });
    const child = spawn(process.execPath, [CHILD, order], {
      env: { ...baseEnv(), ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const line of createInterface({ input: child.stdout })) {
      expect(line).toBe('stopped');
      break;
    }
    return child;
  }

  it.each([0, 1, 2, 3, 6])(
    'after %i objects were removed: the next one ends it, whatever was left',
    async (removals) => {
      const server = await sharedServer('versitygw');
      const bucket = `prune-${randomUUID()}`;
      await server.createBucket(bucket, { versioning: true });
      await using scene = await PruneScene.open(
        { a: { type: 's3', server, bucket } },
        { keepLast: 2 },
        worldEnv(server),
      );
      const all = [];
      for (const daysAgo of [4, 3, 2, 1]) all.push(await scene.publish(daysAgo));
      const kept = all.slice(2).map(({ snapshot }) => snapshot);
      const child = await startChild(scene.shelf.app.configFile, worldEnv(server), removals);
      child.kill('SIGKILL');
      await once(child, 'exit');
      const result = await scene.prune();
      expect(result.destinations[0]).toMatchObject({ error: null, deferred: [] });
      const client = s3Client(server);
      const { Versions, DeleteMarkers } = await client.send(new ListObjectVersionsCommand({ Bucket: bucket }));
      client.destroy();
      const left = [...(Versions ?? []), ...(DeleteMarkers ?? [])]
        .map(({ Key }) => Key ?? '')
        .filter((key) => /\/(?:keys|data|sigs|manifests)\//.test(key));
      expect(left).toHaveLength(8);
      for (const key of left) expect(kept.some((snapshot) => key.includes(snapshot))).toBe(true);
      expect((await scene.prune()).destinations[0]).toMatchObject({ removed: [], orphans: [], error: null });
    },
  );
});

describe('a prune by the command line', () => {
  it('shows the plan, changes nothing, then carries it out', async () => {
    const server = await sharedServer('versitygw');
    const bucket = `prune-${randomUUID()}`;
    await server.createBucket(bucket, { versioning: true });
    const env = worldEnv(server);
    await using scene = await PruneScene.open({ a: { type: 's3', server, bucket } }, { keepLast: 2 }, env);
    const [first] = [await scene.publish(3), await scene.publish(2), await scene.publish(1)];
    const config = ['--config', scene.shelf.app.configFile];
    const shown = await runCli(['prune', ...config], { env });
    expect(shown).toMatchObject({ code: 0 });
    expect(shown.stdout).toMatch(new RegExp(`${first.snapshot} +3d \\d+s +\\S+ \\S+ +remove +no rule keeps it`));
    expect(shown.stderr).toContain('nothing was changed; strongroom prune --apply would remove 1 snapshot(s)');
    const plan = (await runJson(['prune', ...config], { env })) as { destinations: { totals: object }[] };
    expect(plan.destinations[0]?.totals).toMatchObject({
      keep: { count: 2 },
      remove: { count: 1 },
      defer: { count: 0 },
    });
    const done = await runCli(['prune', ...config, '--apply'], { env });
    expect(done).toMatchObject({ code: 0 });
    expect(done.stdout).toMatch(/^pruned: 1 snapshot\(s\), .* removed of prod\n {2}removed +/);
    const job = await runCli(['job', 'run', 'prune', ...config], { env });
    expect(job).toMatchObject({ code: 0 });
    expect(job.stdout).toMatch(/^pruned: 0 snapshot\(s\)/);
    const { names } = await scene.records.runs(new Date(Date.now() - HOUR_MS), never);
    expect(names.filter((run) => run.job === 'prune')).toHaveLength(1);
    const wrong = await runCli(['prune', ...config, '--destination', 'x'], { env });
    expect(wrong).toMatchObject({ code: 2 });
  });

  it('ends with 14 where the login may not delete, and says so once', async () => {
    const server = await sharedServer('versitygw');
    const bucket = `prune-${randomUUID()}`;
    await server.createBucket(bucket, { versioning: true });
    const env = worldEnv(server);
    await using proxy = await FailingS3.start(server.endpoint);
    const via = { ...server, endpoint: proxy.url };
    await using scene = await PruneScene.open({ a: { type: 's3', server: via, bucket } }, { keepLast: 2 }, env);
    await scene.publish(3);
    await scene.publish(2);
    await scene.publish(1);
    proxy.fail('delete', { kind: 'answer', status: 403, code: 'AccessDenied' }, 99);
    const done = await runCli(['prune', '--config', scene.shelf.app.configFile, '--apply', '--json'], { env });
    expect(done.code).toBe(14);
    expect(done.stderr.match(/E_STORE_DENIED/g)?.length).toBeGreaterThan(0);
    expect(JSON.parse(done.stdout)).toMatchObject({
      destinations: [{ removed: [], error: { code: 'E_STORE_DENIED' } }],
    });
    proxy.reset();
    expect((await scene.plan()).destinations[0]?.snapshots).toHaveLength(3);
  });

  it('changes nothing where a destination does not answer', async () => {
    const server = await sharedServer('versitygw');
    const buckets = { a: `prune-${randomUUID()}`, b: `prune-${randomUUID()}` };
    for (const bucket of Object.values(buckets)) await server.createBucket(bucket);
    await using proxy = await FailingS3.start(server.endpoint);
    const via = { ...server, endpoint: proxy.url };
    await using scene = await PruneScene.open(
      { a: { type: 's3', server, bucket: buckets.a }, b: { type: 's3', server: via, bucket: buckets.b } },
      { keepLast: 2 },
      worldEnv(server),
    );
    for (const daysAgo of [3, 2, 1]) await scene.publish(daysAgo);
    await proxy[Symbol.asyncDispose]();
    await expect(scene.prune()).rejects.toMatchObject({ code: 'E_STORE_UNREACHABLE' });
    const { catalogue } = scene.shelf.deps;
    expect((await catalogue.only('a').list(never)).entries).toHaveLength(3);
  });
});
