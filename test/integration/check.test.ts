/** `strongroom check` as a monitoring system runs it: a process, one line, an exit code. */
import { rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { objectKey } from '../../src/store/layout.ts';
import { observedConfig } from '../support/observed-clusters.ts';
import { type CliResult, runCli } from '../support/strongroom-cli.ts';
import { HOUR, Scene } from '../unit/observe/scene.ts';

let scene: Scene;
let config: string;
const ago = (hours: number): Date => new Date(Date.now() - hours * HOUR);

beforeEach(async () => {
  scene = await Scene.create();
  config = await observedConfig(scene);
});
afterEach(async () => {
  await scene[Symbol.asyncDispose]();
});

const check = (...args: string[]): Promise<CliResult> => runCli(['check', '--config', config, ...args]);
const withSchedule = (change: Record<string, unknown> = {}) =>
  observedConfig(scene, { cluster: { schedule: { backup: { cron: '0 */6 * * *' } }, ...change } });

describe('check', () => {
  it('is OK with 0 when the newest whole backup is young enough', async () => {
    await scene.backup(ago(2));
    const { code, stdout, stderr } = await check('--max-age', '8h');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^OK - prod: ok, newest whole backup 2h( \d+s)? old \| 'age_prod'=7[23]\d\ds;;28800;0\n$/);
  });

  it('is CRITICAL with 2 when it is too old, and says so once on each stream', async () => {
    await scene.backup(ago(9));
    const { code, stdout, stderr } = await check('--max-age', '8h');
    expect(code).toBe(2);
    expect(stdout).toMatch(
      /^CRITICAL - prod: the newest whole backup is 9h( \d+s)? old, 8h at most \| 'age_prod'=32\d+s;;28800;0\n$/,
    );
    expect(stderr).toMatch(
      /^error E_CHECK_CRITICAL: prod: the newest whole backup is 9h( \d+s)? old, 8h at most\n {2}hint: /,
    );
  });

  it('is CRITICAL where there is no backup, and where one destination lacks the newest for too long', async () => {
    expect(await check('--max-age', '8h')).toMatchObject({ code: 2, stdout: 'CRITICAL - prod: there is no backup\n' });
    await scene.backup(ago(10));
    await scene.backup(ago(1), { in: ['a'] });
    const { code, stdout } = await check('--max-age', '8h');
    expect(code).toBe(2);
    expect(stdout).toMatch(
      /the newest whole backup is 10h( \d+s)? old, 8h at most, \w{26} is newer, and not whole in every destination/,
    );
  });

  it('is WARNING with 1 when a run failed, and when proofs are asked for and too old', async () => {
    const snapshot = await scene.backup(ago(2));
    await scene.run(ago(1), { job: 'verify', outcome: 'failed', error: { code: 'E', message: 'a | bar' } });
    const run = await check('--max-age', '8h');
    expect(run).toMatchObject({ code: 1 });
    expect(run.stdout).toMatch(/^WARNING - prod: the last run of verify did not keep the promise: a \/ bar \| 'age/);
    await scene.run(ago(0.5), { job: 'verify' });
    await scene.proof(ago(1), snapshot, 'a');
    await scene.proof(ago(30), snapshot, 'b');
    expect(await check('--max-age', '8h')).toMatchObject({ code: 0 });
    expect(await check('--max-age', '8h', '--max-proof-age', '2d')).toMatchObject({ code: 0 });
    const proof = await check('--max-age', '8h', '--max-proof-age', '1d');
    expect(proof.code).toBe(1);
    expect(proof.stdout).toMatch(/^WARNING - prod: the last proof in b is 1d 6h old, 1d at most \|/);
  });

  it('is CRITICAL when a destination is away, or the newest data is gone from it', async () => {
    await scene.backup(ago(2));
    await scene.takeAway('b');
    const away = await check('--max-age', '8h');
    expect(away.code).toBe(2);
    expect(away.stdout).toContain('b cannot be read: ');
    await scene.bringBack('b');
    const newest = await scene.backup(ago(1));
    await rm(scene.path('b', objectKey(scene.cluster, 'data', newest)));
    const gone = await check('--max-age', '8h');
    expect(gone).toMatchObject({ code: 2 });
    expect(gone.stdout).toMatch(/^CRITICAL - prod: b: .* lacks of \w{26}: data/);
  });

  it('is UNKNOWN with 3 where nobody said how old a backup may be', async () => {
    await scene.backup(ago(2));
    const { code, stdout, stderr } = await check();
    expect(code).toBe(3);
    expect(stdout).toMatch(
      /^UNKNOWN - prod: nobody said how old a backup may be; set limits\.maxAge or schedule\.backup \|/,
    );
    expect(stderr).toContain('E_CHECK_UNKNOWN');
  });

  it('goes by the schedule, then by the limits of the config, then by the flag', async () => {
    await scene.backup(ago(14));
    config = await withSchedule();
    expect(await check()).toMatchObject({ code: 2 });
    config = await withSchedule({ limits: { maxAge: '1d' } });
    expect(await check()).toMatchObject({ code: 0 });
    expect(await check('--max-age', '13h')).toMatchObject({ code: 2 });
  });

  it('checks every cluster, the worst first, or the one that is named', async () => {
    await scene.backup(ago(2));
    config = await observedConfig(scene, {}, { bare: {}, also: {} });
    const all = await check('--max-age', '8h');
    expect(all.code).toBe(2);
    expect(all.stdout).toMatch(
      /^CRITICAL - also: there is no backup; bare: there is no backup; prod: ok, .* \| 'age_prod'=/,
    );
    expect(all.stderr).toContain('E_CHECK_CRITICAL: also: there is no backup');
    expect(await check('--max-age', '8h', '--cluster', 'prod')).toMatchObject({ code: 0 });
    const json = await check('--max-age', '8h', '--json');
    expect(json.code).toBe(2);
    expect(JSON.parse(json.stdout)).toMatchObject({
      level: 'critical',
      clusters: [
        { cluster: 'also', level: 'critical', recoveryPointAgeSeconds: null, maxAgeSeconds: 28_800 },
        { cluster: 'bare', reasons: [{ level: 'critical', text: 'there is no backup' }] },
        { cluster: 'prod', level: 'ok', reasons: [] },
      ],
    });
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'E_CHECK_CRITICAL', exitCode: 2 } });
  });

  it('is UNKNOWN, and nothing else, when it cannot do its work', async () => {
    const unknown = await check('--cluster', 'prdo');
    expect(unknown.code).toBe(3);
    expect(unknown.stdout).toMatch(/^UNKNOWN - no cluster "prdo" in .*strongroom\.yaml\n$/);
    await rm(`${scene.root}/signing.pem`);
    const secret = await check('--max-age', '8h');
    expect(secret.code).toBe(3);
    expect(secret.stdout).toMatch(/^UNKNOWN - .*signing\.pem cannot be read/);
    await writeFile(config, 'clusters: |\n  no');
    const broken = await check('--json');
    expect(broken.code).toBe(3);
    expect(JSON.parse(broken.stdout)).toMatchObject({ level: 'unknown', error: { code: 'E_CONFIG_INVALID' } });
    expect((await check('--max-age', 'soon')).code).toBe(2);
  });

  it('says in its help that its exit codes are of another kind', async () => {
    const { code, stdout } = await runCli(['check', '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/exit codes are those of monitoring plugins/);
    expect(stdout).toMatch(
      /EXIT CODES\n {4}0 {2}OK: .*\n {4}1 {2}WARNING: .*\n {4}2 {2}CRITICAL: .*\n {4}3 {2}UNKNOWN: /,
    );
    expect(stdout).not.toContain('a defect in strongroom');
  });
});
