/** A restore into the running cluster that the snapshot is of: every way to say what, and every way to be stopped. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { failureOf, filesIn, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { installsOn, plainSnapshot, valueAt } from '../support/restore-trial.ts';
import { textAt } from '../support/seed-part.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { type AppOptions, backUp, bringBack, StopBeforeInstall } from '../support/strongroom-app.ts';
import { runCli, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { BACKUP_POLICY, RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const stack = new AsyncDisposableStack();
let kms: KmsEmulator;
let wrapping: string;
let cluster: BaoCluster;
/** every request that strongroom makes to the node */
let node: HttpFaultProxy;
/** in front of the first destination */
let upload: FaultProxy;
let world: World;
let env: Record<string, string>;
/** with KMS and the break-glass identity, as on a restore machine */
let app: AppOptions;
/** with KMS alone */
let kmsOnly: string;
/** of `older` and `newer`, the values of kv/canary in them */
const ids = { older: '', newer: '' };

beforeAll(async () => {
  kms = stack.use(await startKms());
  wrapping = kms.createKey({ region: 'eu-central-1' });
  const seal = { type: 'static', keyId: 'k1', keyHex: '7d'.repeat(32) } as const;
  const [started, s3] = await Promise.all([startCluster({ version: '2.7.2', seal }), sharedServer('versitygw')]);
  cluster = stack.use(started);
  const bucket = `restore-${randomUUID()}`;
  await s3.createBucket(bucket);
  upload = stack.use(await startFaultProxy(s3.endpoint));
  node = stack.use(await startHttpFaultProxy(cluster.first.url));
  world = stack.use(
    await World.create({
      destinations: {
        bucket: { type: 's3', server: { ...s3, endpoint: upload.url }, bucket },
        folder: { type: 'directory', path: 'folder' },
      },
      kms: [{ keyArn: wrapping, endpoint: kms.url }],
    }),
  );
  await mkdir(join(world.directory, 'folder'));
  env = worldEnv(s3);
  await world.grant(cluster, RESTORE_POLICY);
  kmsOnly = await world.config([node.url], {}, 'kms-only.yaml');
  const encryption = { identities: ['file:breakglass.txt'] };
  app = { configFile: await world.config([node.url], { encryption }), env };
  await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
  await write('older');
  ids.older = (await backUp(app)).manifest.snapshot;
  await write('newer');
  await cluster.call('POST', 'kv/deleted-later', { value: 'back again' });
  ids.newer = (await backUp(app)).manifest.snapshot;
});
afterAll(() => stack.disposeAsync());

beforeEach(async () => {
  await write('written since');
  node.requests.length = 0;
});
afterEach(async () => {
  node.clear();
  kms.heal();
  await kms.start();
  await upload.set({ kind: 'pass' });
  expect(await inSpool(world)).toEqual([]);
});

const write = (value: string) => cluster.call('POST', 'kv/canary', { value });
const canary = () => valueAt(cluster.first, cluster.rootToken, 'kv/canary');
const restore = (configFile: string, ...args: string[]) =>
  runCli(['restore', '--json', '--config', configFile, ...args], { env });
const posts = (): string[] => node.requests.filter((line) => /^POST .*\/raft\/snapshot/.test(line));
const NORMAL = 'POST /v1/sys/storage/raft/snapshot';

/** Runs what must not install anything. */
async function untouched<T>(run: () => Promise<T>): Promise<T> {
  const before = await installsOn(cluster.first);
  const result = await run();
  expect(await canary()).toBe('written since');
  expect(await installsOn(cluster.first)).toBe(before);
  return result;
}

describe('the same cluster', () => {
  it('gets back what was deleted and loses what was written, with the rights of a restore and no force', async () => {
    await cluster.call('DELETE', 'kv/deleted-later');
    await cluster.call('POST', 'kv/new', { value: 'written since' });
    const result = await restore(app.configFile, '--confirm', 'prod');
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      snapshot: ids.newer,
      openedWith: wrapping,
      plan: { force: false, forceReason: 'same cluster, so the server checks the seal as well', sharesNeeded: 0 },
      proof: { unexpected: [], unexpectedCount: 0 },
    });
    expect(posts()).toEqual([NORMAL]);
    const read = (path: string) => valueAt(cluster.first, cluster.rootToken, path);
    expect(await Promise.all(['kv/canary', 'kv/deleted-later', 'kv/new'].map(read))).toEqual([
      'newer',
      'back again',
      404,
    ]);
  });

  it('refuses the login that makes backups, names the missing line, and stays as it is', async () => {
    await cluster.call('PUT', 'sys/policies/acl/strongroom', { policy: BACKUP_POLICY });
    const result = await untouched(() => restore(app.configFile, '--confirm', 'prod'));
    expect(result).toMatchObject({ code: 14, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_VAULT_DENIED',
      hint: expect.stringContaining('path "sys/storage/raft/snapshot" { capabilities = ["update"] }') as string,
    });
    await cluster.call('PUT', 'sys/policies/acl/strongroom', { policy: RESTORE_POLICY });
  });

  it('is proven by a login that nobody had used when the snapshot was taken, and that may do no more than this', async () => {
    const policy = RESTORE_POLICY.replace(/path "sys\/storage\/raft\/configuration".*\n/g, '');
    expect(policy).not.toContain('configuration');
    await cluster.call('PUT', 'sys/policies/acl/narrow', { policy });
    await cluster.call('POST', 'auth/approle/role/narrow', { token_policies: ['narrow'] });
    const role = await cluster.call('GET', 'auth/approle/role/narrow/role-id');
    const secret = await cluster.call('POST', 'auth/approle/role/narrow/secret-id', {});
    await world.write('narrow-role', textAt(role, 'data', 'role_id'));
    await world.write('narrow-secret', textAt(secret, 'data', 'secret_id'));
    const file = await snapshotFile('narrow.snap');
    const auth = { method: 'approle', roleId: 'file:narrow-role', secretId: 'file:narrow-secret' };
    const config = await world.config([node.url], { auth }, 'narrow.yaml');
    // The safety snapshot is a backup, with the rights of one.
    const result = await restore(config, '--confirm', 'prod', '--snapshot', file, '--without-safety-snapshot');
    expect([result.code, result.stderr]).toEqual([0, '']);
    // The first login of somebody makes an entity, and that is no fault of the restore.
    const entity = expect.stringMatching(/^(added|changed) logical\/[^/]+\/packer\/buckets\/\d+$/) as string;
    expect(JSON.parse(result.stdout)).toMatchObject({
      proof: { explained: expect.arrayContaining([entity]) as string[], unexpectedCount: 0 },
    });
  });

  it('with a login that the snapshot does not know: 12, and it is said that the cluster is another one now', async () => {
    const made = await cluster.call('POST', 'auth/token/create', { policies: ['strongroom'] });
    await world.write('young-token', textAt(made, 'auth', 'client_token'));
    const auth = { method: 'token', token: 'file:young-token' };
    const config = await world.config([node.url], { auth }, 'young.yaml');
    const result = await restore(config, '--confirm', 'prod');
    expect(result).toMatchObject({ code: 12, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_VAULT_LOGIN',
      message: expect.stringMatching(
        /^the snapshot was accepted, and since then the configured login does not work/,
      ) as string,
      hint: expect.stringContaining('configure credentials that existed then') as string,
    });
    expect(await canary()).toBe('newer');
  });
});

async function snapshotFile(name: string): Promise<string> {
  const file = join(world.directory, name);
  await writeFile(file, await plainSnapshot(cluster.first, cluster.rootToken));
  return file;
}

function damaged(archive: Buffer): Buffer {
  const copy = Buffer.from(archive);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}

describe('what is restored', () => {
  it('can be a plain file: the plan says before the confirmation that nobody signed it', async () => {
    await write('of the file');
    const file = await snapshotFile('plain.snap');
    await write('written since');
    const unsigned = `${file} is not signed: that it is whole was checked, where it comes from cannot be`;
    const planned = await untouched(() =>
      runCli(['restore', '--dry-run', '--snapshot', file, '--config', app.configFile], { env }),
    );
    expect(planned).toMatchObject({ code: 0, stdout: expect.stringContaining(`caution   ${unsigned}`) as string });
    const result = await restore(app.configFile, '--confirm', 'prod', '--snapshot', file);
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      snapshot: null,
      label: `file ${file}`,
      openedWith: 'plain file',
      plan: { force: true, forceReason: 'the cluster it was taken from is not known' },
      proof: { unexpectedCount: 0 },
      warnings: expect.arrayContaining([unsigned]) as string[],
    });
    expect(await canary()).toBe('of the file');
  });

  it('must be there, and be an archive', async () => {
    const text = await world.write('notes.txt', 'no archive');
    for (const [snapshot, code, exit] of [
      ['no-such-file', 'E_NOT_FOUND', 10],
      ['01JD0000000000000000000000', 'E_NOT_FOUND', 10],
      [world.directory, 'E_SNAPSHOT_FORMAT', 13],
      [text, 'E_SNAPSHOT_FORMAT', 13],
    ] as const) {
      const result = await untouched(() => restore(app.configFile, '--confirm', 'prod', '--snapshot', snapshot));
      expect([snapshot, result.code, failureOf(result).code]).toEqual([snapshot, exit, code]);
    }
    expect(posts()).toEqual([]);
  });

  it('can be an older one, by its id', async () => {
    const result = await restore(app.configFile, '--confirm', 'prod', '--snapshot', ids.older);
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({ snapshot: ids.older, proof: { unexpectedCount: 0 } });
    expect(await canary()).toBe('older');
  });

  it('is refused when somebody puts another file in its place between the plan and the confirmation', async () => {
    const file = await snapshotFile('exchanged.snap');
    const mine = await readFile(file);
    await write('written since');
    const other = await plainSnapshot(cluster.first, cluster.rootToken);
    for (const planted of [other, Buffer.concat([mine, mine]), damaged(mine)]) {
      const confirm = () => writeFile(file, planted);
      await untouched(() =>
        expect(bringBack(app, { snapshot: file, confirm })).rejects.toMatchObject({
          code: expect.stringMatching(/^E_SNAPSHOT_(CHECKSUM|FORMAT)$/) as string,
        }),
      );
      await writeFile(file, mine);
    }
  });

  it('comes from the second destination, opened by break-glass, when the first one and KMS are gone', async () => {
    await upload.set({ kind: 'refuse' });
    await kms.stop();
    const result = await restore(app.configFile, '--confirm', 'prod', '--without-safety-snapshot');
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      label: expect.stringMatching(new RegExp(`^snapshot ${ids.newer} from file://.*/folder$`)) as string,
      openedWith: expect.stringMatching(/^age1/) as string,
      // A newer one may be where nobody could look: to be known before the confirmation.
      plan: {
        warnings: expect.arrayContaining([expect.stringContaining('not every destination could be asked')]) as [],
      },
      proof: { unexpectedCount: 0 },
    });
    expect(await canary()).toBe('newer');
  });

  it('opens with nothing: 12, and each way that was tried', async () => {
    kms.disableKey(wrapping);
    const result = await untouched(() => restore(kmsOnly, '--confirm', 'prod'));
    kms.enableKey(wrapping);
    expect(result).toMatchObject({ code: 12, stdout: '' });
    const failure = failureOf(result);
    expect(failure.code).toBe('E_KEY_UNAVAILABLE');
    expect(failure.message).toContain(`${wrapping}: `);
    expect(failure.message).toMatch(/the key is disabled/);
    expect(failure.message).toMatch(/age1\S+: no key or identity for it is configured here/);
    expect(posts()).toEqual([]);
  });
});

describe('nothing is changed', () => {
  it('by --dry-run, which shows the plan', async () => {
    const result = await untouched(() => restore(app.configFile, '--dry-run'));
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({ plan: { cluster: 'prod', target: node.url, force: false } });
    expect(posts()).toEqual([]);
  });

  it('with another name behind --confirm, and without one where nobody can be asked', async () => {
    const wrong = await untouched(() => restore(app.configFile, '--confirm', 'production'));
    expect([wrong.code, failureOf(wrong).code]).toEqual([14, 'E_CONFIRMATION']);
    expect(node.requests).toEqual([]);
    const none = await untouched(() => restore(app.configFile));
    expect([none.code, failureOf(none)]).toEqual([
      14,
      expect.objectContaining({ code: 'E_CONFIRMATION', hint: '--confirm prod' }),
    ]);
    expect(posts()).toEqual([]);
  });

  it('by a second run while the first one waits for its confirmation', async () => {
    const result = await untouched(async () => {
      let second: Awaited<ReturnType<typeof restore>> | undefined;
      const confirm = async (): Promise<void> => {
        second = await restore(app.configFile, '--confirm', 'prod');
        throw new StopBeforeInstall();
      };
      await expect(bringBack(app, { confirm })).rejects.toBeInstanceOf(StopBeforeInstall);
      return second;
    });
    expect(result).toMatchObject({ code: 11, stdout: '' });
    if (result === undefined) throw new Error('the first run never asked');
    expect(failureOf(result)).toMatchObject({
      code: 'E_LOCKED',
      message: expect.stringContaining(`process ${process.pid} on`) as string,
    });
    expect(posts()).toEqual([]);
  });

  it('by a run that is stopped while its copy is here and its key is not', async () => {
    kms.fail({ operation: 'Decrypt', with: 'hang' });
    kms.clearCalls();
    const result = await untouched(async () => {
      const { child, finished } = startCli(['restore', '--confirm', 'prod', '--config', kmsOnly], { env });
      await until('it waits for KMS', () => Promise.resolve(kms.calls.length > 0 ? true : undefined));
      expect((await filesIn(world.spool)).join()).toContain(`restore-${ids.newer}`);
      child.kill('SIGINT');
      return await finished;
    });
    expect(result).toMatchObject({
      code: 130,
      stdout: '',
      stderr: expect.stringContaining('stopped by SIGINT') as string,
    });
    expect(posts()).toEqual([]);
  });

  it('by a run that is stopped while it verifies', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const onProgress: AppOptions['onProgress'] = ({ stage }) => {
      if (stage === 'verify') controller.abort(reason);
    };
    await untouched(() => expect(bringBack({ ...app, signal: controller.signal, onProgress })).rejects.toBe(reason));
    expect(posts()).toEqual([]);
  });
});
