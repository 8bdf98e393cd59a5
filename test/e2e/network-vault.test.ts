/** The network between strongroom and the nodes: broken wires, certificates, redirects. Backup and restore. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Bytes } from '../../src/core/flow.ts';
import { installSnapshot } from '../../src/vault/install.ts';
import { failedBackup, failureOf, filesIn, inSpool, verdictOf } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { createPki, type Pki } from '../support/pki.ts';
import { freePort } from '../support/process.ts';
import { type Replay, startReplay } from '../support/replay-server.ts';
import { plainSnapshot } from '../support/restore-trial.ts';
import { grow } from '../support/seed-bulk.ts';
import { type AppOptions, backUp, bringBack } from '../support/strongroom-app.ts';
import { type CliResult, runCli } from '../support/strongroom-cli.ts';
import { OLD_TLS, startTlsFront } from '../support/tls-front.ts';
import { CANARY, unchanged } from '../support/unchanged.ts';
import { until } from '../support/until.ts';
import { never, nodeClient, vaultCluster } from '../support/vault-client.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

/** more than the buffers between us and a server hold: what breaks in the middle breaks in the middle */
const STATE_BYTES = 12 * 2 ** 20;
/** the same for an upload, whose buffers on loopback are larger */
const UPLOAD_BYTES = 64 * 2 ** 20;
const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });

const stack = new AsyncDisposableStack();
let cluster: BaoCluster;
let world: World;
let pki: Pki;
let folder: string;
/** in front of the active node */
let gate: FaultProxy;
/** the active node behind `gate`, and the others */
let nodes: string[];
let config: string;

beforeAll(async () => {
  const seal = { type: 'static', keyId: 'k1', keyHex: '7c'.repeat(32) } as const;
  cluster = stack.use(await startCluster({ version: '2.7.2', nodes: 3, seal }));
  world = stack.use(await World.create({ destinations: { only: { type: 'directory', path: 'only' } }, canOpen: true }));
  folder = join(world.directory, 'only');
  await mkdir(folder);
  pki = await createPki(join(world.directory, 'pki'));
  await world.grant(cluster, RESTORE_POLICY);
  await grow(cluster, STATE_BYTES);
  await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
  await cluster.call('POST', CANARY.path, { value: 'in the snapshot' });
  await backUp({ configFile: await world.config(cluster.nodes.map(({ url }) => url)), env });
  await cluster.call('POST', CANARY.path, { value: CANARY.value });
});
afterAll(() => stack.disposeAsync());

let round: AsyncDisposableStack;
beforeEach(async () => {
  round = new AsyncDisposableStack();
  const active = await cluster.waitActive();
  gate = round.use(await startFaultProxy(active.url));
  nodes = cluster.nodes.map((node) => (node === active ? gate.url : node.url));
  config = await world.config(nodes);
});
afterEach(async () => {
  await round.disposeAsync();
  expect(await inSpool(world)).toEqual([]);
});

/** without a look at the snapshot of before, so that what it meets is the way of the new one */
const RESTORE = ['--confirm', 'prod', '--without-safety-snapshot'];

const strongroom = (command: 'backup' | 'restore', configFile: string): Promise<CliResult> =>
  runCli([command, '--json', '--config', configFile, ...(command === 'restore' ? RESTORE : [])], { env });

const untouched = <T>(run: () => Promise<T>): Promise<T> => unchanged(cluster, run);

/** Nothing was installed, and no copy came to be. */
async function leavesNothing<T>(run: () => Promise<T>): Promise<T> {
  const before = await filesIn(folder);
  const result = await untouched(run);
  expect(await filesIn(folder)).toEqual(before);
  return result;
}

async function refusal(command: 'backup' | 'restore', configFile: string, exitCode: number) {
  const result = await leavesNothing(() => strongroom(command, configFile));
  expect(result).toMatchObject({ code: exitCode, stdout: '' });
  return failureOf(result);
}

const says = (text: string): string => expect.stringContaining(text) as string;

describe('the wire to the active node', () => {
  it.each(['backup', 'restore'] as const)('is refused at every address: %s says 20', async (command) => {
    const closed = await Promise.all([freePort(), freePort(), freePort()]);
    const configFile = await world.config(
      closed.map((port) => `http://127.0.0.1:${port}`),
      {},
      'closed.yaml',
    );
    expect(await refusal(command, configFile, 20)).toMatchObject({
      code: 'E_VAULT_UNREACHABLE',
      message: 'none of the 3 nodes of prod answers',
      hint: says(`nothing listens at http://127.0.0.1:${closed[0]}`),
    });
  });

  it('gives 1 kB/s: the deadline is named, and the node is let go for a change of leader', async () => {
    const backup = { attempts: 1, snapshotTimeout: '2s' };
    const configFile = await world.config(nodes, { backup }, 'slow.yaml');
    let isSlow = false;
    const error = await leavesNothing(() =>
      failedBackup({
        configFile,
        env,
        onProgress: ({ stage, bytes }) => {
          if (stage !== 'snapshot' || bytes === undefined || isSlow) return;
          isSlow = true;
          void gate.set({ kind: 'throttle', bytesPerSecond: 1000, direction: 'down' });
        },
      }),
    );
    expect(verdictOf(error)).toEqual(['E_TIMEOUT', 1]);
    expect(error.message).toMatch(/^the snapshot from \S+ was not there within 2\.0s \(\d+ bytes came\)$/);
    expect(error.hint).toContain('look at the network to the node, or raise the deadline');
    expect(isSlow).toBe(true);
    await until('the node is let go', () => Promise.resolve(gate.totals.open === 0 ? true : undefined));
    expect(await cluster.leaderStepDown({ timeoutMs: 20_000 })).toBeDefined();
  });

  it('falls silent in the middle of a backup: the deadline is named', async () => {
    const backup = { attempts: 1, snapshotTimeout: '2s' };
    const options = { configFile: await world.config(nodes, { backup }, 'silent.yaml'), env };
    const error = await leavesNothing(() =>
      failedBackup({
        ...options,
        onProgress: ({ stage, bytes }) => {
          if (stage === 'snapshot' && bytes !== undefined) void gate.set({ kind: 'hang' });
        },
      }),
    );
    expect(verdictOf(error)).toEqual(['E_TIMEOUT', 1]);
    expect(error.message).toContain('was not there within 2.0s');
  });

  /** A restore of which the wire breaks when it has handed over its first bytes. */
  const brokenRestore = async (act: () => unknown): Promise<unknown> => {
    const app: AppOptions = {
      configFile: config,
      env,
      onProgress: ({ stage, bytes }) => {
        if (stage === 'install' && bytes !== undefined) act();
      },
    };
    return await untouched(() => bringBack(app).catch((e: unknown) => e));
  };

  it('is reset in the middle of a restore: nothing was applied, and it says so', async () => {
    await gate.set({ kind: 'throttle', bytesPerSecond: 4 * 2 ** 20, direction: 'up' });
    expect(await brokenRestore(() => gate.resetConnections())).toMatchObject({
      code: 'E_VAULT_UNREACHABLE',
      message: expect.stringMatching(/^the upload to \S+ broke off after \d+ bytes; nothing was applied$/) as string,
      details: { reason: 'reset' },
    });
  });

  it('is gone when a restore is confirmed: nothing was applied', async () => {
    const confirm = () => gate.set({ kind: 'refuse' });
    const error: unknown = await untouched(() =>
      bringBack({ configFile: config, env }, { confirm }).catch((e: unknown) => e),
    );
    // The others are asked as well, and name it as the active node.
    expect(error).toMatchObject({ code: 'E_NO_ACTIVE_NODE', message: says('does not act as such') });
  });

  it('falls silent in the middle of an upload: nothing was applied', async () => {
    const archive = await plainSnapshot(await cluster.waitActive(), cluster.rootToken);
    const vault = round.use(vaultCluster(cluster, { nodes }));
    const node = await vault.active(never);
    async function* body(): Bytes {
      yield archive.subarray(0, 2 ** 20);
      await gate.set({ kind: 'hang' });
      for (let left = UPLOAD_BYTES - 2 ** 20; left > 0; left -= 2 ** 20) yield new Uint8Array(2 ** 20);
    }
    const options = { bytes: UPLOAD_BYTES, force: false, signal: never, answerMs: 1500 };
    await untouched(() =>
      expect(installSnapshot(node, body(), options)).rejects.toMatchObject({
        code: 'E_VAULT_UNREACHABLE',
        message: expect.stringMatching(/broke off after \d+ bytes; nothing was applied/) as string,
        details: { reason: 'timeout' },
      }),
    );
  });
});

describe('TLS in front of the active node', () => {
  const secure = async (name: string, change: Parameters<Pki['issue']>[0] | object = {}, tls?: typeof OLD_TLS) => {
    const active = await cluster.waitActive();
    return round.use(await startTlsFront(active.url, await pki.issue({ name, ...change }), tls));
  };
  const trusting = (url: string, ca?: string) =>
    world.config([url], ca === undefined ? {} : { tls: { ca } }, 'tls.yaml');

  it.each(['backup', 'restore'] as const)('signed by a stranger: %s says 20 and which option', async (command) => {
    const stranger = await createPki(join(world.directory, 'stranger'));
    const front = await secure('good');
    expect(await refusal(command, await trusting(front.url, stranger.caPem), 20)).toMatchObject({
      code: 'E_VAULT_TLS',
      message: `the certificate of ${front.url} is not signed by a CA that is trusted here`,
      hint: says("the cluster's `tls.ca`"),
    });
  });

  it('that is in order: the refusals here mean something', async () => {
    const front = await secure('good');
    const result = await runCli(['backup', '--json', '--config', await trusting(front.url, pki.caPem)], { env });
    expect([result.code, result.stderr]).toEqual([0, '']);
    expect(JSON.parse(result.stdout)).toMatchObject({ manifest: { source: { node: front.url } } });
  });

  it.each([
    { what: 'expired', change: { expired: true }, words: /expired at 20\d\d-/, hint: 'renew' },
    { what: 'for another name', change: { hosts: ['vault.test'] }, words: /for another name/, hint: 'DNS:vault.test' },
  ])('$what: said before anything is sent', async ({ what, change, words, hint }) => {
    const front = await secure(what.replaceAll(' ', '-'), change);
    const options = { configFile: await trusting(front.url, pki.caPem), env };
    const error = await leavesNothing(() => failedBackup(options));
    expect(verdictOf(error)).toEqual(['E_VAULT_TLS', 20]);
    expect(error.message).toMatch(words);
    expect(error.hint).toContain(hint);
    // The look at the date of an expired certificate completes a handshake, and sends nothing.
    const meets: unknown = await bringBack(options).catch((e: unknown) => e);
    expect(meets).toMatchObject({ code: 'E_VAULT_TLS' });
  });

  it('of no version after 1.1', async () => {
    const front = await secure('old', {}, OLD_TLS);
    const client = nodeClient(front.url, { ca: pki.caPem });
    await expect(client.health(never)).rejects.toMatchObject({
      code: 'E_VAULT_TLS',
      message: `${front.url} speaks no version of TLS that is safe`,
      hint: says('tls_min_version'),
    });
    await client.transport[Symbol.asyncDispose]();
  });
});

describe('TLS of a stranger in front of', () => {
  const S3 = { region: 'eu-west-1', accessKeyId: 'id', secretAccessKey: 'secret', pid: 0 };
  const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
  /** what would answer, were it asked */
  let behind: Replay;
  let url: string;
  let ca: string;
  beforeEach(async () => {
    behind = round.use(await startReplay(() => ({ status: 200, body: {} })));
    const front = round.use(await startTlsFront(behind.url, await pki.issue({ name: 'peer' })));
    url = front.url;
    ca = (await createPki(join(world.directory, 'stranger'))).caPem;
  });

  it.each(['backup', 'restore'] as const)('the only destination, in a %s: 14, and which option', async (command) => {
    const bucket = { type: 's3', server: { ...S3, endpoint: url }, bucket: 'any', extra: { ca } } as const;
    const away = round.use(await World.create({ destinations: { bucket }, canOpen: true }));
    await away.grant(cluster, RESTORE_POLICY);
    const result = await untouched(async () =>
      runCli([command, '--json', '--config', await away.config(nodes), ...(command === 'restore' ? RESTORE : [])], {
        env: worldEnv(S3),
      }),
    );
    expect(result).toMatchObject({ code: 14, stdout: '' });
    const failure = failureOf(result);
    expect(failure).toMatchObject({ code: 'E_STORE_UNREACHABLE', hint: says("set the destination's `ca`") });
    expect(failure.message).toContain('its certificate is not signed by a CA that is trusted here');
    expect(behind.seen).toEqual([]);
    expect(await inSpool(away)).toEqual([]);
  });

  it('the only key that wraps, in a backup: 12, and which option', async () => {
    const only = { type: 'directory', path: 'only' } as const;
    const away = round.use(await World.create({ destinations: { only }, kms: [{ keyArn: KEY, endpoint: url, ca }] }));
    await mkdir(join(away.directory, 'only'));
    await away.grant(cluster, RESTORE_POLICY);
    const configFile = await away.config(nodes);
    const result = await untouched(() => runCli(['backup', '--json', '--config', configFile], { env }));
    expect(result).toMatchObject({ code: 12, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_KEY_UNAVAILABLE',
      message: says('its certificate is not signed by a CA that is trusted here'),
      hint: says("set the key's `ca`"),
    });
    expect(await filesIn(join(away.directory, 'only'))).toEqual([]);
    expect(await inSpool(away)).toEqual([]);
    expect(behind.seen).toEqual([]);
  });
});

describe('a redirect to a stranger', () => {
  let stranger: Replay;
  beforeEach(async () => {
    stranger = round.use(await startReplay(() => ({ status: 200, body: { auth: { client_token: 'hvs.bait' } } })));
  });

  it.each([
    { command: 'backup', status: 307, path: /\/auth\/approle\/login$/, code: 'E_VAULT_STANDBY' },
    { command: 'restore', status: 302, path: /\/auth\/approle\/login$/, code: 'E_VAULT_RESPONSE' },
    { command: 'restore', status: 307, path: /\/raft\/snapshot$/, code: 'E_VAULT_STANDBY' },
    { command: 'backup', status: 301, path: /./, code: 'E_VAULT_RESPONSE' },
  ] as const)('$status for $path in a $command: said, and nobody comes', async ({ command, status, path, code }) => {
    const active = await cluster.waitActive();
    const proxy = round.use(await startHttpFaultProxy(active.url));
    const headers = { location: `${stranger.url}/v1/sys/anything` };
    proxy.rule({ path, fault: { kind: 'answer', status, headers } });
    const configFile = await world.config([proxy.url], { backup: { attempts: 1 } }, 'redirected.yaml');
    const result = await untouched(() => strongroom(command, configFile));
    expect(result).toMatchObject({ code: 20, stdout: '' });
    const failure = failureOf(result);
    expect(failure).toMatchObject({ code, message: says('not followed') });
    expect(JSON.stringify(failure)).toContain(stranger.url);
    expect(stranger.seen).toEqual([]);
    expect(proxy.requests.filter((line) => path.test(line)).length).toBeGreaterThan(0);
  });
});
