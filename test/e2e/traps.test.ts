/** What servers do to whoever believes them: each trap is sprung by plain HTTP first, then strongroom is led to it. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { failureOf, filesIn, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import {
  installsOn,
  plainInstall,
  plainSnapshot,
  SNAPSHOT,
  valueAt,
  withoutSealedSums,
} from '../support/restore-trial.ts';
import { grow } from '../support/seed-bulk.ts';
import { type AppOptions, backUp, bringBack } from '../support/strongroom-app.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const POST = /^POST \/v1\/(sys\/storage\/raft\/snapshot.*)$/;
const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });
const SEAL = { type: 'static', keyId: 'k1', keyHex: '7a'.repeat(32) } as const;

describe('a stump that came with status 200 while the key of the seal was disabled', () => {
  let kms: KmsEmulator;
  let key: string;
  let cluster: BaoCluster;
  let folder: string;

  beforeAll(async () => {
    kms = await startKms();
    key = kms.createKey({ region: 'eu-central-1' });
    const seal = { type: 'awskms', endpoint: kms.url, keyId: key, region: 'eu-central-1' } as const;
    cluster = await startCluster({ version: '2.6.2', seal });
    folder = join(cluster.first.dataDir, '..', 'stumps');
    await mkdir(folder);
  });
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await kms?.[Symbol.asyncDispose]();
  });

  const saveStump = async (name: string): Promise<{ file: string; bytes: number }> => {
    kms.disableKey(key);
    const { status, headers, body } = await cluster.first.request('GET', SNAPSHOT, { token: cluster.rootToken });
    kms.enableKey(key);
    expect([status, headers['content-type']]).toEqual([200, 'application/gzip']);
    const file = join(folder, name);
    await writeFile(file, body);
    return { file, bytes: body.length };
  };

  it('of a small state is ten bytes long, and inspect says whose they are', async () => {
    const { file, bytes } = await saveStump('small.snap');
    expect(bytes).toBe(10);
    const result = await runCli(['inspect', file]);
    expect(result).toMatchObject({ code: 13, stdout: '' });
    expect(result.stderr).toContain('error E_SNAPSHOT_TRUNCATED: the archive ends after its 10-byte gzip header');
    expect(result.stderr).toContain('a server sends whose seal cannot reach its KMS');
  });

  it('of megabytes looks like an archive, and inspect says that it is none', async () => {
    await grow(cluster, 3 * 2 ** 20);
    const whole = await plainSnapshot(cluster.first, cluster.rootToken);
    const { file, bytes } = await saveStump('large.snap');
    expect(bytes).toBeGreaterThan(2 * 2 ** 20);
    expect(bytes).toBeLessThan(whole.length);
    const result = await runCli(['inspect', file, '--json']);
    expect(result).toMatchObject({ code: 13, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_SNAPSHOT_TRUNCATED',
      hint: expect.stringMatching(/whose seal cannot encrypt .*with status 200: check the seal/) as string,
    });
    const good = join(folder, 'good.snap');
    await writeFile(good, whole);
    expect(await runCli(['inspect', good])).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('an answer to an install', () => {
  let cluster: BaoCluster;
  /** notes every request to the node, and breaks some */
  let proxy: HttpFaultProxy;
  let world: World;
  let app: AppOptions;
  const READ_TIMEOUT = { http_read_timeout: '2s' };

  beforeAll(async () => {
    // The short time-out is a trap of its own below; the others are quick enough not to notice it.
    cluster = await startCluster({ version: '2.7.2', seal: SEAL, listenerTimeouts: READ_TIMEOUT });
    proxy = await startHttpFaultProxy(cluster.first.url);
    world = await World.create({ destinations: { only: { type: 'directory', path: 'only' } }, canOpen: true });
    await mkdir(join(world.directory, 'only'));
    await world.grant(cluster, RESTORE_POLICY);
    app = { configFile: await world.config([proxy.url]), env };
    await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
    await grow(cluster, 3 * 2 ** 20);
    await cluster.call('POST', 'kv/canary', { value: 'of the snapshot' });
    await backUp(app);
  });
  afterEach(async () => {
    proxy.clear();
    expect(await inSpool(world)).toEqual([]);
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const canary = () => valueAt(cluster.first, cluster.rootToken, 'kv/canary');
  const write = (value: string) => cluster.call('POST', 'kv/canary', { value });
  const installs = () => installsOn(cluster.first);
  const restore = (configFile: string, ...more: string[]) =>
    runCli(['restore', '--confirm', 'prod', '--json', '--config', configFile, ...more], { env });
  const posted = () => proxy.requests.flatMap((line) => POST.exec(line)?.[1] ?? []);

  it('comes before anything is applied', async () => {
    const archive = await plainSnapshot(cluster.first, cluster.rootToken);
    const answer = await plainInstall(cluster.first.url, cluster.rootToken, archive, 'snapshot');
    const answeredAt = Date.now();
    expect([answer.status, answer.body.length]).toEqual([204, 0]);
    const [line] = /^\S+(?=.*running post snapshot restore invalidations)/m.exec(await appliedLog()) ?? [];
    expect(Date.parse(line ?? '')).toBeGreaterThan(answeredAt);
  });

  const appliedLog = async (): Promise<string> => {
    await cluster.first.waitLog(/running post snapshot restore invalidations/);
    await cluster.waitActive();
    return await cluster.first.log();
  };

  it('ends no restore: that returns when the old state is gone and the new one proven', async () => {
    await write('newer than the snapshot');
    const before = await installs();
    const result = await bringBack(app);
    expect(await canary()).toBe('of the snapshot');
    expect(await installs()).toBe(before + 1);
    expect(result).toMatchObject({ plan: { force: false }, proof: { unexpectedCount: 0 } });
    expect(result.proof.identical).toBeGreaterThan(40);
  });

  it('that comes from something before the node, which kept the archive to itself: no success', async () => {
    await write('still here');
    const before = await installs();
    using swallowed = proxy.rule({ method: 'POST', path: /snapshot/, fault: { kind: 'answer', status: 204 } });
    const result = await restore(app.configFile, '--timeout', '8s');
    expect(swallowed.hits).toBe(1);
    expect(result).toMatchObject({ code: 13, stdout: '' });
    const failure = failureOf(result);
    expect(failure).toMatchObject({ code: 'E_PROOF_FAILED', exitCode: 13 });
    expect(failure.message).toMatch(/records of http.* are not what it holds: logical\/|changed logical\//);
    expect(await canary()).toBe('still here');
    expect(await installs()).toBe(before);
  });

  it('the same in front of a fresh cluster, which stays what it is', async () => {
    await using fresh = await startCluster({ version: '2.7.2', seal: SEAL, idPrefix: 'fresh-' });
    await using before = await startHttpFaultProxy(fresh.first.url);
    before.rule({ method: 'POST', path: /snapshot-force/, fault: { kind: 'answer', status: 204 } });
    const config = await world.config([before.url], {}, 'fresh.yaml');
    const token = await world.write('fresh-token', fresh.rootToken);
    const result = await restore(config, '--timeout', '8s', '--target-token', `file:${token}`);
    expect(result).toMatchObject({ code: 20, stdout: '' });
    const failure = failureOf(result);
    expect(failure.code).toBe('E_INSTALL_UNKNOWN');
    expect(failure.message).toMatch(
      /does not serve the snapshot .* is active with cluster id \S+, the snapshot has \S+$/,
    );
    // Not the words for a cluster that has taken the snapshot.
    expect(result.stderr).not.toContain('is installed');
    expect(await installsOn(fresh.first)).toBe(0);
    await fresh.call('GET', 'auth/token/lookup-self');
  });

  it('that is lost after the server has acted: the effect is looked for, and found', async () => {
    await write('newer than the snapshot');
    const before = await installs();
    using lost = proxy.rule({ method: 'POST', path: /raft\/snapshot/, times: 1, fault: { kind: 'lose-answer' } });
    const messages: string[] = [];
    const result = await bringBack({ ...app, onProgress: ({ message }) => void messages.push(message ?? '') });
    expect(lost.hits).toBe(1);
    expect(messages.join('\n')).toMatch(/the answer was lost .*looking for the effect/);
    expect(result.proof.unexpectedCount).toBe(0);
    expect(await canary()).toBe('of the snapshot');
    // One upload, and no second one for good measure.
    expect(await installs()).toBe(before + 1);
  });

  it('is a refusal when the upload outlasts http_read_timeout of the listener, and nothing is applied', async () => {
    await using slow = await startFaultProxy(cluster.first.url);
    await slow.set({ kind: 'throttle', bytesPerSecond: 600_000, direction: 'up' });
    const archive = await plainSnapshot(cluster.first, cluster.rootToken);
    await write('still here');
    const before = await installs();

    const start = performance.now();
    const plain = await plainInstall(slow.url, cluster.rootToken, archive).catch((e: unknown) => String(e));
    // Whether the words arrive depends on what the client does with a broken pipe.
    expect(typeof plain === 'string' ? plain : plain.body.toString()).toMatch(/i\/o timeout|EPIPE|ECONNRESET|hang up/);
    expect(performance.now() - start).toBeGreaterThan(1_900);

    const config = await world.config([slow.url], {}, 'slow.yaml');
    const result = await restore(config);
    expect(result).toMatchObject({ code: 13, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_INSTALL_REFUSED',
      message: expect.stringContaining('http_read_timeout') as string,
      hint: expect.stringMatching(/^nothing was applied; raise http_read_timeout/) as string,
    });
    expect(await canary()).toBe('still here');
    expect(await installs()).toBe(before);
  });

  it('to an archive without sealed sums on the normal endpoint is a panic; strongroom only ever uses the other', async () => {
    await write('of the snapshot');
    const archive = withoutSealedSums(await plainSnapshot(cluster.first, cluster.rootToken));
    const file = join(world.directory, 'unsealed.snap');
    await writeFile(file, archive);
    await write('newer than the snapshot');

    // Seen with a static seal on 2.6.2 and 2.7.2; a Shamir Vault goes down with it.
    await expect(plainInstall(cluster.first.url, cluster.rootToken, archive, 'snapshot')).rejects.toThrow('hang up');
    await cluster.first.waitLog(/panic serving/);
    expect(await canary()).toBe('newer than the snapshot');

    const inspected = await runCli(['inspect', file, '--json']);
    expect(inspected).toMatchObject({ code: 13, stdout: '' });
    expect(failureOf(inspected)).toMatchObject({
      code: 'E_SNAPSHOT_UNSEALED',
      message: 'SHA256SUMS.sealed is missing from the archive',
      hint: expect.stringContaining('only by force') as string,
    });

    proxy.requests.length = 0;
    const result = await restore(app.configFile, '--snapshot', file);
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      plan: {
        force: true,
        forceReason: 'the archive has no sealed sums, which the normal endpoint cannot take',
        warnings: expect.arrayContaining([expect.stringContaining('SHA256SUMS.sealed is absent')]) as string[],
      },
      proof: { unexpectedCount: 0 },
    });
    expect(posted()).toEqual([`${SNAPSHOT}-force`]);
    expect(await canary()).toBe('of the snapshot');
    await rm(file);
    expect(await filesIn(world.spool)).toEqual([]);
  });
});
