/**
 * Damaged, forged and foreign snapshots, offered by the CLI to a real OpenBao that holds something else: the exit code, the
 * words, and a target that did not notice. No Vault runs here: its archive is a real one of OpenBao under Vault's names, and
 * as a target stands a replayed node.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SnapshotId } from '../../src/core/ids.ts';
import { type ObjectKind, objectKey } from '../../src/store/layout.ts';
import { failureOf, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { asVaultNames, forgeArchive } from '../support/forged-archive.ts';
import { startReplayedNode } from '../support/replayed-node.ts';
import { installsOn, plainSnapshot, valueAt } from '../support/restore-trial.ts';
import { CLUSTER } from '../support/stored-archives.ts';
import { backUp } from '../support/strongroom-app.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const FOLDERS = ['a', 'b'];
const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });
const byToken = { auth: { method: 'token', token: 'file:token' } };
const stack = new AsyncDisposableStack();
let world: World;
let cluster: BaoCluster;
/** the config of the real one */
let config: string;
let archive: Buffer;
let vaultArchive: Buffer;
/** stored snapshots of each product */
const ids: { openbao: SnapshotId; vault: SnapshotId } = { openbao: '' as SnapshotId, vault: '' as SnapshotId };
/** what a restore must not have changed; the snapshots are from before it was written */
const CANARY = 'written since';

beforeAll(async () => {
  cluster = stack.use(await startCluster({ version: '2.7.2' }));
  world = stack.use(
    await World.create({
      destinations: { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } },
      canOpen: true,
    }),
  );
  for (const folder of FOLDERS) await mkdir(join(world.directory, folder));
  await world.grant(cluster, RESTORE_POLICY);
  config = await world.config([cluster.first.url]);
  await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
  await cluster.call('POST', 'kv/canary', { value: 'of the snapshot' });
  archive = await plainSnapshot(cluster.first, cluster.rootToken);
  vaultArchive = await forgeArchive(archive, { records: asVaultNames, form: 'deflate' });
  ids.openbao = (await backUp({ configFile: config, env })).manifest.snapshot as SnapshotId;
  await world.write('token', 'of nobody');
  await using node = await startReplayedNode('vault', { archive: vaultArchive });
  const configFile = await world.config([node.url], byToken, 'vault.yaml');
  const made = await backUp({ configFile, env }, { newLineage: true });
  expect(made.manifest.archive).toMatchObject({ product: 'vault', compression: 'deflate' });
  ids.vault = made.manifest.snapshot as SnapshotId;
  await cluster.call('POST', 'kv/canary', { value: CANARY });
});
afterAll(() => stack.disposeAsync());

const pathOf = (folder: string, kind: ObjectKind, id: SnapshotId): string =>
  join(world.directory, folder, objectKey(CLUSTER, kind, id));
const heal: (() => Promise<void>)[] = [];
beforeEach(async () => {
  for (const undo of heal.splice(0)) await undo();
});

/** Both copies of an object, until the next test. */
async function spoil(kind: ObjectKind, change: (bytes: Buffer) => Uint8Array): Promise<void> {
  for (const folder of FOLDERS) {
    const path = pathOf(folder, kind, ids.openbao);
    const bytes = await readFile(path);
    heal.push(() => writeFile(path, bytes));
    await writeFile(path, change(bytes));
  }
}

async function file(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(world.directory, name);
  await writeFile(path, bytes);
  return path;
}

/** The CLI's refusal to restore `snapshot` into the real cluster, which is as it was; its code is the exit code. */
async function refused(snapshot: string, ...args: string[]): Promise<ReturnType<typeof failureOf>> {
  const how = args.length === 0 ? ['--dry-run'] : args;
  const result = await runCli(['restore', '--json', '--config', config, '--snapshot', snapshot, ...how], { env });
  expect(result.stdout).toBe('');
  const failure = failureOf(result);
  expect(result.code).toBe(failure.exitCode);
  expect(await installsOn(cluster.first)).toBe(0);
  expect(await valueAt(cluster.first, cluster.rootToken, 'kv/canary')).toBe(CANARY);
  expect(await inSpool(world)).toEqual([]);
  return failure;
}

function flip(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}

describe('a snapshot of the other product', () => {
  const misfit = {
    code: 'E_PRECONDITION',
    exitCode: 14,
    message: 'the snapshot is of vault, the target runs openbao: it would not start on this storage',
    hint: 'restore into a cluster of vault',
  };

  it('of Vault is refused by OpenBao, from a file and from the store, planned and confirmed', async () => {
    const path = await file('vault.snap', vaultArchive);
    expect(await refused(path)).toMatchObject(misfit);
    expect(await refused(ids.vault)).toMatchObject(misfit);
    // The newest one is this one: nothing older is taken in its place.
    expect(await refused('latest', '--confirm', 'prod', '--without-safety-snapshot')).toMatchObject(misfit);
  });

  it('of OpenBao is refused by Vault, from a file and from the store', async () => {
    await using node = await startReplayedNode('vault');
    const other = await world.config([node.url], byToken, 'vault.yaml');
    for (const snapshot of [await file('openbao.snap', archive), ids.openbao]) {
      const args = ['restore', '--dry-run', '--json', '--config', other, '--snapshot', snapshot];
      const result = await runCli(args, { env });
      expect([result.code, result.stdout]).toEqual([14, '']);
      expect(failureOf(result)).toMatchObject({
        code: 'E_PRECONDITION',
        message: 'the snapshot is of openbao, the target runs vault: it would not start on this storage',
      });
    }
    expect(node.installs()).toEqual([]);
  });
});

describe('a snapshot of another version', () => {
  it.each([
    ['2.6.2', false],
    ['2.7.3', true],
  ])('%s is planned for a target of 2.7.2; warned of: %s', async (version, isNewer) => {
    const path = await file(
      'version.snap',
      await forgeArchive(archive, {
        records: (records) =>
          records.map((record) =>
            record.key.startsWith('core/versions/') ? { ...record, key: `core/versions/${version}` } : record,
          ),
      }),
    );
    const args = ['restore', '--dry-run', '--json', '--config', config, '--snapshot', path];
    const result = await runCli(args, { env });
    expect(result.code).toBe(0);
    const { plan } = JSON.parse(result.stdout) as { plan: { warnings: string[] } };
    const said = `the target runs 2.7.2, older than ${version} of the snapshot`;
    expect(plan.warnings.includes(said)).toBe(isNewer);
    expect(plan.warnings).toContain(
      `${path} is not signed: that it is whole was checked, where it comes from cannot be`,
    );
    expect(await installsOn(cluster.first)).toBe(0);
  });
});

describe('a damaged or forged snapshot', () => {
  it('is refused for its data or its signature, each by its own code', async () => {
    await spoil('data', flip);
    expect(await refused(ids.openbao, '--confirm', 'prod')).toMatchObject({
      code: 'E_STORE_CHECKSUM',
      exitCode: 13,
      message: expect.stringMatching(
        /^no destination has a usable copy of \w+: a: .*part 1 of 1 differs; b: /,
      ) as string,
    });
    await spoil('manifests', (bytes) => Buffer.concat([bytes, Buffer.from(' ')]));
    expect(await refused(ids.openbao, '--confirm', 'prod')).toMatchObject({
      code: 'E_SIGNATURE',
      exitCode: 13,
      message: expect.stringMatching(/^the document or its signature was changed after \w+ signed it$/) as string,
      hint: expect.stringContaining('do not restore from it') as string,
    });
  });

  it('as a plain file is refused cut off, with one bit flipped, and in a version that would seal the target', async () => {
    const cut = await file('cut.snap', archive.subarray(0, -9));
    expect(await refused(cut, '--confirm', 'prod')).toMatchObject({ code: 'E_SNAPSHOT_TRUNCATED', exitCode: 13 });
    const flipped = await file('flipped.snap', flip(archive));
    expect(await refused(flipped, '--confirm', 'prod')).toMatchObject({
      code: expect.stringMatching(/^E_SNAPSHOT_(CHECKSUM|FORMAT)$/) as string,
      exitCode: 13,
    });
    const unknown = await file('version-2.snap', await forgeArchive(archive, { meta: { Version: 2 } }));
    expect(await refused(unknown, '--confirm', 'prod')).toMatchObject({
      code: 'E_SNAPSHOT_FORMAT',
      exitCode: 13,
      message: 'the archive is of snapshot version 2, not 1',
    });
  });
});
