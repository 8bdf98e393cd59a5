/** Which snapshot, into which cluster, and what is kept of it before: what the flags of a restore promise. */
import { createPublicKey, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type ExpectStatic, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { type SnapshotId, snapshotTime } from '../../src/core/ids.ts';
import { failureOf, inSpool } from '../support/backup-trial.ts';
import { startCluster } from '../support/bao-cluster.ts';
import { FailingS3 } from '../support/failing-s3.ts';
import { startKms } from '../support/kms-emulator.ts';
import { NO_S3, RestoreScene } from '../support/restore-scene.ts';
import { installsOn, valueAt } from '../support/restore-trial.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { backUp } from '../support/strongroom-app.ts';
import { type CliResult, runCli, runJson } from '../support/strongroom-cli.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const SEAL = { type: 'static', keyId: 'k1', keyHex: '8b'.repeat(32) } as const;

type Config = { signing: Record<string, unknown>; clusters: Record<string, Record<string, unknown>> };

/** The scene's config as `change` makes it. */
async function reconfigured(world: World, name: string, change: (config: Config) => void): Promise<string> {
  const config = parse(await readFile(join(world.directory, 'strongroom.yaml'), 'utf8')) as Config;
  change(config);
  return await world.write(name, stringify(config));
}

/** Ids of a cluster's snapshots, oldest first. */
async function listed(config: string, cluster: string, env = NO_S3): Promise<string[]> {
  const answer = await runJson(['snapshots', 'list', '--cluster', cluster, '--config', config], { env });
  return (answer as { snapshots: { snapshot: string }[] }).snapshots.map(({ snapshot }) => snapshot).toSorted();
}

async function shown(config: string, name: string): Promise<{ snapshot: string; purpose: string }> {
  const answer = await runJson(['snapshots', 'show', name, '--config', config], { env: NO_S3 });
  return (answer as { manifest: { snapshot: string; purpose: string } }).manifest;
}

describe.concurrent('--to', () => {
  it("restores into the other cluster after its own name was given, keeps what it held, and leaves the source's alone", async ({
    expect,
  }) => {
    await using scene = await RestoreScene.open('prod', { seal: SEAL });
    await scene.backedUp();
    await using scratch = await startCluster({ version: '2.7.2', seal: SEAL, idPrefix: 'scratch' });
    await scratch.call('POST', 'sys/mounts/kv', { type: 'kv' });
    await scratch.call('POST', 'kv/canary', { value: 'of scratch' });
    await scene.world.write('scratch-token', scratch.rootToken);
    const config = await reconfigured(scene.world, 'two.yaml', ({ clusters }) => {
      const auth = { method: 'token', token: 'file:scratch-token' };
      clusters['scratch'] = { nodes: [scratch.first.url], auth, destinations: ['only'] };
    });
    const into = (...args: string[]): Promise<CliResult> =>
      runCli(['restore', '--json', '--cluster', 'prod', '--to', 'scratch', '--config', config, ...args], {
        env: NO_S3,
      });

    const wrong = await into('--confirm', 'prod');
    expect(wrong).toMatchObject({ code: 14, stdout: '' });
    expect(failureOf(wrong)).toMatchObject({
      code: 'E_CONFIRMATION',
      message: '--confirm says "prod", but the cluster is "scratch"',
      hint: 'nothing was changed',
    });
    expect(await valueAt(scratch.first, scratch.rootToken, 'kv/canary')).toBe('of scratch');

    const mine = await listed(config, 'prod');
    const result = await into('--confirm', 'scratch');
    expect([result.code, result.stderr.includes('"error"')]).toEqual([0, false]);
    const { safety, snapshot } = JSON.parse(result.stdout) as { safety: string; snapshot: string };
    expect(JSON.parse(result.stdout)).toMatchObject({
      complete: true,
      plan: { cluster: 'prod', into: 'scratch', target: scratch.first.url, force: true, safety: true },
      proof: { node: scratch.first.url, unexpectedCount: 0 },
    });
    expect([snapshot]).toEqual(mine);
    expect(await valueAt(scratch.first, scene.cluster.rootToken, 'kv/canary')).toBe('of the snapshot');
    expect(await installsOn(scratch.first)).toBe(1);
    expect([await scene.canary(), await scene.installs()]).toEqual(['written since', 0]);
    // What scratch held is kept under its own name.
    expect(await listed(config, 'scratch')).toEqual([safety]);
    expect(await listed(config, 'prod')).toEqual(mine);
    expect(await inSpool(scene.world)).toEqual([]);
  });
});

describe.concurrent('--at and the safety snapshot', () => {
  it('bring back the state of a time, and then the one of before that', async ({ expect }) => {
    await using scene = await RestoreScene.open('at', { seal: SEAL });
    const app = { configFile: await scene.world.config([scene.node.url]), env: NO_S3 };
    const ids: SnapshotId[] = [];
    for (const value of ['one', 'two', 'three']) {
      await scene.write(value);
      ids.push((await backUp(app)).manifest.snapshot as SnapshotId);
    }
    await scene.write('before');
    const [one, two, three] = ids;
    if (one === undefined || two === undefined || three === undefined) throw new Error('no snapshots');
    const restore = (...args: string[]): Promise<CliResult> =>
      runCli(['restore', '--json', '--confirm', 'prod', '--config', app.configFile, ...args], { env: NO_S3 });
    const timeOf = (id: SnapshotId, plusMs: number): string =>
      new Date(snapshotTime(id).getTime() + plusMs).toISOString();

    for (const [args, exit, code, message] of [
      [['--at', '2026-11-22T03:00'], 2, 'E_USAGE', '"2026-11-22T03:00" is not a time'],
      [['--at', timeOf(two, 0), '--snapshot', one], 2, 'E_USAGE', '--at and --snapshot both say which snapshot'],
      [
        ['--at', timeOf(one, -1)],
        10,
        'E_NOT_FOUND',
        `no destination has any snapshot of prod from ${timeOf(one, -1)} or before`,
      ],
    ] as const) {
      const result = await restore(...args);
      expect([result.code, result.stdout]).toEqual([exit, '']);
      expect(failureOf(result)).toMatchObject({ code, message });
    }
    expect([await scene.canary(), await scene.installs()]).toEqual(['before', 0]);

    const back = await restore('--at', timeOf(three, -1));
    expect(back.code).toBe(0);
    const { safety } = JSON.parse(back.stdout) as { safety: string };
    expect(JSON.parse(back.stdout)).toMatchObject({ snapshot: two, complete: true, proof: { unexpectedCount: 0 } });
    expect(await scene.canary()).toBe('two');
    expect(await listed(app.configFile, 'prod')).toEqual([one, two, three, safety].toSorted());
    expect((await shown(app.configFile, safety)).purpose).toBe('safety');
    // It is the newest of all, and still not what anybody gets who asks for the newest.
    expect(await shown(app.configFile, 'latest')).toMatchObject({ snapshot: three, purpose: 'backup' });
    const planned = await runCli(['restore', '--dry-run', '--config', app.configFile], { env: NO_S3 });
    expect(planned.stdout).toContain(`snapshot ${three} from `);

    const forth = await restore('--snapshot', safety);
    expect(forth.code).toBe(0);
    expect(JSON.parse(forth.stdout)).toMatchObject({ snapshot: safety, complete: true, proof: { unexpectedCount: 0 } });
    expect([await scene.canary(), await scene.installs()]).toEqual(['before', 2]);
    expect(await inSpool(scene.world)).toEqual([]);
  });
});

describe.concurrent('a target that cannot be kept', () => {
  const NOT_KEPT = /^nothing was installed, because the target could not be kept first: /;

  function isRefused(result: CliResult, exit: number, code: string, expect: ExpectStatic): void {
    expect([result.code, result.stdout]).toEqual([exit, '']);
    const failure = failureOf(result);
    expect(failure.code).toBe(code);
    expect(failure.message).toMatch(NOT_KEPT);
    expect(failure.hint).toContain(
      'to restore without it, add --without-safety-snapshot: what the target holds now is',
    );
  }

  it('because its destination refuses or is full, or nobody can sign: refused, and done without it when told so', async ({
    expect,
  }) => {
    const server = await sharedServer('versitygw');
    const bucket = `safety-${randomUUID()}`;
    await server.createBucket(bucket);
    await using s3 = await FailingS3.start(server.endpoint);
    await using cluster = await startCluster({ version: '2.7.2', seal: SEAL, idPrefix: 'keep' });
    await using world = await World.create({
      destinations: { only: { type: 's3', server: { ...server, endpoint: s3.url }, bucket } },
      canOpen: true,
    });
    const env = worldEnv(server);
    await world.grant(cluster, RESTORE_POLICY);
    await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
    await cluster.call('POST', 'kv/canary', { value: 'of the snapshot' });
    const configFile = await world.config([cluster.first.url]);
    const { snapshot } = (await backUp({ configFile, env })).manifest;
    await cluster.call('POST', 'kv/canary', { value: 'written since' });
    const canary = () => valueAt(cluster.first, cluster.rootToken, 'kv/canary');
    const restore = (config: string, ...args: string[]): Promise<CliResult> =>
      runCli(['restore', '--json', '--confirm', 'prod', '--config', config, ...args], { env });

    s3.fail('create', { kind: 'answer', status: 403, code: 'AccessDenied' }, 99);
    isRefused(await restore(configFile), 14, 'E_STORE_DENIED', expect);
    s3.reset();
    s3.fail('put', { kind: 'answer', status: 507, code: 'XMinioStorageFull' }, 99);
    isRefused(await restore(configFile), 14, 'E_STORE_FULL', expect);
    s3.reset();
    const publicKey = createPublicKey(world.secrets.signing).export({ type: 'spki', format: 'pem' }).toString();
    await world.write('signing.pub.pem', publicKey);
    const readOnly = await reconfigured(world, 'read-only.yaml', (config) => {
      config.signing = { trusted: ['file:signing.pub.pem'] };
    });
    isRefused(await restore(readOnly), 15, 'E_CONFIG_INVALID', expect);
    expect([await canary(), await installsOn(cluster.first)]).toEqual(['written since', 0]);
    expect(await listed(configFile, 'prod', env)).toEqual([snapshot]);
    expect(await inSpool(world)).toEqual([]);

    const result = await restore(readOnly, '--without-safety-snapshot');
    expect([result.code, result.stderr.includes('"error"')]).toEqual([0, false]);
    expect(JSON.parse(result.stdout)).toMatchObject({ snapshot, safety: null, plan: { safety: false } });
    expect(await canary()).toBe('of the snapshot');
    expect(await listed(configFile, 'prod', env)).toEqual([snapshot]);
  });

  it("because its seal's KMS is down: a stump is no safety snapshot; without one the server refuses by itself", async ({
    expect,
  }) => {
    await using kms = await startKms();
    const key = kms.createKey({ region: 'eu-central-1' });
    const seal = { type: 'awskms', endpoint: kms.url, keyId: key, region: 'eu-central-1' } as const;
    await using scene = await RestoreScene.open('stump', { version: '2.6.2', seal });
    const { configFile } = await scene.backedUp();
    const before = await listed(configFile, 'prod');
    const restore = (...args: string[]): Promise<CliResult> =>
      runCli(['restore', '--config', configFile, ...args], { env: NO_S3 });

    kms.disableKey(key);
    const planned = await restore('--dry-run');
    expect(planned.code).toBe(0);
    expect(planned.stdout).toMatch(
      /^caution +the target gives no snapshot \(.*\): what it holds now is not known, and the safety snapshot will fail the same way$/m,
    );
    isRefused(await restore('--json', '--confirm', 'prod'), 13, 'E_SNAPSHOT_TRUNCATED', expect);
    const bold = await restore('--json', '--confirm', 'prod', '--without-safety-snapshot');
    expect([bold.code, bold.stdout]).toEqual([13, '']);
    expect(failureOf(bold)).toMatchObject({
      code: 'E_INSTALL_REFUSED',
      message: expect.stringContaining('cannot open the sealed checksums of the archive') as string,
    });
    kms.enableKey(key);
    expect([await scene.canary(), await scene.installs()]).toEqual(['written since', 0]);
    expect([await listed(configFile, 'prod'), await scene.notes()]).toEqual([before, []]);
  });
});
