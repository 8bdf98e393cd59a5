/** Whole backups of a real cluster under the lease: alone, against another machine, and with the lease taken away in the middle. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { StrongroomError } from '../../src/core/errors.ts';
import { newRunId } from '../../src/core/ids.ts';
import type { OnProgress } from '../../src/core/progress.ts';
import { thisProcess } from '../../src/lease/holder.ts';
import type { LeaseRecord } from '../../src/lease/record.ts';
import { leaseKey } from '../../src/store/layout.ts';
import type { Store } from '../../src/store/store.ts';
import {
  failedBackup,
  filesIn,
  inBucket,
  inSpool,
  onStores,
  type TrialOptions,
  tryBackup,
} from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { hooked } from '../support/hooked-store.ts';
import { CLUSTER } from '../support/killed-runs.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { openApp } from '../support/strongroom-app.ts';
import { World, worldEnv } from '../support/world.ts';

const never = new AbortController().signal;
/** of a lease that is not to be lost by itself: a busy machine holds a process up for a second and more */
const TTL_MS = 8_000;
const stack = new AsyncDisposableStack();
const bucket = `b-${randomUUID()}`;
let bao: BaoCluster;
let server: S3Server;
let world: World;
let app: TrialOptions;

beforeAll(async () => {
  server = await sharedServer('versitygw');
  await server.createBucket(bucket);
  bao = stack.use(await startCluster({ version: '2.7.2' }));
  world = stack.use(
    await World.create({
      destinations: { s3: { type: 's3', server, bucket }, folder: { type: 'directory', path: 'folder' } },
      canOpen: true,
    }),
  );
  await mkdir(join(world.directory, 'folder'));
  await world.grant(bao);
  app = { configFile: await world.config([bao.first.url]), env: worldEnv(server) };
});
afterAll(() => stack.disposeAsync());

/** The same config on a machine of its own: another spool, other processes. */
const onHost = (host: string, ttlMs: number, more: Partial<TrialOptions> = {}): TrialOptions => ({
  ...app,
  ...more,
  change: async (deps) => {
    const directory = join(world.directory, `spool-${host}`);
    await mkdir(directory, { recursive: true });
    const self = { ...thisProcess(), host, space: host };
    return {
      ...deps,
      spool: { ...deps.spool, directory },
      lease: { ttlMs, waitMs: 0, door: `a test on ${host}`, self },
    };
  },
});

const leaseFile = (): string => join(world.directory, 'folder', leaseKey(CLUSTER));
const readLease = async (): Promise<LeaseRecord> => JSON.parse(await readFile(leaseFile(), 'utf8')) as LeaseRecord;
const stored = async () => ({
  ...(await inBucket(server, bucket)),
  files: await filesIn(join(world.directory, 'folder')),
});

/** Does `act` once, with the snapshot under way; awaited by `done`. */
function duringSnapshot(act: () => Promise<void>): { onProgress: OnProgress; done: () => Promise<void> } {
  let acted: Promise<void> | undefined;
  return {
    onProgress: ({ stage }) => {
      if (stage === 'snapshot') acted ??= act();
    },
    done: async () => {
      if (acted === undefined) throw new Error('there was no snapshot');
      await acted;
    },
  };
}

it('a backup takes the lease everywhere, announces its snapshot before the first manifest, and releases it', async () => {
  const writes: Record<string, string[]> = { s3: [], folder: [] };
  // Where the backup takes long its lease is renewed as it is, at any moment: that is no change of it.
  const leases: Record<string, string> = {};
  const noteLease = (where: string, what: string): void => {
    if (leases[where] !== what) writes[where]?.push(what);
    leases[where] = what;
  };
  const watched = (store: Store): Store =>
    hooked(store, {
      put: async (next, key, body) => {
        const stored = await next();
        if (key === leaseKey(CLUSTER) && body instanceof Uint8Array) {
          const { state, snapshot } = JSON.parse(Buffer.from(body).toString()) as LeaseRecord;
          noteLease(store.name, `${state} ${snapshot ?? 'nothing'}`);
        } else if (key.includes('/manifests/')) writes[store.name]?.push('manifest');
        return stored;
      },
    });
  const { manifest, complete } = await tryBackup({
    ...app,
    change: async (deps) =>
      await onStores(
        deps,
        deps.destinations.map(({ store }) => watched(store)),
      ),
  });
  expect(complete).toBe(true);
  const inOrder = ['held nothing', `held ${manifest.snapshot}`, 'manifest', 'released nothing'];
  expect(writes).toEqual({ s3: inOrder, folder: inOrder });
});

it('a backup on another machine at the same time is refused, names the first, and leaves nothing', async () => {
  let error: unknown;
  const { onProgress, done } = duringSnapshot(async () => {
    error = await failedBackup(onHost('far', TTL_MS));
  });
  const ran = await tryBackup({ ...onHost('near', TTL_MS), onProgress });
  await done();
  expect(ran).toMatchObject({ complete: true });
  expect(error).toMatchObject({
    code: 'E_LOCKED',
    message: expect.stringContaining(
      `run ${ran.manifest.run} (a test on near on near, process ${process.pid})`,
    ) as string,
  });
});

it('a backup that loses the lease in the middle ends as locked, publishes nothing, and clears up after itself', async () => {
  const before = await stored();
  const { onProgress, done } = duringSnapshot(async () => {
    const record = await readLease();
    const holder = { ...record.holder, host: 'elsewhere', space: 'elsewhere' };
    const theirs = { ...record, run: newRunId(new Date()), token: record.token + 1, ttlMs: 500, holder };
    await writeFile(leaseFile(), JSON.stringify(theirs));
  });
  const near = onHost('near', TTL_MS);
  // Its upload ends with the run's signal, and never by itself.
  const endless = (store: Store): Store =>
    hooked(store, {
      put: (next, key, _body, { signal }) =>
        key.endsWith('.snap.age')
          ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
          : next(),
    });
  const change: TrialOptions['change'] = async (configured) => {
    const deps = (await near.change?.(configured)) ?? configured;
    return await onStores(
      deps,
      deps.destinations.map(({ store }) => endless(store)),
    );
  };
  const error = await failedBackup({ ...near, change, onProgress });
  await done();
  expect(error).toMatchObject({ code: 'E_LOCKED', details: { lost: 'taken', store: 'folder' } });
  expect(await stored()).toEqual(before);
  expect(await inSpool(world)).toEqual([]);
  await using opened = await openApp(app);
  const { catalogue } = await opened.snapshotDeps('prod', never);
  const { entries } = await catalogue.list(never);
  expect(entries).toHaveLength(2);
  // Who took it gives no sign of life, so the next backup has it after a ttl.
  expect(await tryBackup(onHost('near', TTL_MS))).toMatchObject({ complete: true, missing: [] });
});

it('a backup with a destination that takes no lease holds it in the other, and goes on', async () => {
  const refuse = (store: Store): Store =>
    hooked(store, {
      put: (next, key) =>
        key === leaseKey(CLUSTER)
          ? Promise.reject(new StrongroomError('E_STORE_DENIED', 'no right to write the lease'))
          : next(),
    });
  const change: TrialOptions['change'] = async (deps) =>
    await onStores(
      deps,
      deps.destinations.map(({ store }) => (store.name === 's3' ? refuse(store) : store)),
    );
  const { complete, manifest } = await tryBackup({ ...app, change });
  expect(complete).toBe(true);
  expect(await readLease()).toMatchObject({ state: 'released', run: manifest.run });
});

it('a backup for which nothing takes the lease fails with the error of the store', async () => {
  const change: TrialOptions['change'] = async (deps) => {
    const put = () => Promise.reject(new StrongroomError('E_STORE_DENIED', 'read-only'));
    return await onStores(
      deps,
      deps.destinations.map(({ store }) => hooked(store, { put })),
    );
  };
  expect(await failedBackup({ ...app, change })).toMatchObject({ code: 'E_STORE_DENIED' });
});
