/** While the seal's key is gone a server answers 200 with a stump. Nothing of it is ever taken for a backup. */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifySnapshot } from '../../src/snapshots/verify.ts';
import {
  duringSnapshot,
  failedBackup,
  failureOf,
  filesIn,
  inBucket,
  inSpool,
  type TrialOptions,
  tryBackup,
} from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { grow } from '../support/seed-bulk.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { openApp } from '../support/strongroom-app.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { World, worldEnv } from '../support/world.ts';

const REGION = 'eu-central-1';
const SNAPSHOT = 'GET /v1/sys/storage/raft/snapshot';
const ATTEMPTS = 3;
/** more than the buffers between server and client hold, so that a held stream is held inside the server */
const MEBIBYTES = 12;
const never = new AbortController().signal;

const stack = new AsyncDisposableStack();
let sealing: KmsEmulator;
let sealKey: string;
let cluster: BaoCluster;
/** everything that was asked of the node */
let log: HttpFaultProxy;
/** in front of it: slows down and holds */
let gate: FaultProxy;
let s3: S3Server;
const bucket = `seal-${randomUUID()}`;
let world: World;
let probed: TrialOptions;
let blind: TrialOptions;

beforeAll(async () => {
  sealing = stack.use(await startKms());
  const wrapping = stack.use(await startKms());
  sealKey = sealing.createKey({ region: REGION });
  const seal = { type: 'awskms', endpoint: sealing.url, keyId: sealKey, region: REGION } as const;
  [cluster, s3] = await Promise.all([
    startCluster({ version: '2.6.2', nodes: 1, seal }).then((started) => stack.use(started)),
    sharedServer('versitygw'),
  ]);
  await s3.createBucket(bucket);
  log = stack.use(await startHttpFaultProxy(cluster.first.url));
  gate = stack.use(await startFaultProxy(log.url));
  world = stack.use(
    await World.create({
      destinations: { s3: { type: 's3', server: s3, bucket }, folder: { type: 'directory', path: 'folder' } },
      kms: [{ keyArn: wrapping.createKey({ region: REGION }), endpoint: wrapping.url }],
      sealKms: { keyArn: sealKey, endpoint: sealing.url },
      cluster: { backup: { attempts: ATTEMPTS } },
      canOpen: true,
    }),
  );
  await mkdir(join(world.directory, 'folder'));
  await world.grant(cluster);
  const env = worldEnv(s3);
  probed = { configFile: await world.config([gate.url]), env };
  blind = { configFile: await world.config([gate.url], { sealKms: undefined }, 'blind.yaml'), env };
});
afterAll(() => stack.disposeAsync());

beforeEach(() => {
  log.requests.length = 0;
});
afterEach(async () => {
  await sealing.start();
  sealing.enableKey(sealKey);
  await gate.set({ kind: 'pass' });
  expect(await inSpool(world)).toEqual([]);
});

const asked = (): number => log.requests.filter((line) => line === SNAPSHOT).length;

async function stored(): Promise<{ objects: string[]; uploads: string[]; files: string[] }> {
  return { ...(await inBucket(s3, bucket)), files: await filesIn(join(world.directory, 'folder')) };
}

/** Runs `fail`, and shows that it changed nothing; then that the seal is all there was to it. */
async function leavesNothing<T>(fail: () => Promise<T>): Promise<T> {
  const before = await stored();
  const failure = await fail();
  expect(await stored()).toEqual(before);
  return failure;
}

async function isCleanAgain(): Promise<void> {
  const { complete, missing, attempts } = await tryBackup(probed);
  expect({ complete, missing, attempts }).toEqual({ complete: true, missing: [], attempts: 1 });
  expect((await stored()).uploads).toEqual([]);
}

type Harm = { name: string; do: () => Promise<void>; undo: () => Promise<void>; words: RegExp };
const harms: Harm[] = [
  {
    name: 'its key is disabled',
    do: () => Promise.resolve(sealing.disableKey(sealKey)),
    undo: () => Promise.resolve(sealing.enableKey(sealKey)),
    words: /its state is Disabled|the key is disabled/,
  },
  {
    name: 'its KMS is gone',
    do: () => sealing.stop(),
    undo: () => sealing.start(),
    words: /KMS cannot be reached/,
  },
];

describe('before the backup', () => {
  beforeAll(isCleanAgain);

  it.each(harms)('$name, with sealKms: refused before Vault is asked for a byte', async (harm) => {
    await harm.do();
    const result = await leavesNothing(() =>
      runCli(['backup', '--json', '--config', probed.configFile], { env: probed.env }),
    );
    expect(failureOf(result)).toMatchObject({
      code: 'E_SEAL_UNHEALTHY',
      exitCode: 20,
      message: expect.stringMatching(harm.words) as string,
      hint: expect.stringContaining('do not restart') as string,
    });
    expect(result).toMatchObject({ code: 20, stdout: '' });
    expect(asked()).toBe(0);
    await harm.undo();
    await isCleanAgain();
  });

  it('on the command line, without sealKms: 13, and the words lead to the seal', async () => {
    const once = await world.config([gate.url], { sealKms: undefined, backup: { attempts: 1 } }, 'once.yaml');
    sealing.disableKey(sealKey);
    const result = await leavesNothing(() => runCli(['backup', '--config', once], { env: probed.env }));
    expect(result).toMatchObject({ code: 13, stdout: '' });
    expect(result.stderr).toMatch(/error E_SNAPSHOT_TRUNCATED: the archive ends/);
    expect(result.stderr).toMatch(/hint: .*seal/);
  });
});

describe.each([
  { size: 'a small state', mebibytes: 0 },
  { size: 'a state of some megabytes', mebibytes: MEBIBYTES },
])('before the backup, with $size and without sealKms', ({ mebibytes }) => {
  beforeAll(async () => {
    if (mebibytes > 0) await grow(cluster, mebibytes * 2 ** 20);
  });

  it.each(harms)('$name: the stump that comes with a 200 is seen, and the seal is named', async (harm) => {
    await harm.do();
    const take = () => cluster.first.request('GET', 'sys/storage/raft/snapshot', { token: cluster.rootToken });
    const stump = await take();
    expect(stump.status).toBe(200);
    const error = await leavesNothing(() => failedBackup(blind));
    expect(error).toMatchObject({ code: 'E_SNAPSHOT_TRUNCATED', hint: expect.stringMatching(/seal/) as string });
    expect(asked()).toBe(ATTEMPTS);
    await harm.undo();
    expect((await take()).body.length).toBeGreaterThan(stump.body.length);
    await isCleanAgain();
  });
});

describe('during the snapshot', () => {
  beforeEach(() => gate.set({ kind: 'throttle', bytesPerSecond: 4 * 2 ** 20 }));

  it.each(harms)('$name: caught, tried again as often as allowed, and named', async (harm) => {
    const { onProgress, done } = duringSnapshot(gate, harm.do);
    const error = await leavesNothing(() => failedBackup({ ...probed, onProgress }));
    await done;
    expect(error).toMatchObject({
      code: 'E_SEAL_UNHEALTHY',
      message: expect.stringMatching(harm.words) as string,
      cause: { code: 'E_SNAPSHOT_TRUNCATED' },
    });
    expect(asked()).toBe(ATTEMPTS);
    await harm.undo();
    await isCleanAgain();
  });

  it.each(harms)('$name, and back before the last try: a good backup', async (harm) => {
    const { onProgress, done } = duringSnapshot(gate, harm.do);
    const messages: string[] = [];
    const result = await tryBackup({
      ...probed,
      onProgress: (event) => {
        onProgress(event);
        if (event.message === undefined) return;
        messages.push(event.message);
        if (messages.length === ATTEMPTS - 1) void harm.undo();
      },
    });
    await done;
    expect(messages).toHaveLength(ATTEMPTS - 1);
    expect(result).toMatchObject({ complete: true, attempts: ATTEMPTS });
    expect(asked()).toBe(ATTEMPTS);
    await using app = await openApp(probed);
    const { copies } = await verifySnapshot(await app.snapshotDeps('prod', never), result.manifest, never);
    expect(copies.map(({ destination, level }) => [destination, level])).toEqual([
      ['s3', 'archive'],
      ['folder', 'archive'],
    ]);
  });
});
