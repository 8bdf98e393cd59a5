/** A Shamir cluster after a restore opens with the shares of the source alone: typed, listed, too few, wrong, twice. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failureOf, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { sealStatus } from '../support/bao-status.ts';
import { runPty } from '../support/pty-cli.ts';
import { installsOn, plainSnapshot, valueAt, waitValue } from '../support/restore-trial.ts';
import { backUp, bringBack } from '../support/strongroom-app.ts';
import { type CliResult, runCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });
const stack = new AsyncDisposableStack();
let source: BaoCluster;
let archive: Buffer;
const worlds: World[] = [];

beforeAll(async () => {
  source = stack.use(await startCluster({ version: '2.7.2', nodes: 3, idPrefix: 'source-' }));
  await source.call('POST', 'sys/mounts/kv', { type: 'kv' });
  await source.call('POST', 'kv/canary', { value: 'of the snapshot' });
  // One world, and with it one lock, for each test: most of their time is the server's own wait.
  for (let i = 0; i < 5; i += 1) {
    const destinations = { only: { type: 'directory', path: 'only' } } as const;
    const world = stack.use(await World.create({ destinations, canOpen: true }));
    await mkdir(join(world.directory, 'only'));
    await world.grant(source, RESTORE_POLICY);
    worlds.push(world);
  }
  archive = await plainSnapshot(await source.waitActive(), source.rootToken);
});
afterAll(async () => {
  // Worlds go with the stack, and the stack goes whatever is found in them.
  const left = await Promise.all(worlds.map(inSpool));
  await stack.disposeAsync();
  expect(left.flat()).toEqual([]);
});

type Trial = AsyncDisposable & { target: BaoCluster; config: string; args: string[] };

/** A fresh node, and the command line that restores into it. */
async function trial(number: number): Promise<Trial> {
  const target = await startCluster({ version: '2.7.2', idPrefix: `target-${number}-` });
  const world = worlds[number];
  if (world === undefined) throw new Error(`no world ${number}`);
  const config = await world.config([target.first.url]);
  const token = await world.write('target-token', target.rootToken);
  const file = join(world.directory, 'source.snap');
  await writeFile(file, archive);
  return {
    target,
    config,
    args: ['restore', '--snapshot', file, '--config', config, '--target-token', `file:${token}`],
    [Symbol.asyncDispose]: () => target[Symbol.asyncDispose](),
  };
}

const share = (number: number): string => source.unsealShares[number] ?? '';
const question = (number: number): string => `unseal key share ${number} of 2 `;

/** The way out that the message names: the shares of the source, by hand. */
async function opensByHand(target: BaoCluster): Promise<void> {
  expect(await sealStatus(target.first)).toMatchObject({ sealed: true, t: 2, n: 3 });
  await target.first.call('PUT', 'sys/unseal', { body: { reset: true } });
  for (const key of [share(1), share(2)]) await target.first.call('PUT', 'sys/unseal', { body: { key } });
  await waitValue(target.first, source.rootToken, 'kv/canary', 'of the snapshot');
}

describe.concurrent('shares', () => {
  it('are typed without echo, after the name of the cluster', async ({ expect }) => {
    await using t = await trial(0);
    const answers = [
      { after: 'type prod to go on: ', type: 'prod\r' },
      { after: question(1), type: `${share(0)}\r` },
      { after: question(2), type: `${share(2)}\r` },
    ];
    const { code, transcript } = await runPty(t.args, { env, answers });
    expect(transcript).toContain('restored and proven');
    expect(code).toBe(0);
    expect(transcript).not.toContain(share(0));
    expect(transcript).not.toContain(share(2));
    // Each question on a line of its own, not behind the progress.
    expect(transcript.match(/^unseal key share \d of 2 /gm)).toHaveLength(2);
    expect(await valueAt(t.target.first, source.rootToken, 'kv/canary')).toBe('of the snapshot');
  });

  it('that nobody types any more: 12, the snapshot is said to be installed, and the right ones open it', async ({
    expect,
  }) => {
    await using t = await trial(1);
    const answers = [
      { after: 'type prod to go on: ', type: 'prod\r' },
      { after: question(1), type: `${share(0)}\r` },
      { after: question(2), type: '\r' },
    ];
    const { code, transcript } = await runPty(t.args, { env, answers });
    expect(code).toBe(12);
    expect(transcript).toMatch(
      /error E_UNSEAL: the snapshot is installed, but http\S+ stays sealed: .* needs 2 unseal key shares and only 1 were given/,
    );
    expect(transcript).toMatch(/hint: .*do not install it again: unseal each node by hand/);
    expect(transcript).not.toContain(share(0));
    await opensByHand(t.target);
  });

  it('of another cluster: 12, the snapshot is said to be installed, and the right ones open it', async ({ expect }) => {
    await using t = await trial(2);
    const wrong = await worlds[2]?.write('shares', t.target.unsealShares.join('\n'));
    const result = await runCli([...t.args, '--confirm', 'prod', '--json', '--shares', `file:${wrong ?? ''}`], { env });
    expect(result).toMatchObject({ code: 12, stdout: '' });
    const failure = failureOf(result);
    expect(failure.code).toBe('E_UNSEAL');
    expect(failure.message).toMatch(
      /^the snapshot is installed, but http\S+ stays sealed: .* the shares do not open the root key in its data$/,
    );
    expect(failure.hint).toMatch(/do not install it again: unseal each node by hand/);
    expect(result.stderr).not.toContain(t.target.unsealShares[0]);
    await opensByHand(t.target);
  });

  it('that are one and the same are not two: refused in a list before the install, named when typed', async ({
    expect,
  }) => {
    await using t = await trial(3);
    const twice = await worlds[3]?.write('shares', `${share(0)}\n${share(0)}\n`);
    const args = [...t.args, '--confirm', 'prod', '--json', '--shares', `file:${twice ?? ''}`];
    const refused: CliResult = await runCli(args, { env });
    expect([refused.code, failureOf(refused).message]).toEqual([
      14,
      '2 unseal key shares of the source will be needed, and 1 are at hand',
    ]);
    expect(await installsOn(t.target.first)).toBe(0);

    const file = t.args[2] ?? '';
    const typed = bringBack(
      { configFile: t.config, env },
      { snapshot: file, targetToken: t.target.rootToken, shares: [share(0), share(0)] },
    );
    await expect(typed).rejects.toMatchObject({
      code: 'E_UNSEAL',
      message: expect.stringMatching(
        /is installed, but .* needs 2 different shares, and was given one twice/,
      ) as string,
    });
    await opensByHand(t.target);
  });
});

describe('a standby that was sealed before', () => {
  it('is no reason to ask for shares: the cluster keeps its keys, and the others serve the snapshot', async () => {
    const world = worlds[4];
    if (world === undefined) throw new Error('no world');
    const [standby] = await source.standbys();
    if (standby === undefined) throw new Error('no standby');
    await standby.restart();
    await until('it is sealed', async () => ((await sealStatus(standby)).sealed ? true : undefined));
    const app = { configFile: await world.config(source.nodes.map(({ url }) => url)), env };
    await backUp(app);
    await source.call('POST', 'kv/canary', { value: 'written since' });
    const before = await source.waitActive();
    const result = await bringBack(app, { shares: [] });
    expect(result.plan).toMatchObject({ force: false, sharesNeeded: 0 });
    expect(result.complete).toBe(false);
    expect(result.voters).toContainEqual(
      expect.objectContaining({ node: standby.url, proven: false, problem: 'it is sealed' }),
    );
    expect(result.proof).toMatchObject({ node: before.url, unexpectedCount: 0 });
    expect(await valueAt(before, source.rootToken, 'kv/canary')).toBe('of the snapshot');
    expect(await sealStatus(standby)).toMatchObject({ sealed: true });
  });
});
