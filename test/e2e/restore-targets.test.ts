/** Targets that cannot take a snapshot, each refused before anything is installed; and a transit seal that can. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { coreRecords, encodeArchive } from '../support/archive-builder.ts';
import { failureOf, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { healthStatus, sealStatus } from '../support/bao-status.ts';
import { startTransitProvider } from '../support/bao-transit.ts';
import { startKms } from '../support/kms-emulator.ts';
import { installsOn, plainSnapshot } from '../support/restore-trial.ts';
import { verifySeed, writeSeed } from '../support/seed.ts';
import { backUp } from '../support/strongroom-app.ts';
import { type CliResult, runCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { World, worldEnv } from '../support/world.ts';

const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });
const stack = new AsyncDisposableStack();
let world: World;
let shamir: BaoCluster;
let awskms: BaoCluster;
let sealKey: string;
/** plain archives of the two */
const files = { shamir: '', awskms: '' };

beforeAll(async () => {
  const kms = stack.use(await startKms());
  sealKey = kms.createKey({ region: 'eu-central-1' });
  const seal = {
    type: 'awskms',
    endpoint: kms.url,
    keyId: sealKey,
    region: 'eu-central-1',
    shares: 3,
    threshold: 2,
  } as const;
  [shamir, awskms] = await Promise.all([
    startCluster({ version: '2.6.2', idPrefix: 'shamir' }).then((started) => stack.use(started)),
    startCluster({ version: '2.6.2', idPrefix: 'awskms', seal }).then((started) => stack.use(started)),
  ]);
  world = stack.use(await World.create({ destinations: { only: { type: 'directory', path: 'only' } }, canOpen: true }));
  await mkdir(join(world.directory, 'only'));
  await world.grant(shamir);
  for (const [name, cluster] of Object.entries({ shamir, awskms })) {
    const file = join(world.directory, `${name}.snap`);
    await writeFile(file, await plainSnapshot(cluster.first, cluster.rootToken));
    Object.assign(files, { [name]: file });
  }
});
afterAll(() => stack.disposeAsync());

async function restoreInto(target: BaoCluster, token: string, ...args: string[]): Promise<CliResult> {
  const config = await world.config(target.nodes.map(({ url }) => url));
  const file = await world.write('target-token', token);
  const common = ['restore', '--json', '--confirm', 'prod', '--config', config, '--target-token', `file:${file}`];
  return await runCli([...common, ...args], { env });
}

/** What is refused beforehand: its failure, and a target that is as it was. */
async function refusal(target: BaoCluster, ...args: string[]): Promise<ReturnType<typeof failureOf>> {
  const result = await restoreInto(target, target.rootToken, ...args);
  expect(result.stdout).toBe('');
  expect(await installsOn(target.first)).toBe(0);
  const failure = failureOf(result);
  expect(result.code).toBe(failure.exitCode);
  return failure;
}

describe('a target that does not fit', () => {
  it('has another seal: refused both ways, with the cure', async () => {
    expect(await refusal(shamir, '--snapshot', files.awskms)).toMatchObject({
      code: 'E_PRECONDITION',
      exitCode: 14,
      message: "the snapshot's seal is awskms, the target's is shamir: it would end sealed",
      hint: `set up the fresh target again, empty, with seal "awskms" and access to ${sealKey}; then repeat`,
    });
    expect(await refusal(awskms, '--snapshot', files.shamir)).toMatchObject({
      code: 'E_PRECONDITION',
      message: "the snapshot's seal is shamir, the target's is awskms: it would end sealed",
      hint: 'set up the fresh target again, empty, without a seal stanza, initialised with -key-shares=3 -key-threshold=2; then repeat',
    });
  });

  it('is of another product', async () => {
    const file = join(world.directory, 'vault.snap');
    await writeFile(file, encodeArchive(coreRecords('vault'), { form: 'deflate' }));
    expect(await refusal(shamir, '--snapshot', file)).toMatchObject({
      code: 'E_PRECONDITION',
      exitCode: 14,
      message: 'the snapshot is of vault, the target runs openbao: it would not start on this storage',
      hint: 'restore into a cluster of vault',
    });
  });

  it('is told all of it by --dry-run as well, and is asked for enough shares only when it fits', async () => {
    const dry = await runCli(
      [
        'restore',
        '--dry-run',
        '--snapshot',
        files.awskms,
        '--json',
        '--config',
        await world.config([shamir.first.url]),
      ],
      { env },
    );
    expect([dry.code, failureOf(dry).code]).toEqual([14, 'E_PRECONDITION']);
    // Without a list of shares and without a terminal it would end sealed, and nobody could be asked.
    expect(await refusal(shamir, '--snapshot', files.shamir)).toMatchObject({
      code: 'E_PRECONDITION',
      exitCode: 14,
      message: '2 unseal key shares of the source will be needed, and 0 are at hand',
      hint: expect.stringMatching(/^nothing was installed; give them by --shares/) as string,
    });
  });

  it('is sealed', async () => {
    await shamir.call('PUT', 'sys/seal');
    await until('it is sealed', async () => ((await sealStatus(shamir.first)).sealed ? true : undefined));
    expect(await refusal(shamir, '--snapshot', files.shamir)).toMatchObject({
      code: 'E_VAULT_SEALED',
      exitCode: 20,
      message: `prod is sealed: ${shamir.first.url}`,
      hint: expect.stringMatching(/^give each of these nodes 2 of the 3 key shares; .* add --resume: /) as string,
    });
    await shamir.unsealAll();
  });

  it('was never initialised', async () => {
    await using fresh = await startCluster({ version: '2.7.2', initialise: false });
    const result = await restoreInto(fresh, 'any-token', '--snapshot', files.shamir);
    expect(result).toMatchObject({ code: 20, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_VAULT_UNINITIALISED',
      hint: expect.stringContaining('bao operator init') as string,
    });
    expect(await healthStatus(fresh.first)).toBe(501);
  });

  it('left nothing in the spool', async () => {
    expect(await inSpool(world)).toEqual([]);
  });
});

describe('a transit seal', () => {
  it('opens a fresh cluster with the provider of the source, and every namespace reads as before', async () => {
    await using provider = await startTransitProvider('2.7.2');
    const { seal } = provider;
    await using own = await World.create({
      destinations: { only: { type: 'directory', path: 'only' } },
      canOpen: true,
    });
    await mkdir(join(own.directory, 'only'));
    await using source = await startCluster({ version: '2.7.2', seal, idPrefix: 'source-' });
    const seed = await writeSeed(source, { parts: ['kv1', 'transit', 'namespaces'] });
    await own.grant(source);
    const app = { configFile: await own.config([source.first.url]), env };
    const { manifest } = await backUp(app);
    expect(manifest.archive).toMatchObject({ seal: { type: 'transit' }, state: { namespaces: 2 } });
    await source.first.kill();

    await using target = await startCluster({ version: '2.7.2', seal, idPrefix: 'target-' });
    await own.config([target.first.url]);
    const token = await own.write('target-token', target.rootToken);
    const args = ['--confirm', 'prod', '--config', app.configFile, '--target-token', `file:${token}`];
    const result = await runCli(['restore', '--json', ...args], { env });
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      plan: { force: true, sharesNeeded: 0 },
      proof: { unexpectedCount: 0 },
    });
    // As the result says: one restart before anybody uses it; the provider opens it again.
    target.adopt(source.rootToken, []);
    await target.restartFirst();
    expect(await verifySeed(target, source.rootToken, seed)).toEqual([]);
    expect(await inSpool(own)).toEqual([]);
  });
});
