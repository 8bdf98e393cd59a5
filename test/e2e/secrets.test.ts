/** Every secret that is planted is looked for wherever strongroom writes: streams, argv, spool, objects, temporary files. */

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesIn } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { type S3Server, s3Client } from '../support/s3-connection.ts';
import { grow } from '../support/seed-bulk.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { type CliResult, startCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

/** KV v1 keeps secret names in clear in the archive: where this shows up, plaintext was written. */
const PATH_MARKER = `marker-path-${randomUUID()}`;
const VALUE_MARKER = `marker-value-${randomUUID()}`;
const WRONG_SECRET_ID = `wrong-${randomUUID()}`;
/** Members of an archive, whose tar headers stand in clear in what a server sends. */
const ARCHIVE_SIGNS = ['meta.json', 'state.bin', 'SHA256SUMS'];
/** Tokens of the server, also those that strongroom got for itself; identities and private keys of any make. */
const PATTERNS: readonly (readonly [name: string, RegExp])[] = [
  ['a token', /\bs\.[A-Za-z0-9]{24}\b/],
  ['an identity', /AGE-SECRET-KEY-1[A-Z0-9]{20}/],
  ['a private key', /BEGIN [A-Z ]*PRIVATE KEY/],
];
/** What every verbose switch of strongroom and of its libraries could bring to light. */
const LOUD = { STRONGROOM_DEBUG: '1', DEBUG: '*', NODE_DEBUG: 'http,https,undici,fetch' };

let kms: KmsEmulator;
let cluster: BaoCluster;
let world: World;
let s3: S3Server;
let env: Record<string, string>;
let secrets: Map<string, string>;
const bucket = `secrets-${randomUUID()}`;

beforeAll(async () => {
  kms = await startKms();
  s3 = await sharedServer('versitygw');
  await s3.createBucket(bucket);
  cluster = await startCluster({ version: '2.7.2', nodes: 1 });
  world = await World.create({
    destinations: { s3: { type: 's3', server: s3, bucket }, folder: { type: 'directory', path: 'folder' } },
    kms: [{ keyArn: kms.createKey({ region: 'eu-central-1' }), endpoint: kms.url }],
    canOpen: true,
  });
  await mkdir(join(world.directory, 'folder'));
  await world.grant(cluster, RESTORE_POLICY);
  await world.config(cluster.nodes.map(({ url }) => url));
  await mkdir(join(world.directory, 'tmp'));
  env = { ...worldEnv(s3), TMPDIR: join(world.directory, 'tmp'), XDG_CACHE_HOME: join(world.directory, 'cache') };
  await cluster.call('POST', 'sys/mounts/plain', { type: 'kv' });
  await cluster.call('POST', `plain/${PATH_MARKER}`, { value: VALUE_MARKER });
  const signingLines = world.secrets.signing.split('\n').filter((line) => line.length > 40);
  secrets = new Map([
    ['root token', cluster.rootToken],
    ['role id', await readFile(join(world.directory, 'role-id'), 'utf8')],
    ['secret id', await readFile(join(world.directory, 'secret-id'), 'utf8')],
    ['wrong secret id', WRONG_SECRET_ID],
    ['break-glass identity', world.secrets.breakGlass],
    ['value in the cluster', VALUE_MARKER],
    ['name in the cluster', PATH_MARKER],
    ['KMS secret key', env['WORLD_KMS_SECRET'] ?? ''],
    ['S3 secret key', env['WORLD_S3_SECRET'] ?? ''],
    ...cluster.unsealShares.map((share, i): [string, string] => [`unseal share ${i + 1}`, share]),
    ...signingLines.map((line, i): [string, string] => [`signing key, line ${i + 1}`, line]),
  ]);
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
  await kms?.[Symbol.asyncDispose]();
});

/** Names of the planted secrets that are in `bytes`, as they are or in base64, and of what looks like one. */
function found(bytes: Uint8Array | string): string[] {
  const text = Buffer.from(bytes).toString('latin1');
  const planted = [...secrets].filter(
    ([, secret]) => text.includes(secret) || text.includes(Buffer.from(secret).toString('base64').slice(0, -4)),
  );
  return [...planted, ...PATTERNS.filter(([, pattern]) => pattern.test(text))].map(([name]) => name);
}

/** The same in every file below `folder`, but for those that the test itself keeps secrets in. */
async function foundBelow(folder: string, except: readonly string[] = []): Promise<string[]> {
  const hits: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || except.includes(entry.name)) continue;
    const bytes = await readFile(path).catch(() => Buffer.alloc(0));
    hits.push(...found(bytes).map((name) => `${name} in ${entry.name}`));
  }
  return hits;
}

type Sights = {
  /** secrets on the command line, or in the environment or on the command line of a child process */
  argv: string[];
  /** secrets, and signs of a plain archive, in files of the spool */
  spool: string[];
  /** looks that found a spool file with something in it */
  looks: number;
};
type Watched = CliResult & Sights;

/** As long as process `pid` lives, looks at its command line, at its children, and at what lies in the spool. */
function observe(pid: number): { sights: Sights; end: () => Promise<Sights> } {
  const sights: Sights = { argv: [], spool: [], looks: 0 };
  let alive = true;
  const watching = (async () => {
    while (alive) {
      sights.argv.push(...found(await readProc(`${pid}/cmdline`)));
      const children = (await readProc(`${pid}/task/${pid}/children`)).toString().split(' ').filter(Boolean);
      for (const child of children) {
        for (const file of ['cmdline', 'environ']) sights.argv.push(...found(await readProc(`${child}/${file}`)));
      }
      for (const file of (await filesIn(world.spool)).filter((name) => name.endsWith('.spool'))) {
        const bytes = await readFile(file).catch(() => Buffer.alloc(0));
        if (bytes.byteLength > 0) sights.looks += 1;
        const text = bytes.toString('latin1');
        sights.spool.push(...found(bytes), ...ARCHIVE_SIGNS.filter((sign) => text.includes(sign)));
        if (bytes[0] === 0x1f && bytes[1] === 0x8b) sights.spool.push('a gzip file');
      }
      sights.spool.push(...(await foundBelow(world.spool)));
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  return {
    sights,
    end: async () => {
      alive = false;
      await watching;
      return sights;
    },
  };
}

async function readProc(path: string): Promise<Buffer> {
  return await readFile(`/proc/${path}`).catch(() => Buffer.alloc(0));
}

/** Runs the CLI under observation. */
async function watch(
  args: readonly string[],
  more: { env?: Record<string, string>; input?: string } = {},
): Promise<Watched> {
  const cli = startCli(withConfig(args), {
    env: { ...env, ...LOUD, ...more.env },
    ...(more.input === undefined ? {} : { input: more.input }),
  });
  const observed = observe(cli.pid);
  const result = await cli.finished;
  return { ...result, ...(await observed.end()) };
}

const withConfig = (args: readonly string[]): string[] => [
  ...args,
  '--config',
  join(world.directory, 'strongroom.yaml'),
];

function expectSilent(result: Watched): void {
  expect(found(result.stdout)).toEqual([]);
  expect(found(result.stderr)).toEqual([]);
  expect(result.argv).toEqual([]);
  expect(result.spool).toEqual([]);
}

describe('the search', () => {
  it('finds each secret in a text, in base64, and in a file below a folder', async () => {
    for (const [name, secret] of secrets) {
      expect(found(`before ${secret} after`)).toContain(name);
      expect(found(Buffer.from(secret).toString('base64'))).toContain(name);
    }
    const folder = join(world.directory, 'canary', 'deep');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'file'), `xx${VALUE_MARKER}`);
    expect(await foundBelow(join(world.directory, 'canary'))).toEqual(['value in the cluster in file']);
  });

  it('finds the name marker in a plain archive, as the server sends it', async () => {
    const response = await fetch(`${cluster.first.url}/v1/sys/storage/raft/snapshot`, {
      headers: { 'x-vault-token': cluster.rootToken },
    });
    expect(found(Buffer.from(await response.arrayBuffer()))).toContain('name in the cluster');
  });
});

describe('the look at a running process', () => {
  it('finds a plain archive in the spool, a secret on a command line, and one given to a child', async () => {
    const folder = join(world.spool, 'prod');
    await mkdir(folder, { recursive: true });
    const archive = await fetch(`${cluster.first.url}/v1/sys/storage/raft/snapshot`, {
      headers: { 'x-vault-token': cluster.rootToken },
    });
    await writeFile(join(folder, 'canary.spool'), Buffer.from(await archive.arrayBuffer()));
    const leaky = spawn('sh', ['-c', 'SECRET="$1" sleep 60 & wait', VALUE_MARKER, PATH_MARKER], { stdio: 'ignore' });
    const ended = once(leaky, 'exit');
    const observed = observe(leaky.pid ?? 0);
    const { sights } = observed;
    try {
      const hasFound = (names: readonly string[]) => names.includes('name in the cluster');
      await until('all of it is found', async () =>
        hasFound(sights.argv) && hasFound(sights.spool) ? true : undefined,
      );
    } finally {
      // First whom it waits for: a child that loses its parent is nobody's to end.
      const child = (await readProc(`${leaky.pid}/task/${leaky.pid}/children`)).toString().trim();
      if (child !== '') process.kill(Number(child), 'SIGKILL');
      await ended;
      await observed.end();
      await rm(folder, { recursive: true });
    }
    expect(sights.argv).toEqual(expect.arrayContaining(['value in the cluster', 'name in the cluster']));
    expect(sights.spool).toEqual(expect.arrayContaining([...ARCHIVE_SIGNS, 'a gzip file', 'name in the cluster']));
    expect(sights.looks).toBeGreaterThan(0);
  });
});

describe('no secret is in what strongroom says and leaves', () => {
  it('backup, whose spool was really looked at while it was written', async () => {
    await grow(cluster, 4 * 2 ** 20);
    const result = await watch(['backup', '-v']);
    expect(result.code).toBe(0);
    expect(result.looks).toBeGreaterThan(0);
    expectSilent(result);
  });

  it.each([
    ['backup', ['backup', '-v']],
    ['backup, JSON', ['backup', '--json']],
    ['dry run', ['backup', '--dry-run', '-v']],
    ['list', ['snapshots', 'list', '-v']],
    ['show', ['snapshots', 'show', 'latest', '--json']],
    ['verify', ['snapshots', 'verify', 'latest', '-v']],
    ['rewrap', ['snapshots', 'rewrap', 'latest', '--refresh', '-v']],
    ['inspect', ['inspect', 'latest', '--json']],
    ['config check', ['config', 'check', '-v']],
    ['job', ['job', 'run', 'backup', '-v']],
  ])('%s', async (_name, args) => {
    const result = await watch(args);
    expect(result.code).toBe(0);
    expectSilent(result);
  });

  it('restore, with the token from a file and shares from standard input and from a file', async () => {
    await using fresh = await startCluster({ version: '2.7.2', nodes: 1, idPrefix: 'fresh-' });
    secrets.set('token of the fresh cluster', fresh.rootToken);
    await world.write('target-token', fresh.rootToken);
    await world.write('shares', cluster.unsealShares.join('\n'));
    await world.config(fresh.nodes.map(({ url }) => url));
    const token = `file:${join(world.directory, 'target-token')}`;
    const first = await watch(['restore', '--confirm', 'prod', '--target-token', token, '--shares', 'stdin', '-v'], {
      input: cluster.unsealShares.join('\n'),
    });
    expect(first.code).toBe(0);
    expectSilent(first);
    const shares = `file:${join(world.directory, 'shares')}`;
    const again = await watch(['restore', '--confirm', 'prod', '--force', '--shares', shares, '--json']);
    expect(again.code).toBe(0);
    expectSilent(again);
    await world.config(cluster.nodes.map(({ url }) => url));
  });

  it('keys generate says only the public halves', async () => {
    const folder = join(world.directory, 'keys');
    const cli = await startCli(withConfig(['keys', 'generate', '--output', folder, '-v']), { env: { ...env, ...LOUD } })
      .finished;
    expect(cli.code).toBe(0);
    const identity =
      /^AGE-SECRET-KEY-\S+$/m.exec(await readFile(join(folder, 'break-glass.txt'), 'utf8'))?.[0] ?? 'none';
    const signing = (await readFile(join(folder, 'signing.pem'), 'utf8')).split('\n')[1] ?? 'none';
    for (const file of await readdir(folder)) {
      if (file === 'break-glass.txt' || file === 'signing.pem') continue;
      const text = await readFile(join(folder, file), 'utf8');
      expect(text).not.toContain(identity);
      expect(text).not.toContain(signing);
    }
    expect(identity).toMatch(/^AGE-SECRET-KEY-1/);
    expect(cli.stdout + cli.stderr).not.toContain(identity);
    expect(cli.stdout + cli.stderr).not.toContain(signing);
  });
});

describe('no secret is in what strongroom says when it fails', () => {
  const failing = async (
    args: readonly string[],
    code: number,
    more: Parameters<typeof watch>[1] = {},
  ): Promise<void> => {
    for (const form of ['-v', '--json']) {
      const result = await watch([...args, form], more);
      expect(result.code).toBe(code);
      expectSilent(result);
    }
  };

  it('a wrong secret id', async () => {
    const right = await readFile(join(world.directory, 'secret-id'), 'utf8');
    await world.write('secret-id', WRONG_SECRET_ID);
    await failing(['backup'], 12);
    await world.write('secret-id', right);
  });

  it('wrong S3 credentials', async () => {
    await failing(['backup'], 14, { env: { WORLD_S3_ID: 'nobody', WORLD_S3_SECRET: env['WORLD_S3_SECRET'] ?? '' } });
  });

  it('a KMS that refuses', async () => {
    using _fault = kms.fail({ with: 'AccessDeniedException' });
    await failing(['backup'], 12);
  });

  it('a KMS that is not there', async () => {
    await kms.stop();
    try {
      await failing(['backup'], 12);
    } finally {
      await kms.start();
    }
  });

  it('a secret on the command line is refused, and not repeated', async () => {
    const token = cluster.rootToken;
    const result = await startCli(withConfig(['restore', '--confirm', 'prod', '--target-token', token]), { env })
      .finished;
    expect(result.code).toBe(2);
    expect(found(result.stdout + result.stderr)).toEqual([]);
  });

  it('a sealed cluster', async () => {
    await cluster.call('PUT', 'sys/seal');
    await failing(['backup'], 20);
    await cluster.unsealAll();
  });
});

describe('no secret is in what is stored', () => {
  it('in the directory, in the bucket, and in the temporary folder of this run', async () => {
    expect(await foundBelow(join(world.directory, 'folder'))).toEqual([]);
    expect((await readdir(join(world.directory, 'folder'), { recursive: true })).length).toBeGreaterThan(10);
    const client = s3Client(s3);
    try {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
      expect(Contents.length).toBeGreaterThan(4);
      for (const { Key } of Contents) {
        const object = await client.send(new GetObjectCommand({ Bucket: bucket, Key }));
        const bytes = (await object.Body?.transformToByteArray()) ?? new Uint8Array();
        expect(found(bytes)).toEqual([]);
        expect(found(JSON.stringify(object.Metadata ?? {}))).toEqual([]);
      }
    } finally {
      client.destroy();
    }
    const own = ['secret-id', 'role-id', 'breakglass.txt', 'signing.pem', 'target-token', 'shares', 'file'];
    expect(await foundBelow(world.directory, [...own, 'break-glass.txt'])).toEqual([]);
  });
});
