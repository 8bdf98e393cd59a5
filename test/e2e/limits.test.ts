/** What a small machine gives: 300 MiB of memory for 200 MiB of state. And what Node itself has to say: nothing. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryLimit } from '../support/memory-limit.ts';
import { baseEnv } from '../support/process.ts';
import { KEPT, RestoreSite } from '../support/restore-site.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { WARNED } from '../support/strict-process.ts';
import { bringBack } from '../support/strongroom-app.ts';
import { type CliResult, runCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';

const MIB = 2 ** 20;
const LIMIT_BYTES = 300 * MIB;
const STATE_BYTES = 200 * MIB;
/** A socket that is kept alive, or a timer, holds a process for five seconds and more. */
const IDLE_MS = 3_000;

const stack = new AsyncDisposableStack();
const strict = pathToFileURL(new URL('../support/strict-process.ts', import.meta.url).pathname).href;
const STRICT = ['--throw-deprecation', '--trace-warnings', '--import', strict];
/** `large` is for the limit, `small` for Node's words. */
let large: RestoreSite;
let small: RestoreSite;
let limit: MemoryLimit | undefined;
/** why there is none */
let refused: unknown;

beforeAll(async () => {
  const cache = await mkdtemp(join(tmpdir(), 'strongroom-compiled-'));
  stack.defer(() => rm(cache, { recursive: true, force: true }));
  const server = await sharedServer('versitygw');
  [large, small] = (await Promise.all(
    [STATE_BYTES, MIB].map(async (stateBytes) => stack.use(await RestoreSite.open({ server, stateBytes, cache }))),
  )) as [RestoreSite, RestoreSite];
  try {
    limit = stack.use(await MemoryLimit.create(LIMIT_BYTES));
  } catch (e) {
    refused = e;
  }
});
afterAll(() => stack.disposeAsync());

function run(site: RestoreSite, args: readonly string[], via: readonly string[] = []): Promise<CliResult> {
  const config = args[0] === '--help' ? [] : ['--config', site.configFile];
  return runCli([...args, ...config], { env: site.env, via, nodeArgs: STRICT });
}

/** It ended well and by itself, with nothing said by Node and nothing left open. */
function expectQuiet({ code, signal, stderr }: CliResult): void {
  expect([code, signal], stderr).toEqual([0, null]);
  // A thread of ours is not hooked: its warnings are written.
  expect(stderr).not.toMatch(/\(node:\d+\)/);
  const said = stderr.split('\n').filter((line) => line.startsWith('strict: '));
  expect(said, stderr).toHaveLength(1);
  const { open, idleMs } = JSON.parse(said[0]?.slice('strict: '.length) ?? '') as { open: string[]; idleMs: number };
  // The three that the shell gave.
  expect(open.filter((kind) => kind !== 'PipeWrap')).toEqual([]);
  expect(idleMs).toBeLessThan(IDLE_MS);
}

/** With CI=true nothing is skipped for want of a right: it fails. */
function limited(skip: (why: string) => never): MemoryLimit {
  if (limit !== undefined) return limit;
  if (process.env['CI'] === 'true') throw refused;
  return skip(String(refused));
}

describe(`with ${LIMIT_BYTES / MIB} MiB of memory, for a state of ${STATE_BYTES / MIB} MiB`, () => {
  it('a program that wants more is killed: the limit is one', async ({ skip }) => {
    const group = limited(skip);
    const [command, ...args] = [...group.via, process.execPath, '-e'];
    const take = (mib: number) =>
      execa(command, [...args, `Buffer.alloc(${mib} * 2 ** 20, 1)`], {
        reject: false,
        env: baseEnv(),
        extendEnv: false,
      });
    expect(await take(400)).toMatchObject({ failed: true, signal: 'SIGKILL' });
    expect(await group.kills()).toBe(1);
    expect(await take(100)).toMatchObject({ failed: false });
  });
});

describe('a process of ours', () => {
  it('would end with another code if Node warned, or late if something were left open', async () => {
    const node = (code: string) => execa(process.execPath, [...STRICT, '-e', code], { reject: false, env: baseEnv() });
    const warned = { exitCode: WARNED, stderr: expect.stringContaining('strict: ') as string };
    expect(await node("process.emitWarning('of something')")).toMatchObject(warned);
    const listeners = "const e = new (require('events'))(); for (let i = 0; i < 11; i += 1) e.on('x', () => i)";
    expect(await node(listeners)).toMatchObject(warned);
    expect((await node("require('util').isArray([])")).exitCode).not.toBe(0);
    const idle = await node('console.log(1); setTimeout(() => 0, 150)');
    expect(idle.stderr).toMatch(/^strict: .*"idleMs":1[5-9]\d|"idleMs":[2-9]\d\d/);
  });

  it('closes everything that a restore inside another program has opened', async () => {
    const before = openHandles();
    await bringBack({ configFile: small.configFile, env: small.env });
    await until('as much is open as before', () => Promise.resolve(openHandles() <= before ? true : undefined));
  });
});

describe.concurrent('a run', () => {
  it(`of ${STATE_BYTES / MIB} MiB of state fits into the limit, backup and restore`, async ({ skip }) => {
    const { via } = limited(skip);
    expectQuiet(await run(large, ['backup'], via));
    await large.soil();
    const result = await run(large, ['restore', '--confirm', 'prod'], via);
    expectQuiet(result);
    expect(result.stdout).toContain('restored and proven: snapshot ');
    expect(await large.canary()).toBe(KEPT);
    expect(await large.leftovers()).toEqual([]);
  });

  it('of any command ends by itself, and Node has nothing to say', async () => {
    for (const line of ['--help', 'backup', 'snapshots verify latest', 'inspect latest', 'restore --confirm prod']) {
      expectQuiet(await run(small, line.split(' ')));
    }
  });
});

/** Sockets, timers and threads that keep a process from ending. */
function openHandles(): number {
  return process.getActiveResourcesInfo().filter((kind) => /^(?:TCPSocketWrap|Timeout|Worker|MessagePort)$/.test(kind))
    .length;
}
