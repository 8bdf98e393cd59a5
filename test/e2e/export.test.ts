/** A snapshot as a plain file: what the server's own program makes of it, and every way it must not come to be. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ensureTool } from '../../scripts/tools.ts';
import type { BackupResult } from '../../src/backup/backup.ts';
import type { ClusterName, SnapshotId } from '../../src/core/ids.ts';
import { objectKey } from '../../src/store/layout.ts';
import { failureOf, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { sealStatus } from '../support/bao-status.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { baseEnv } from '../support/process.ts';
import { waitValue } from '../support/restore-trial.ts';
import { grow } from '../support/seed-bulk.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { backUp } from '../support/strongroom-app.ts';
import { type CliResult, runCli, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { World, worldEnv } from '../support/world.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const MIB = 2 ** 20;
/** Past the first part of 8 MiB: before it nothing is written. */
const STATE_BYTES = 13 * MIB;
const SLOW = { kind: 'throttle', bytesPerSecond: 4 * MIB, direction: 'down' } as const;

const RESULT = z.object({
  snapshot: z.string(),
  output: z.string(),
  bytes: z.number(),
  sha256: z.string(),
  raft: z.object({ index: z.number(), term: z.number() }),
  openedWith: z.string(),
  copy: z.object({ destination: z.string(), location: z.string() }),
  cautions: z.array(z.string()),
  warnings: z.array(z.string()),
  restore: z.object({ bao: z.string(), vault: z.string() }),
});

const stack = new AsyncDisposableStack();
let cluster: BaoCluster;
let wire: FaultProxy;
let world: World;
let env: Record<string, string>;
let manifest: BackupResult['manifest'];
/** two folders to read from */
let folders: string;
/** the bucket behind {@link wire} alone */
let slow: string;
/** where the exports go, empty before each test */
let out: string;

beforeAll(async () => {
  const bucket = `export-${randomUUID()}`;
  const [started, s3] = await Promise.all([startCluster({ version: '2.7.2', nodes: 1 }), sharedServer('versitygw')]);
  cluster = stack.use(started);
  await s3.createBucket(bucket);
  wire = stack.use(await startFaultProxy(s3.endpoint));
  world = stack.use(
    await World.create({
      destinations: {
        a: { type: 'directory', path: 'a' },
        b: { type: 'directory', path: 'b' },
        s3: { type: 's3', server: { ...s3, endpoint: wire.url }, bucket },
      },
      canOpen: true,
    }),
  );
  out = join(world.directory, "where it's put");
  for (const folder of ['a', 'b', out]) await mkdir(folder === out ? out : join(world.directory, folder));
  await world.grant(cluster);
  await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
  await cluster.call('POST', 'kv/proof', { value: 'it is the same' });
  await grow(cluster, STATE_BYTES);
  env = { ...worldEnv(s3), XDG_CACHE_HOME: world.directory };
  const nodes = [cluster.first.url];
  ({ manifest } = await backUp({ configFile: await world.config(nodes), env }));
  folders = await world.config(nodes, { destinations: ['a', 'b'] }, 'folders.yaml');
  slow = await world.config(nodes, { destinations: ['s3'] }, 'slow.yaml');
});
afterAll(() => stack.disposeAsync());

afterEach(async () => {
  await wire.set({ kind: 'pass' });
  await rm(out, { recursive: true });
  await mkdir(out);
  expect(await inSpool(world)).toEqual([]);
});

const inOut = (): Promise<string[]> => readdir(out);
const exportArgs = (config: string, file: string, snapshot = 'latest'): string[] =>
  `snapshots export ${snapshot} --json --output`.split(' ').concat(file, '--config', config);
const run = (config: string, file: string, snapshot?: string): Promise<CliResult> =>
  runCli(exportArgs(config, file, snapshot), { env });

/** Nothing came of it but the failure, and nothing new lies in the folder. */
async function fails(result: CliResult, code: string, exitCode: number, words: RegExp | string): Promise<void> {
  expect(failureOf(result)).toMatchObject({ code, exitCode });
  expect(failureOf(result).message).toMatch(words);
  expect(result).toMatchObject({ code: exitCode, stdout: '' });
}

/** The encrypted object in one of the folders. */
const dataIn = (folder: 'a' | 'b'): string =>
  join(world.directory, folder, objectKey('prod' as ClusterName, 'data', manifest.snapshot as SnapshotId));

async function withFlip<T>(where: readonly ('a' | 'b')[], act: () => Promise<T>): Promise<T> {
  const flip = async (): Promise<void> => {
    for (const folder of where) {
      const bytes = await readFile(dataIn(folder));
      const middle = bytes.byteLength >> 1;
      bytes[middle] = (bytes[middle] ?? 0) ^ 1;
      await writeFile(dataIn(folder), bytes);
    }
  };
  await flip();
  try {
    return await act();
  } finally {
    await flip();
  }
}

describe('the file', () => {
  it.each(['000', '022'])('is the archive to the last byte, for its owner alone under umask %s', async (umask) => {
    const file = join(out, 'x.snap');
    const { stdout, stderr } = await execa(
      'sh',
      ['-c', `umask ${umask}; exec "$@"`, 'sh', process.execPath, MAIN, ...exportArgs(folders, file)],
      { env: { ...baseEnv(), ...env }, extendEnv: false },
    );
    const result = RESULT.parse(JSON.parse(stdout));
    expect(await inOut()).toEqual(['x.snap']);
    expect((await stat(file)).mode & 0o7777).toBe(0o600);

    // What the age program makes of the stored object, without a line of ours.
    const plain = join(world.directory, `age-${umask}.snap`);
    await execa(await ensureTool('age'), [
      '-d',
      '-i',
      join(world.directory, 'breakglass.txt'),
      '-o',
      plain,
      dataIn('b'),
    ]);
    const bytes = await readFile(file);
    expect(bytes.equals(await readFile(plain))).toBe(true);
    expect(result).toMatchObject({
      snapshot: manifest.snapshot,
      output: file,
      bytes: manifest.archive.bytes,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      raft: { index: manifest.archive.raft.index, term: manifest.archive.raft.term },
      copy: { destination: 'a', location: `file://${join(world.directory, 'a')}` },
    });
    expect(result.openedWith).toContain(world.recipient);
    expect(result.warnings).toEqual([expect.stringMatching(/its unseal key shares .* delete it after use/) as string]);
    expect(JSON.parse(stderr)).toEqual({ warning: result.warnings[0] });
    await rm(plain);
  });

  it('goes into a fresh cluster by the very command that was printed, and its secrets are there', async () => {
    const { stdout } = await run(folders, join(out, 'by hand.snap'), manifest.snapshot);
    const { restore } = RESULT.parse(JSON.parse(stdout));
    expect(restore.vault).toBe(restore.bao.replace(/^bao /, 'vault '));
    await using fresh = await startCluster({ version: '2.7.2', nodes: 1, idPrefix: 'fresh' });
    const { first: node } = fresh;
    const bao = await ensureTool('bao-2.7.2');
    await execa('sh', ['-c', restore.bao], {
      env: {
        ...baseEnv(),
        PATH: `${dirname(bao)}:${process.env['PATH'] ?? ''}`,
        BAO_ADDR: node.url,
        BAO_TOKEN: fresh.rootToken,
      },
      extendEnv: false,
    });
    await until('it is sealed with the keys of the snapshot', async () =>
      (await sealStatus(node)).sealed ? true : undefined,
    );
    fresh.adopt(cluster.rootToken, cluster.unsealShares);
    await fresh.unsealAll();
    await waitValue(node, cluster.rootToken, 'kv/proof', 'it is the same');
  });

  it('is told of in words to people', async () => {
    const args = exportArgs(folders, 'x.snap').filter((arg) => arg !== '--json');
    const { code, stdout, stderr } = await runCli(args, { env, cwd: out });
    expect(code).toBe(0);
    expect(stderr).toMatch(/^warning: .*x\.snap is the whole vault, .* delete it after use$/m);
    expect(stderr).toMatch(/^export from a: .*\(100%\)/m);
    const sha256 = createHash('sha256')
      .update(await readFile(join(out, 'x.snap')))
      .digest('hex');
    expect(stdout).toContain(`${manifest.archive.bytes} (`);
    expect(stdout).toContain(sha256);
    expect(stdout).toContain(`index ${manifest.archive.raft.index},`);
    expect(stdout).toContain(world.recipient);
    const quoted = `'${join(out, 'x.snap').replaceAll("'", `'\\''`)}'`;
    for (const program of ['bao', 'vault']) {
      expect(stdout).toContain(`\n  ${program} operator raft snapshot restore -force ${quoted}`);
    }
  });

  it('comes from another copy when one is damaged', async () => {
    const { code, stdout } = await withFlip(['a'], () => run(folders, join(out, 'x.snap')));
    expect(code).toBe(0);
    const { copy, sha256 } = RESULT.parse(JSON.parse(stdout));
    expect(copy.destination).toBe('b');
    expect(
      createHash('sha256')
        .update(await readFile(join(out, 'x.snap')))
        .digest('hex'),
    ).toBe(sha256);
  });
});

describe('is refused, and nothing is written:', () => {
  afterEach(async () => expect(await inOut()).toEqual([]));

  it('a byte flipped in every copy', async () => {
    const [result, verified] = await withFlip(['a', 'b'], async () => [
      await run(folders, join(out, 'x.snap')),
      await runCli(['snapshots', 'verify', 'latest', '--config', folders, '--json'], { env }),
    ]);
    await fails(result, 'E_STORE_CHECKSUM', 13, /no destination has a usable copy of .*: a: .* differs; b: .* differs/);
    expect(failureOf(verified)).toMatchObject({ code: 'E_STORE_CHECKSUM', exitCode: 13 });
  });

  it('no key at hand', async () => {
    const text = await readFile(folders, 'utf8');
    const locked = text.replace(/\n +identities:\n +- file:breakglass\.txt/, '');
    expect(locked).not.toBe(text);
    await fails(await run(await world.write('locked.yaml', locked), join(out, 'x.snap')), 'E_KEY_UNAVAILABLE', 12, '');
  });

  it('a snapshot that is not there', async () => {
    await fails(
      await run(folders, join(out, 'x.snap'), '01AAAAAAAAAAAAAAAAAAAAAAAA'),
      'E_NOT_FOUND',
      10,
      /no .*01AAAA/,
    );
  });

  it('standard output', async () => {
    const result = await run(folders, '-');
    await fails(result, 'E_USAGE', 2, '--output - is not the name of a file');
    expect(failureOf(result).hint).toContain('never written to standard output');
    await fails(await run(folders, '/dev/stdout'), 'E_PRECONDITION', 14, '/dev/stdout exists already');
  });

  it('a folder that is missing', async () => {
    await fails(await run(folders, join(out, 'no', 'x.snap')), 'E_PRECONDITION', 14, /there is no folder .*no$/);
  });
});

it('is refused in a git work tree, a linked one too', async () => {
  const [tree, linked] = [join(world.directory, 'tree'), join(world.directory, 'linked')];
  await mkdir(join(tree, '.git', 'worktrees', 'linked'), { recursive: true });
  await mkdir(linked);
  await writeFile(join(linked, '.git'), `gitdir: ${join(tree, '.git', 'worktrees', 'linked')}\n`);
  for (const folder of [tree, linked]) {
    const before = await readdir(folder);
    const result = await run(folders, join(folder, 'x.snap'));
    await fails(result, 'E_PRECONDITION', 14, `${folder}/x.snap lies in the git work tree ${folder}`);
    expect(failureOf(result).hint).toContain('outside');
    expect(await readdir(folder)).toEqual(before);
  }
});

it('leaves a file that is there as it is', async () => {
  const file = join(out, 'x.snap');
  await writeFile(file, 'mine');
  await fails(await run(folders, file), 'E_PRECONDITION', 14, `${file} exists already`);
  expect(await inOut()).toEqual(['x.snap']);
  expect(await readFile(file, 'utf8')).toBe('mine');
});

describe('in the middle', () => {
  /** Starts one from the slow bucket; resolves when the first plain bytes are on the disk. */
  async function startHalf() {
    await wire.set(SLOW);
    const running = startCli(exportArgs(slow, join(out, 'x.snap')), { env });
    const partial = await until('the first part is written', async () => {
      const [name] = await inOut();
      return name !== undefined && (await stat(join(out, name))).size > 0 ? join(out, name) : undefined;
    });
    await wire.set({ kind: 'hang' });
    return { ...running, partial };
  }

  it.each(['SIGTERM', 'SIGINT'] as const)('%s: 130, and nothing is left', async (signal) => {
    const { child, partial, finished } = await startHalf();
    expect(await inOut()).toHaveLength(1);
    expect(partial).not.toContain('x.snap');
    expect((await stat(partial)).mode & 0o777).toBe(0o600);
    child.kill(signal);
    await fails(await finished, 'E_INTERRUPTED', 130, signal);
    expect(await inOut()).toEqual([]);
  });

  it('SIGKILL: no file of that name, and the next export tells of what is left', async () => {
    const { child, partial, finished } = await startHalf();
    child.kill('SIGKILL');
    expect(await finished).toMatchObject({ code: null, signal: 'SIGKILL' });
    expect(await inOut()).toHaveLength(1);
    const { code, stdout } = await run(folders, join(out, 'x.snap'));
    expect(code).toBe(0);
    const { warnings } = RESULT.parse(JSON.parse(stdout));
    expect(warnings.join('\n')).toContain(`${partial} is of an export that was killed`);
  });
});

describe('a disk without room', () => {
  it('is seen before the start', async () => {
    const result = await onSmallDisk('4m', folders, ':');
    const words = result.isMounted
      ? /has [0-4]\.\d+ MiB free, and the snapshot is 1\d\.\d MiB/
      : /^no room left for .*x\.snap$/;
    await fails(result, 'E_SPACE', 14, words);
  });

  it('that fills up in the middle: 14, and nothing is left', async () => {
    await wire.set(SLOW);
    const whenHalf = `until test -n "$(find . -name '.strongroom-*' -size +0)"; do kill -0 $! || break; sleep 0.05; done`;
    const result = await onSmallDisk('24m', slow, `${whenHalf}; cat /dev/zero > full 2>&-`);
    await fails(result, 'E_SPACE', 14, /^no room left for .*x\.snap$/);
  });

  /**
   * One export into a file system of `size` that only it sees; `meanwhile` runs there beside it. The files that are left
   * stand in its output. Where nobody may mount anything, a limit on the size of files takes the place of the disk's.
   */
  async function onSmallDisk(size: string, config: string, meanwhile: string) {
    const mount = `mount -t tmpfs -o size=${size} none "$0" || exit 99; cd "$0"`;
    const beside = `"$@" & ${meanwhile}; wait $!; code=$?; rm -f full; find "$0" -type f; exit $code`;
    const limit = 'cd "$0"; ulimit -f 4096';
    const command = [out, process.execPath, MAIN, ...exportArgs(config, join(out, 'x.snap'))];
    for (const [program, ...args] of [
      ['unshare', '-m', 'sh', '-c', `${mount}; ${beside}`],
      ['unshare', '-r', '-m', 'sh', '-c', `${mount}; ${beside}`],
      ['sh', '-c', `${limit}; "$@"; code=$?; find "$0" -type f; exit $code`],
    ] as const) {
      const result = await execa(program, [...args, ...command], {
        reject: false,
        env: { ...baseEnv(), ...env },
        extendEnv: false,
      });
      if (result.exitCode === 99 || result.stderr.startsWith('unshare:')) continue;
      const { stdout, stderr } = result;
      return { code: result.exitCode ?? null, signal: null, stdout, stderr, isMounted: program === 'unshare' };
    }
    throw new Error('nothing here can be too small');
  }
});
