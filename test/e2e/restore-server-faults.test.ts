/** One node that fails during a restore: sealed, cut off, unable to write its audit log, or set up for another seal. */
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type ExpectStatic, it } from 'vitest';
import { failureOf, inSpool, verdictOf } from '../support/backup-trial.ts';
import { startCluster } from '../support/bao-cluster.ts';
import { sealStatus } from '../support/bao-status.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import {
  breakInAt,
  failureOfRestore,
  NO_S3,
  RestoreScene,
  restoreArgs,
  restoreByCli,
} from '../support/restore-scene.ts';
import { installsOn, plainInstall, plainSnapshot, valueAt } from '../support/restore-trial.ts';
import { type AppOptions, bringBack } from '../support/strongroom-app.ts';
import { runCli, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { World } from '../support/world.ts';

const SEAL = { type: 'static', keyId: 'k1', keyHex: '7f'.repeat(32), shares: 1, threshold: 1 } as const;

async function isUntouched(scene: RestoreScene, expect: ExpectStatic): Promise<void> {
  expect(await scene.canary()).toBe('written since');
  expect(await scene.installs()).toBe(0);
  expect(await inSpool(scene.world)).toEqual([]);
}

describe.concurrent('a Shamir node', () => {
  it('that is sealed before the install stays as it was; sealed after it, it is opened by the next run', async ({
    expect,
  }) => {
    await using scene = await RestoreScene.open('seal');
    const { cluster, node, world } = scene;
    const app = await scene.backedUp();
    const seal = () => cluster.call('PUT', 'sys/seal', undefined, { timeoutMs: 60_000 }).then(() => undefined);

    const bare = await failureOfRestore(bringBack(app, { confirm: seal }));
    expect(verdictOf(bare)).toEqual(['E_VAULT_SEALED', 20]);
    expect(bare.message).toBe(`prod is sealed: ${node.url}`);
    expect(bare.hint).toBe('nothing was installed; give each of these nodes 2 of the 3 key shares');
    await cluster.unsealAll();
    await cluster.waitActive();
    const safe = await failureOfRestore(bringBack(app, { confirm: seal, withSafety: true }));
    expect(safe.code).toBe('E_VAULT_SEALED');
    expect(safe.message).toMatch(/^nothing was installed, because the target could not be kept first: prod is sealed/);
    await cluster.unsealAll();
    await cluster.waitActive();
    await isUntouched(scene, expect);
    expect(await scene.notes()).toEqual([]);

    const running = startCli(restoreArgs(app.configFile), { env: NO_S3 });
    const begun = async () => ((await installsOn(node)) > 0 ? true : undefined);
    await Promise.race([until('the snapshot is handed over', begun), running.finished]);
    await seal();
    const closed = await running.finished;
    expect(closed).toMatchObject({ code: 12, stdout: '' });
    expect(failureOf(closed)).toMatchObject({
      code: 'E_UNSEAL',
      message: `the snapshot is installed, but ${node.url} stays sealed: ${node.url} needs 2 unseal key shares and only 0 were given`,
      hint: expect.stringContaining('do not install it again') as string,
    });
    expect((await sealStatus(node)).sealed).toBe(true);
    const shares = await world.write('shares', cluster.unsealShares.join('\n'));
    const opened = await restoreByCli(app.configFile, '--shares', `file:${shares}`);
    expect([opened.code, opened.stderr.includes('"error"')]).toEqual([0, false]);
    expect(JSON.parse(opened.stdout)).toMatchObject({ complete: true, plan: null, proof: { unexpectedCount: 0 } });
    expect([await scene.canary(), await installsOn(node)]).toEqual(['of the snapshot', 1]);
    expect(await scene.notes()).toEqual([]);
  });
});

describe.concurrent('a connection', () => {
  it('that is lost behind the last byte is looked into: exit 0 and a proof, because it was applied', async ({
    expect,
  }) => {
    await using scene = await RestoreScene.open('late', { seal: SEAL });
    await using proxy = await startHttpFaultProxy(scene.node.url);
    await using gate = await startFaultProxy(proxy.url);
    const app = await scene.backedUp([gate.url]);
    using lost = proxy.rule({ method: 'POST', path: /raft\/snapshot/, times: 1, fault: { kind: 'lose-answer' } });
    const result = await restoreByCli(app.configFile);
    expect([lost.hits, result.code]).toEqual([1, 0]);
    expect(JSON.parse(result.stdout)).toMatchObject({
      complete: true,
      plan: { force: false },
      proof: { unexpectedCount: 0 },
    });
    expect(await scene.canary()).toBe('of the snapshot');

    // By TCP: the server has every byte, and its answer is still on the way when the line is cut.
    await scene.write('written since');
    const messages: string[] = [];
    const watched: AppOptions = { ...app, onProgress: ({ message }) => void messages.push(message ?? '') };
    const cut = breakInAt(watched, 'install', async () => {
      await gate.set({ kind: 'throttle', bytesPerSecond: 1, direction: 'down' });
      await until('the node has begun', async () => ((await installsOn(scene.node)) === 2 ? true : undefined));
      gate.resetConnections();
      await gate.set({ kind: 'pass' });
    });
    const reset = await bringBack(cut.app);
    await cut.done;
    expect(messages.join('\n')).toMatch(
      /the answer was lost \(the connection was lost after the whole archive \(\d+ bytes\)/,
    );
    expect(reset).toMatchObject({ complete: true, proof: { unexpectedCount: 0 } });
    expect([await scene.canary(), await installsOn(scene.node)]).toEqual(['of the snapshot', 2]);
  });

  it('that is lost before the tail is a certain no; within the tail it is looked into, and the next run begins anew', async ({
    expect,
  }) => {
    await using scene = await RestoreScene.open('early', { seal: SEAL, stateBytes: 2 ** 20 });
    await using gate = await startFaultProxy(scene.node.url);
    const app = await scene.backedUp([gate.url]);
    const early = breakInAt(app, 'install', () => gate.set({ kind: 'reset', afterBytes: 300_000, direction: 'up' }));
    const error = await failureOfRestore(bringBack(early.app));
    await gate.set({ kind: 'pass' });
    expect(verdictOf(error)).toEqual(['E_VAULT_UNREACHABLE', 20]);
    expect(error.message).toMatch(/^the upload to \S+ broke off after \d+ bytes; nothing was applied$/);
    await isUntouched(scene, expect);
    expect(await scene.notes()).toEqual([]);

    // 30 KB short of the end: for all that a client can know it may have been applied.
    const { bytes } = await sizes(scene);
    const within = breakInAt(app, 'install', () =>
      gate.set({ kind: 'reset', afterBytes: bytes - 30_000, direction: 'up' }),
    );
    const unknown = await failureOfRestore(bringBack(within.app, { settleTimeoutMs: 7000 }));
    await gate.set({ kind: 'pass' });
    expect(verdictOf(unknown)).toEqual(['E_PROOF_FAILED', 13]);
    expect(unknown.message).toMatch(
      /^the snapshot was handed over, but 1 records of \S+ are not what it holds: changed /,
    );
    await isUntouched(scene, expect);
    expect(await scene.notes()).toHaveLength(1);

    const again = await bringBack(app);
    expect(again).toMatchObject({ complete: true, proof: { unexpectedCount: 0 } });
    expect(again.plan?.warnings.join('\n')).toMatch(
      /either it was not applied, or somebody has written since, for 1 records/,
    );
    expect([await scene.canary(), await installsOn(scene.node)]).toEqual(['of the snapshot', 1]);
    expect(await scene.notes()).toEqual([]);
  });
});

/** The plain archive of the one snapshot there is, in bytes. */
async function sizes({ world }: RestoreScene): Promise<{ bytes: number }> {
  const config = join(world.directory, 'strongroom.yaml');
  const shown = await runCli(['snapshots', 'show', 'latest', '--json', '--config', config], { env: NO_S3 });
  const { manifest } = JSON.parse(shown.stdout) as { manifest: { archive: { bytes: number } } };
  return { bytes: manifest.archive.bytes };
}

describe.concurrent('an audit device', () => {
  /** A file device of the server's config; mode 0000 = the server leaves the mode of what it finds. */
  const auditing = (file: string) => ({
    top: { audit: [{ type: 'file', path: 'file', options: { file_path: file, mode: '0000' } }] },
  });

  it('that cannot write makes every request fail: refused before the install, unknown after it', async ({ expect }) => {
    await using files = await World.create({ destinations: {} });
    const file = join(files.directory, 'audit.log');
    await writeFile(file, '');
    await using scene = await RestoreScene.open('full', { seal: SEAL, ...auditing(file) });
    const { cluster, node } = scene;
    const app = await scene.backedUp();
    const become = async (status: number): Promise<void> => {
      await rm(file, { force: true });
      if (status === 200) await writeFile(file, '');
      else await symlink('/dev/full', file);
      process.kill(node.process?.pid ?? 0, 'SIGHUP');
      await until(`it answers ${status}`, async () =>
        (await node.request('GET', 'sys/mounts', { token: cluster.rootToken })).status === status ? true : undefined,
      );
    };

    const before = await failureOfRestore(bringBack(app, { confirm: () => become(500) }));
    expect(verdictOf(before)).toEqual(['E_VAULT_RESPONSE', 20]);
    expect(before.message).toMatch(/ on http:\S+ gave 500: internal error$/);
    expect(before.hint).toMatch(/^nothing was installed; .* audit devices cannot write \(a full disk\)/);
    const cli = await restoreByCli(app.configFile);
    expect(cli).toMatchObject({ code: 20, stdout: '' });
    expect(failureOf(cli)).toMatchObject({
      code: 'E_VAULT_RESPONSE',
      hint: expect.stringContaining('audit devices cannot write') as string,
    });
    await become(200);
    await isUntouched(scene, expect);

    const full = breakInAt(app, 'settle', () => become(500));
    const after = await failureOfRestore(bringBack(full.app, { settleTimeoutMs: 9000 }));
    await full.done;
    expect(verdictOf(after)).toEqual(['E_INSTALL_UNKNOWN', 20]);
    expect(after.message).toMatch(/ after the install: http:\S+ active; .* gave 500: internal error$/);
    await become(200);
    const again = await bringBack(app);
    expect(again).toMatchObject({ complete: true, plan: null, proof: { unexpectedCount: 0 } });
    expect([await scene.canary(), await installsOn(node)]).toEqual(['of the snapshot', 1]);
  });

  it('of the snapshot that the target cannot open keeps it out of service: said in time, and gone on with once it opens', async ({
    expect,
  }) => {
    await using files = await World.create({ destinations: {} });
    const folder = join(files.directory, 'audit');
    await mkdir(folder);
    await writeFile(join(folder, 'audit.log'), '');
    await using scene = await RestoreScene.open('audit', { seal: SEAL, ...auditing(join(folder, 'audit.log')) });
    await scene.backedUp();
    await scene.node.kill();
    await rm(folder, { recursive: true });
    await writeFile(folder, 'no folder any more');
    await using target = await startCluster({ version: '2.7.2', seal: SEAL, idPrefix: 'deaf' });
    const { url } = target.first;
    const config = await scene.world.config([url]);
    const token = await scene.world.write('target-token', target.rootToken);
    const args = ['--timeout', '15s', '--target-token', `file:${token}`];

    const start = performance.now();
    const result = await restoreByCli(config, ...args);
    expect(performance.now() - start).toBeLessThan(60_000);
    expect(result).toMatchObject({ code: 20, stdout: '' });
    const failed = failureOf(result);
    expect(failed.code).toBe('E_INSTALL_UNKNOWN');
    // It seals itself, opens itself with its seal, and tries in vain to become active, again and again.
    expect(failed.message).toMatch(new RegExp(`after the install: ${url} (?:sealed|standby); .+`));
    expect(failed.hint).toContain('"failed to setup audit table": no audit device of the snapshot can be opened there');
    expect(await target.first.log()).toContain('failed to setup audit table');
    expect(await valueAt(target.first, scene.cluster.rootToken, 'kv/canary')).not.toBe('of the snapshot');

    await rm(folder);
    await mkdir(folder);
    await writeFile(join(folder, 'audit.log'), '');
    await target.first.restart();
    const again = await restoreByCli(config, ...args);
    expect([again.code, again.stderr]).toEqual([0, '']);
    expect(JSON.parse(again.stdout)).toMatchObject({ complete: true, plan: null, proof: { unexpectedCount: 0 } });
    const found = await valueAt(target.first, scene.cluster.rootToken, 'kv/canary');
    expect([found, await installsOn(target.first)]).toEqual(['of the snapshot', 1]);
  });
});

describe.concurrent('a snapshot that somebody has forced onto the wrong seal', () => {
  it('is named both ways with the cure, and once that is done --resume opens and proves it', async ({ expect }) => {
    await using shamir = await RestoreScene.open('shamir');
    await using auto = await RestoreScene.open('static', { seal: SEAL });
    const cases = [
      {
        source: shamir,
        target: auto,
        type: 'shamir',
        configured: 'static',
        cure: 'remove the seal "static" stanza from',
      },
      {
        source: auto,
        target: shamir,
        type: 'static',
        configured: 'shamir',
        cure: 'put the seal "static" stanza of the source into',
      },
    ] as const;
    const archives = await Promise.all(cases.map(({ source }) => plainSnapshot(source.node, source.cluster.rootToken)));
    await Promise.all(
      cases.map(async ({ source, target, type, configured, cure }, i) => {
        const { node, cluster } = target;
        const archive = archives[i] ?? Buffer.alloc(0);
        expect((await plainInstall(node.url, cluster.rootToken, archive)).status).toBe(204);
        await until('it is sealed', async () => ((await sealStatus(node)).sealed ? true : undefined));
        const { world } = source;
        const config = await world.config([node.url]);
        const file = join(world.directory, 'forced.snap');
        await writeFile(file, archive);
        const { unsealShares } = source.cluster;
        const shares = await world.write('shares', unsealShares.join('\n'));
        const args = ['--snapshot', file, ...(unsealShares.length > 0 ? ['--shares', `file:${shares}`] : [])];

        const plain = await restoreByCli(config, ...args);
        expect([plain.code, failureOf(plain).code]).toEqual([20, 'E_VAULT_SEALED']);
        expect(failureOf(plain).hint).toContain('add --resume: it opens the cluster and proves it');
        const resumed = await restoreByCli(config, ...args, '--resume');
        expect(resumed).toMatchObject({ code: 12, stdout: '' });
        expect(failureOf(resumed)).toMatchObject({
          code: 'E_UNSEAL',
          message: `${node.url} stays sealed: it is configured for seal ${configured}, and the data of this snapshot are of seal ${type}`,
          hint: `do not install it again: ${cure} its config, start the process anew, and run the same command again: it goes on from here`,
        });

        await node.stop();
        node.configure({ seal: source.cluster.seal });
        await node.start();
        const cured = await restoreByCli(config, ...args, '--resume');
        expect([cured.code, cured.stderr.includes('"error"')]).toEqual([0, false]);
        expect(JSON.parse(cured.stdout)).toMatchObject({ complete: true, plan: null, proof: { unexpectedCount: 0 } });
        const found = await valueAt(node, source.cluster.rootToken, 'kv/canary');
        expect([found, await installsOn(node)]).toEqual(['of the snapshot', 1]);
      }),
    );
  });
});
