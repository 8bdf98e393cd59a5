/** What goes wrong on our own side of a backup: disk, signals, a second run, keys, and a cluster that is not what it was. */
import { randomUUID } from 'node:crypto';
import { cp, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  duringSnapshot,
  failedBackup,
  failureOf,
  filesIn,
  inBucket,
  inSpool,
  type TrialOptions,
  tryBackup,
  verdictOf,
} from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { baseEnv } from '../support/process.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { grow } from '../support/seed-bulk.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { runCli, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { World, worldEnv } from '../support/world.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const SNAPSHOT = /sys\/storage\/raft\/snapshot$/;
const STATE_BYTES = 4 * 2 ** 20;
const REGION = 'eu-central-1';

const stack = new AsyncDisposableStack();
const bucket = `local-${randomUUID()}`;
let kms: KmsEmulator;
let cluster: BaoCluster;
let http: HttpFaultProxy;
let gate: FaultProxy;
let s3: S3Server;
let wire: FaultProxy;
let world: World;
let env: Record<string, string>;
let app: TrialOptions;

beforeAll(async () => {
  kms = stack.use(await startKms());
  const seal = { type: 'static', keyId: 'one', keyHex: '5e'.repeat(32) } as const;
  [cluster, s3] = await Promise.all([
    startCluster({ version: '2.7.2', nodes: 1, seal }).then((started) => stack.use(started)),
    sharedServer('versitygw'),
  ]);
  await s3.createBucket(bucket);
  wire = stack.use(await startFaultProxy(s3.endpoint));
  http = stack.use(await startHttpFaultProxy(cluster.first.url));
  gate = stack.use(await startFaultProxy(http.url));
  world = stack.use(
    await World.create({
      destinations: {
        folder: { type: 'directory', path: 'folder' },
        s3: { type: 's3', server: { ...s3, endpoint: wire.url }, bucket },
      },
      kms: [{ keyArn: kms.createKey({ region: REGION }), endpoint: kms.url }],
      cluster: { destinations: ['folder'] },
    }),
  );
  await mkdir(join(world.directory, 'folder'));
  await world.grant(cluster);
  env = worldEnv(s3);
  app = { configFile: await world.config([gate.url]), env };
});
afterAll(() => stack.disposeAsync());

afterEach(async () => {
  await gate.set({ kind: 'pass' });
  await wire.set({ kind: 'pass' });
  http.requests.length = 0;
  expect(await inSpool(world)).toEqual([]);
});

const asked = (): number => http.requests.filter((line) => SNAPSHOT.test(line)).length;
const stored = async () => ({ ...(await inBucket(s3, bucket)), files: await filesIn(join(world.directory, 'folder')) });

async function leavesNothing<T>(fail: () => Promise<T>): Promise<T> {
  const before = await stored();
  const failure = await fail();
  expect(await stored()).toEqual(before);
  return failure;
}

/** The config with another text in the place of `from`. */
async function configWith(name: string, from: RegExp, to: string): Promise<string> {
  const text = await readFile(app.configFile, 'utf8');
  if (!from.test(text)) throw new Error(`${from} is not in the config`);
  return await world.write(name, text.replace(from, to));
}
const withMaxBytes = (maxBytes: string) => configWith('room.yaml', /^spool:\n/m, `spool:\n  maxBytes: ${maxBytes}\n`);

describe('room for the spool', () => {
  it('that is known to be too little: refused before Vault is asked', async () => {
    const configFile = await withMaxBytes('2MiB');
    const error = await leavesNothing(() => failedBackup({ ...app, configFile }));
    expect(verdictOf(error)).toEqual(['E_SPACE', 14]);
    expect(error.hint).toContain('spool.maxBytes');
    expect(asked()).toBe(0);
    expect(await tryBackup(app)).toMatchObject({ complete: true });
  });

  it('that the state has outgrown: cut off, once, and nothing is left', async () => {
    await grow(cluster, STATE_BYTES, { mount: 'outgrown' });
    const configFile = await withMaxBytes('2MiB');
    const error = await leavesNothing(() => failedBackup({ ...app, configFile }));
    expect(verdictOf(error)).toEqual(['E_SPACE', 14]);
    expect(error.message).toContain('grows past 2.00 MiB');
    expect(asked()).toBe(1);
  });

  it('on a disk that fills up in the middle: 14, and nothing is left', async () => {
    const once = await world.config([gate.url], { backup: { attempts: 1 } }, 'once.yaml');
    const result = await leavesNothing(() => backUpOnSmallDisk(once));
    expect(failureOf(result)).toMatchObject({
      code: 'E_SPACE',
      exitCode: 14,
      message: expect.stringMatching(/no room left for the spool file|grows past 3/) as string,
    });
    // What is found in the spool when the run is over stands in the output.
    expect(result).toMatchObject({ code: 14, stdout: '' });
    expect(asked()).toBe(1);
    expect(await tryBackup(app)).toMatchObject({ complete: true });
  });
});

/**
 * One backup with a spool on a file system of 3 MiB that only it sees, and lists the spool's files behind its output.
 * Where nobody may mount anything, the limit of the config takes the place of the disk's.
 */
async function backUpOnSmallDisk(configFile: string) {
  const backup = (config: string) => ['backup', '--json', '--config', config];
  const script = `mount -t tmpfs -o size=3m none "$1" || exit 99; shift; "$@"; code=$?; find "$0" -type f; exit $code`;
  for (const unshare of [['-m'], ['-r', '-m']]) {
    const result = await execa(
      'unshare',
      [...unshare, 'sh', '-c', script, world.spool, world.spool, process.execPath, MAIN, ...backup(configFile)],
      { reject: false, env: { ...baseEnv(), ...env }, extendEnv: false },
    );
    if (result.exitCode !== 99 && !result.stderr.startsWith('unshare:')) {
      return { code: result.exitCode ?? null, signal: null, stdout: result.stdout, stderr: result.stderr };
    }
  }
  return await runCli(backup(await withMaxBytes('3MiB')), { env });
}

describe('a signal', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s in the middle of an upload: 130, and nothing is left', async (signal) => {
    const configFile = await world.config([gate.url], { destinations: ['folder', 's3'] }, 'both.yaml');
    await wire.set({ kind: 'throttle', bytesPerSecond: 300_000, direction: 'up' });
    const before = await stored();
    const running = startCli(['backup', '--json', '--config', configFile], { env });
    // Not the upload by which preflight tries its rights.
    await until('the upload of the data is under way', async () =>
      (await inBucket(s3, bucket)).uploads.some((key) => key.endsWith('.snap.age')) ? true : undefined,
    );
    running.child.kill(signal);
    const result = await running.finished;
    expect(result).toMatchObject({ code: 130, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_INTERRUPTED',
      message: expect.stringContaining(signal) as string,
    });
    expect(await stored()).toEqual(before);
  });

  it('in the middle of the download: 130, the connection to the node is cut, and nothing is left', async () => {
    await gate.set({ kind: 'throttle', bytesPerSecond: 300_000 });
    const running = startCli(['backup', '--json', '--config', app.configFile], { env });
    const before = await stored();
    await until('the download is under way', async () => (asked() > 0 ? true : undefined));
    running.child.kill('SIGTERM');
    const result = await running.finished;
    expect(result).toMatchObject({ code: 130, stdout: '' });
    expect(failureOf(result)).toMatchObject({ code: 'E_INTERRUPTED' });
    await until('no connection is open', async () => (gate.totals.open === 0 ? true : undefined));
    expect(await stored()).toEqual(before);
    await gate.set({ kind: 'pass' });
    expect(await tryBackup(app)).toMatchObject({ complete: true, attempts: 1 });
  });
});

it('a second run at the same time: 11, it says who holds the cluster, and the first one ends well', async () => {
  await gate.set({ kind: 'throttle', bytesPerSecond: 4 * 2 ** 20 });
  let second: Awaited<ReturnType<typeof runCli>> | undefined;
  const { onProgress, done } = duringSnapshot(gate, async () => {
    second = await runCli(['backup', '--json', '--config', app.configFile], { env });
  });
  const first = await tryBackup({ ...app, onProgress });
  await done;
  expect(second).toMatchObject({ code: 11, stdout: '' });
  if (second === undefined) throw new Error('there was no second run');
  const { code, message } = failureOf(second);
  expect(code).toBe('E_LOCKED');
  expect(message).toContain(`run ${first.manifest.run} holds this cluster (process ${process.pid} on `);
  expect(first.complete).toBe(true);
});

describe('a signing key', () => {
  it.each([
    { name: 'whose file is gone', key: 'file:gone.pem', words: /gone\.pem/ },
    { name: 'that is no key', key: 'file:breakglass.txt', words: /sign/ },
  ])('$name: 15, before anything is asked', async ({ key, words }) => {
    const configFile = await configWith('signing.yaml', /file:signing\.pem/, key);
    const result = await leavesNothing(() => runCli(['backup', '--json', '--config', configFile], { env }));
    expect(result).toMatchObject({ code: 15, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_CONFIG_INVALID',
      message: expect.stringMatching(words) as string,
    });
    expect(http.requests).toEqual([]);
    expect(result.stderr).not.toContain('AGE-SECRET-KEY');
  });

  it('in a KMS that fails at the last step: nothing is published, and nothing is left', async () => {
    const key = kms.createKey({ region: REGION, spec: 'ECC_NIST_P256' });
    const credentials = '{ accessKeyId: env:WORLD_KMS_ID, secretAccessKey: env:WORLD_KMS_SECRET }';
    const signing = `kms: { keyId: '${key}', endpoint: '${kms.url}', credentials: ${credentials} }`;
    const configFile = await configWith('kms.yaml', /key: file:signing\.pem/, signing);
    using fault = kms.fail({ operation: 'Sign', keyId: key, with: 'KMSInternalException' });
    const stages = new Set<string>();
    const error = await leavesNothing(() =>
      failedBackup({ ...app, configFile, onProgress: ({ stage }) => stages.add(stage) }),
    );
    expect(verdictOf(error)).toEqual(['E_KEY_UNAVAILABLE', 12]);
    expect(fault.hits).toBeGreaterThan(0);
    expect([...stages]).toContain('upload folder');
  });
});

describe('a cluster that is not what it was', () => {
  /** Refused without --new-lineage; with it stored, and the reason stands in the manifest; then nothing is special. */
  async function isAcceptedOnlyInWords(words: RegExp): Promise<void> {
    const result = await runCli(['backup', '--new-lineage', '--json', '--config', app.configFile], { env });
    expect(result.code).toBe(0);
    const { manifest } = JSON.parse(result.stdout) as { manifest: { warnings: string[] } };
    expect(manifest.warnings.join('\n')).toMatch(words);
    const next = await tryBackup(app);
    expect(next.complete).toBe(true);
    expect(next.manifest.warnings.join('\n')).not.toMatch(words);
  }

  it('lost records: a warning from one limit on, a failure from the other', async () => {
    await grow(cluster, STATE_BYTES, { mount: 'doomed' });
    expect(await tryBackup(app)).toMatchObject({ complete: true });
    for (const mount of ['doomed', 'outgrown']) await cluster.call('DELETE', `sys/mounts/${mount}`);
    const result = await leavesNothing(() => runCli(['backup', '--json', '--config', app.configFile], { env }));
    expect(result).toMatchObject({ code: 13, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_SNAPSHOT_IMPLAUSIBLE',
      message: expect.stringMatching(/state fell by (?:9\d|100) % since snapshot \w{26} \(8\.\d+ MiB to /) as string,
      hint: expect.stringContaining('--new-lineage') as string,
    });
    // Looked at once: what has fallen does not come back by asking again.
    expect(asked()).toBe(2);
    const lenient = await world.config([gate.url], { backup: { maxFall: '100%', warnFall: '20%' } }, 'lenient.yaml');
    const { complete, manifest } = await tryBackup({ ...app, configFile: lenient });
    expect(complete).toBe(true);
    expect(manifest.warnings.join('\n')).toMatch(/state fell by (?:9\d|100) %/);
    expect(manifest.warnings.join('\n')).not.toContain('--new-lineage');
  });

  it('lost most of its state on purpose: accepted in words', async () => {
    await grow(cluster, STATE_BYTES, { mount: 'unwanted' });
    expect(await tryBackup(app)).toMatchObject({ complete: true });
    await cluster.call('DELETE', 'sys/mounts/unwanted');
    expect(verdictOf(await leavesNothing(() => failedBackup(app)))).toEqual(['E_SNAPSHOT_IMPLAUSIBLE', 13]);
    await isAcceptedOnlyInWords(/accepted with --new-lineage: state fell by (?:9\d|100) %/);
  });

  it('went back in time: its index is below the last one', async () => {
    const { first: node } = cluster;
    const saved = join(world.directory, 'saved');
    await node.stop();
    await cp(node.dataDir, saved, { recursive: true });
    await node.start();
    await grow(cluster, 2 ** 20, { mount: 'forgotten' });
    for (let i = 0; i < 50; i += 1) await cluster.call('POST', `forgotten/step-${i}`, { i: String(i) });
    const { manifest: last } = await tryBackup(app);
    await node.stop();
    await rm(node.dataDir, { recursive: true });
    await cp(saved, node.dataDir, { recursive: true });
    await node.start();
    await cluster.waitActive();
    http.requests.length = 0;
    const result = await leavesNothing(() => runCli(['backup', '--json', '--config', app.configFile], { env }));
    expect(result).toMatchObject({ code: 13, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_SNAPSHOT_STALE',
      message: expect.stringContaining(
        `but snapshot ${last.snapshot} was taken at ${last.archive.raft.index}`,
      ) as string,
      hint: expect.stringContaining('--new-lineage') as string,
    });
    expect(asked()).toBe(0);
    await isAcceptedOnlyInWords(/accepted with --new-lineage: raft index \d+ is below/);
  });

  it('is another one under the same name', async () => {
    const other = stack.use(await startCluster({ version: '2.7.2', nodes: 1, idPrefix: 'other' }));
    await world.grant(other);
    app = { ...app, configFile: await world.config([other.first.url]) };
    const result = await leavesNothing(() => runCli(['backup', '--json', '--config', app.configFile], { env }));
    expect(result).toMatchObject({ code: 14, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_PRECONDITION',
      message: expect.stringMatching(/the cluster id is .*, but that of the last good snapshot is /) as string,
      hint: expect.stringContaining('--new-lineage') as string,
    });
    await isAcceptedOnlyInWords(/cluster identity: the cluster id is /);
  });
});
