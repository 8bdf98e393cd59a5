/** Keys that wrap are gone, disabled, forbidden, or the wrong ones: what a backup does then, and how it is repaired. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ClusterName, SnapshotId } from '../../src/core/ids.ts';
import { parseSidecar, type Sidecar } from '../../src/crypt/sidecar.ts';
import { verifySnapshot } from '../../src/snapshots/verify.ts';
import { objectKey } from '../../src/store/layout.ts';
import { failedBackup, failureOf, filesIn, inSpool, tryBackup, verdictOf } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { type AppOptions, openApp } from '../support/strongroom-app.ts';
import { runCli, runJson } from '../support/strongroom-cli.ts';
import { type KmsUse, World, worldEnv } from '../support/world.ts';

const CLUSTER = 'prod' as ClusterName;
const HOME = 'eu-central-1';
const AWAY = 'eu-west-1';
const never = new AbortController().signal;
const SNAPSHOT = /sys\/storage\/raft\/snapshot$/;

const stack = new AsyncDisposableStack();
let kms: KmsEmulator;
let sealKey: string;
let sealReplica: string;
let home: string;
let away: string;
let cluster: BaoCluster;
let http: HttpFaultProxy;
let world: World;
let app: AppOptions;

beforeAll(async () => {
  kms = stack.use(await startKms());
  sealKey = kms.createKey({ region: HOME, multiRegion: true });
  sealReplica = kms.replicateKey(sealKey, AWAY);
  [home, away] = [kms.createKey({ region: HOME }), kms.createKey({ region: AWAY })];
  const seal = { type: 'awskms', endpoint: kms.url, keyId: sealKey, region: HOME } as const;
  cluster = stack.use(await startCluster({ version: '2.6.2', nodes: 1, seal }));
  http = stack.use(await startHttpFaultProxy(cluster.first.url));
  world = stack.use(
    await World.create({
      destinations: { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } },
      kms: [home, away].map(use),
    }),
  );
  for (const name of ['a', 'b']) await mkdir(join(world.directory, name));
  await world.grant(cluster);
  app = { configFile: await world.config([http.url]), env: worldEnv({ accessKeyId: '', secretAccessKey: '' }) };
});
afterAll(() => stack.disposeAsync());

afterEach(async () => {
  kms.heal();
  for (const key of [home, away]) kms.enableKey(key);
  kms.revoke('writer');
  http.requests.length = 0;
  expect(await inSpool(world)).toEqual([]);
});

const use = (keyArn: string): KmsUse => ({ keyArn, endpoint: kms.url });
const asked = (): number => http.requests.filter((line) => SNAPSHOT.test(line)).length;
const isDown = { region: AWAY, with: 'refuse' } as const;
/** the encryption block of a cluster that wraps with these keys alone */
const wrappedBy = (...keys: readonly string[]) => ({
  encryption: {
    kms: keys.map((keyId) => ({
      keyId,
      endpoint: kms.url,
      credentials: { accessKeyId: 'env:WORLD_KMS_ID', secretAccessKey: 'env:WORLD_KMS_SECRET' },
    })),
  },
});

async function stored(): Promise<string[]> {
  return [...(await filesIn(join(world.directory, 'a'))), ...(await filesIn(join(world.directory, 'b')))];
}

async function leavesNothing<T>(fail: () => Promise<T>): Promise<T> {
  const before = await stored();
  const failure = await fail();
  expect(await stored()).toEqual(before);
  return failure;
}

async function sidecar(destination: 'a' | 'b', id: string): Promise<Sidecar> {
  const key = objectKey(CLUSTER, 'keys', id as SnapshotId);
  return parseSidecar(await readFile(join(world.directory, destination, key)), { cluster: CLUSTER, snapshot: id });
}

describe('one of two regions is down', () => {
  let snapshot: string;

  it('all the time: 3, and the missing wrap is recorded', async () => {
    kms.fail(isDown);
    const result = await runCli(['backup', '--json', '--config', app.configFile], { env: app.env });
    expect(result.code).toBe(3);
    expect(failureOf(result)).toMatchObject({ code: 'E_PARTIAL', message: expect.stringContaining(away) as string });
    const document = JSON.parse(result.stdout) as {
      complete: boolean;
      missing: { what: string; message: string }[];
      manifest: { snapshot: string; keys: { kms: string[] } };
    };
    expect(document.complete).toBe(false);
    expect(document.missing).toMatchObject([
      { what: `wrap under ${away}`, message: expect.stringContaining('strongroom snapshots rewrap') as string },
    ]);
    expect(document.manifest.keys.kms).toEqual([home]);
    ({ snapshot } = document.manifest);
    for (const destination of ['a', 'b'] as const) {
      expect((await sidecar(destination, snapshot)).missing).toMatchObject([
        { keyId: away, code: 'E_KEY_UNAVAILABLE' },
      ]);
    }
  });

  it('and a rewrap by the writer says that it cannot open, and changes nothing', async () => {
    kms.grant('writer', ['Encrypt', 'DescribeKey']);
    const before = await sidecar('a', snapshot);
    const result = await runCli(['snapshots', 'rewrap', snapshot, '--json', '--config', app.configFile], {
      env: app.env,
    });
    expect(result).toMatchObject({ code: 12, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_KEY_UNAVAILABLE',
      message: expect.stringMatching(/cannot add a wrap: nothing opens the identity .*kms:Decrypt.*denied/) as string,
      hint: expect.stringContaining('a role with kms:Encrypt alone can wrap, and never open or repair') as string,
    });
    expect(await sidecar('a', snapshot)).toEqual(before);
  });

  it('and while it still is, a rewrap adds nothing and says so', async () => {
    kms.fail(isDown);
    const result = await runCli(['snapshots', 'rewrap', snapshot, '--json', '--config', app.configFile], {
      env: app.env,
    });
    expect(result.code).toBe(3);
    expect(JSON.parse(result.stdout)).toMatchObject({ changes: { added: [], missing: [away] } });
    expect(failureOf(result)).toMatchObject({ code: 'E_PARTIAL', message: expect.stringContaining(away) as string });
  });

  it('and is back: a rewrap repairs every destination, and that region alone opens the snapshot', async () => {
    const args = ['snapshots', 'rewrap', snapshot, '--config', app.configFile];
    expect(await runJson(args, { env: app.env })).toMatchObject({
      changes: { added: [away], dropped: [], missing: [] },
      written: ['a', 'b'],
      failures: [],
    });
    for (const destination of ['a', 'b'] as const) {
      const { wraps, missing } = await sidecar(destination, snapshot);
      expect(wraps.flatMap((wrap) => (wrap.type === 'aws-kms' ? [wrap.keyId] : []))).toEqual([home, away]);
      expect(missing).toEqual([]);
    }
    const configFile = await world.config([http.url], wrappedBy(away), 'away.yaml');
    kms.disableKey(home);
    await using opened = await openApp({ ...app, configFile });
    const deps = await opened.snapshotDeps(CLUSTER, never);
    const { manifest } = await deps.catalogue.read(snapshot as SnapshotId, never);
    const { copies } = await verifySnapshot(deps, manifest, never);
    expect(copies).toMatchObject([
      { destination: 'a', level: 'archive', openedWith: away },
      { destination: 'b', level: 'archive', openedWith: away },
    ]);
  });

  it('at the beginning only: the wrap is made at the end, while the identity is still there', async () => {
    const fault = kms.fail({ ...isDown, operation: 'Encrypt' });
    const result = await tryBackup({
      ...app,
      onProgress: ({ stage }) => {
        if (stage === 'upload a') fault.remove();
      },
    });
    expect(fault.hits).toBeGreaterThan(0);
    expect(result).toMatchObject({ complete: true, missing: [] });
    expect(result.manifest.keys.kms.toSorted()).toEqual([home, away].toSorted());
    for (const destination of ['a', 'b'] as const) {
      expect(await sidecar(destination, result.manifest.snapshot)).toMatchObject({ missing: [], revision: 2 });
    }
  });
});

describe('no key can wrap', () => {
  it('because every region is down: 12, and Vault is asked for nothing', async () => {
    kms.fail({ operation: 'Encrypt', with: 'KMSInternalException', keyId: home });
    kms.fail({ operation: 'Encrypt', with: 'KMSInternalException', keyId: away });
    const error = await leavesNothing(() => failedBackup(app));
    expect(verdictOf(error)).toEqual(['E_KEY_UNAVAILABLE', 12]);
    expect(asked()).toBe(0);
  });

  it.each([
    { state: 'disabled', harm: () => kms.disableKey(home), undo: () => kms.enableKey(home), words: /is Disabled/ },
    {
      state: 'waiting for its deletion',
      harm: () => kms.scheduleKeyDeletion(home),
      undo: () => kms.cancelKeyDeletion(home),
      words: /will be deleted on 20/,
    },
  ])('because a key is $state: refused before Vault is asked', async ({ harm, undo, words }) => {
    harm();
    const error = await leavesNothing(() => failedBackup(app));
    undo();
    expect(verdictOf(error)).toEqual(['E_KEY_REFUSED', 14]);
    expect(error.message).toMatch(words);
    expect(asked()).toBe(0);
  });
});

describe('a key that wraps and also opens the seal is refused', () => {
  const write = (name: string, keys: readonly string[], sealKms?: string) =>
    world.config(
      [http.url],
      { ...wrappedBy(...keys), ...(sealKms === undefined ? {} : { sealKms: wrappedBy(sealKms).encryption.kms[0] }) },
      name,
    );

  it('by the config, when it names it twice', async () => {
    const configFile = await write('twice.yaml', [home, sealKey], sealKey);
    const result = await leavesNothing(() => runCli(['backup', '--json', '--config', configFile], { env: app.env }));
    expect(result).toMatchObject({ code: 15, stdout: '' });
    expect(failureOf(result)).toMatchObject({ code: 'E_CONFIG_INVALID' });
    expect(result.stderr).toContain('lost together');
    expect(asked()).toBe(0);
  });

  it('by preflight, when it is a replica of the configured seal key', async () => {
    const configFile = await write('replica.yaml', [home, sealReplica], sealKey);
    const result = await leavesNothing(() => runCli(['backup', '--json', '--config', configFile], { env: app.env }));
    expect(result).toMatchObject({ code: 14, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_KEY_REFUSED',
      message: expect.stringContaining(`${sealReplica} also unseals the cluster`) as string,
    });
    expect(asked()).toBe(0);
  });

  it('by the archive alone, when the config does not name the seal key', async () => {
    for (const [name, key] of Object.entries({ 'same.yaml': sealKey, 'sibling.yaml': sealReplica })) {
      http.requests.length = 0;
      const configFile = await write(name, [home, key]);
      // A cluster of another name: no earlier manifest tells what the seal's key is.
      const text = (await readFile(configFile, 'utf8')).replace('  prod:\n', '  fresh:\n');
      const fresh = { ...app, configFile: await world.write(name, text), cluster: 'fresh' };
      const error = await leavesNothing(() => failedBackup(fresh));
      expect(verdictOf(error)).toEqual(['E_KEY_REFUSED', 14]);
      expect(error.message).toContain(`${key} also unseals the cluster`);
      expect(asked()).toBe(1);
    }
  });

  it('by the last manifest, before Vault is asked again', async () => {
    expect(await tryBackup(app)).toMatchObject({ complete: true });
    http.requests.length = 0;
    const error = await leavesNothing(async () =>
      failedBackup({ ...app, configFile: await write('known.yaml', [home, sealKey]) }),
    );
    expect(verdictOf(error)).toEqual(['E_KEY_REFUSED', 14]);
    expect(asked()).toBe(0);
  });
});
