/** Nodes die, step down, hang up and leave while a snapshot is taken: tried again on whoever leads, or an exact reason. */
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  duringSnapshot,
  failedBackup,
  failureOf,
  filesIn,
  inBucket,
  inSpool,
  type TrialOptions,
  tryBackup,
  verdictOf,
} from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import type { BaoNode } from '../support/bao-node.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpFault, type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { grow } from '../support/seed-bulk.ts';
import { textAt } from '../support/seed-part.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { World, worldEnv } from '../support/world.ts';

const SNAPSHOT = /sys\/storage\/raft\/snapshot$/;
/** more than the buffers between server and client hold, so that a held stream is held inside the server */
const STATE_BYTES = 12 * 2 ** 20;
const SLOW = { kind: 'throttle', bytesPerSecond: 4 * 2 ** 20 } as const;
/** so slow that no copy is finished while a test looks */
const CRAWL = { kind: 'throttle', bytesPerSecond: 20_000, direction: 'up' } as const;

const stack = new AsyncDisposableStack();
let cluster: BaoCluster;
let s3: S3Server;
const bucket = `nodes-${randomUUID()}`;
/** in front of the bucket */
let upload: FaultProxy;
let world: World;
let env: Record<string, string>;

beforeAll(async () => {
  const seal = { type: 'static', keyId: 'one', keyHex: '5e'.repeat(32) } as const;
  [cluster, s3] = await Promise.all([
    startCluster({ version: '2.7.2', nodes: 3, seal }).then((started) => stack.use(started)),
    sharedServer('versitygw'),
  ]);
  await s3.createBucket(bucket);
  upload = stack.use(await startFaultProxy(s3.endpoint));
  world = stack.use(
    await World.create({
      destinations: {
        folder: { type: 'directory', path: 'folder' },
        slow: { type: 's3', server: { ...s3, endpoint: upload.url }, bucket },
      },
      cluster: { destinations: ['folder'] },
    }),
  );
  await mkdir(join(world.directory, 'folder'));
  await world.grant(cluster);
  await grow(cluster, STATE_BYTES);
  env = worldEnv(s3);
});
afterAll(() => stack.disposeAsync());

/** Proxies in front of the node that is active now; the others are reached directly. */
let leader: BaoNode;
let gate: FaultProxy;
let http: HttpFaultProxy;
let nodes: string[];
let options: TrialOptions;
let round: AsyncDisposableStack;

beforeEach(async () => {
  round = new AsyncDisposableStack();
  // After a test that failed in the middle: those behind it speak for themselves.
  await Promise.all(cluster.nodes.map((node) => node.start()));
  leader = await cluster.waitActive();
  http = round.use(await startHttpFaultProxy(leader.url));
  gate = round.use(await startFaultProxy(http.url));
  nodes = cluster.nodes.map((node) => (node === leader ? gate.url : node.url));
  options = { configFile: await world.config(nodes), env };
});
afterEach(async () => {
  await round.disposeAsync();
  expect(await inSpool(world)).toEqual([]);
});

const folder = (): string => join(world.directory, 'folder');
const asked = (): number => http.requests.filter((line) => SNAPSHOT.test(line)).length;

/** The raft index that a node has applied. */
async function appliedIndex(node: BaoNode): Promise<number> {
  return z.object({ raft_applied_index: z.number() }).parse((await node.call('GET', 'sys/leader')).json)
    .raft_applied_index;
}

async function leavesNothing<T>(fail: () => Promise<T>): Promise<T> {
  const before = await filesIn(folder());
  const failure = await fail();
  expect(await filesIn(folder())).toEqual(before);
  return failure;
}

/** The cluster as it is now gives a backup at the first try. */
async function isCleanAgain(): Promise<void> {
  await cluster.waitActive();
  const configFile = await world.config(cluster.nodes.map((node) => node.url));
  const { complete, missing, attempts } = await tryBackup({ configFile, env });
  expect({ complete, missing, attempts }).toEqual({ complete: true, missing: [], attempts: 1 });
}

describe('the active node', () => {
  it('is killed in the middle: the next one serves', async () => {
    await gate.set(SLOW);
    const { onProgress, done } = duringSnapshot(gate, () => leader.kill());
    const result = await tryBackup({ ...options, onProgress });
    await done;
    expect(result).toMatchObject({ complete: true, attempts: 2 });
    const now = await cluster.waitActive();
    expect(now).not.toBe(leader);
    expect(result.manifest.source.node).toBe(now.url);
    await leader.start();
    await cluster.waitHealthy();
    await isCleanAgain();
  });

  it('is asked to step down while its download is held: it hangs, until the download is over', async () => {
    await gate.set(SLOW);
    let steppingDown: Promise<unknown> = Promise.resolve();
    const { onProgress, done } = duringSnapshot(gate, async () => {
      steppingDown = leader.request('PUT', 'sys/step-down', { token: cluster.rootToken, timeoutMs: 60_000 });
      await until('the node answers nothing any more', async () =>
        leader.request('GET', 'sys/seal-status', { timeoutMs: 1000 }).then(
          () => undefined,
          () => true,
        ),
      );
    });
    const result = await tryBackup({ ...options, onProgress });
    await done;
    await steppingDown;
    expect(result).toMatchObject({ complete: true, attempts: 1, manifest: { source: { node: gate.url } } });
    await until('another node is active', async () => ((await cluster.active()) === leader ? undefined : true));
    await isCleanAgain();
  });

  it('steps down between the look for it and the request: served or tried again, never older than the look', async () => {
    const before = await appliedIndex(leader);
    const held = http.rule({ path: SNAPSHOT, fault: { kind: 'delay', ms: 2000 }, times: 1 });
    const backup = tryBackup(options);
    await Promise.race([until('it is asked', async () => (held.hits > 0 ? true : undefined)), backup]);
    await cluster.leaderStepDown();
    const { complete, manifest } = await backup;
    expect(complete).toBe(true);
    expect(manifest.archive.raft.index).toBeGreaterThanOrEqual(before);
    await isCleanAgain();
  });

  it('loses its connection once in the middle: tried again', async () => {
    await gate.set(SLOW);
    const { onProgress, done } = duringSnapshot(gate, () => Promise.resolve(gate.resetConnections()));
    const result = await tryBackup({ ...options, onProgress });
    await done;
    expect(result).toMatchObject({ complete: true, attempts: 2 });
    expect(asked()).toBe(2);
  });

  it('loses it every time: said with the bytes that came, and nothing is left', async () => {
    await gate.set(SLOW);
    const onProgress: TrialOptions['onProgress'] = ({ stage, bytes }) => {
      if (stage === 'snapshot' && bytes !== undefined) gate.resetConnections();
    };
    const error = await leavesNothing(() => failedBackup({ ...options, onProgress }));
    expect(error.message).toMatch(/broke off after \d+ bytes: the connection was lost/);
    expect(verdictOf(error)).toEqual(['E_VAULT_UNREACHABLE', 20]);
    expect(asked()).toBe(3);
    await isCleanAgain();
  });
});

describe('what comes through is not what was sent', () => {
  const faults: { name: string; fault: HttpFault; code: string }[] = [
    { name: 'ends early, and cleanly', fault: { kind: 'truncate', afterBytes: 3e6 }, code: 'E_SNAPSHOT_TRUNCATED' },
    { name: 'ends before its first byte', fault: { kind: 'truncate', afterBytes: 0 }, code: 'E_SNAPSHOT_TRUNCATED' },
    { name: 'has one other bit', fault: { kind: 'flip', atByte: 3e6 }, code: 'E_SNAPSHOT_CHECKSUM' },
  ];

  it.each(faults)('$name, once: tried again', async ({ fault }) => {
    const rule = http.rule({ path: SNAPSHOT, fault, times: 1 });
    expect(await tryBackup(options)).toMatchObject({ complete: true, attempts: 2 });
    expect(rule.hits).toBe(1);
  });

  it.each(faults)('$name, every time: refused', async ({ fault, code }) => {
    http.rule({ path: SNAPSHOT, fault });
    const error = await leavesNothing(() => failedBackup(options));
    expect(verdictOf(error)).toEqual([code, 13]);
    expect(asked()).toBe(3);
  });
});

describe('a destination that crawls', () => {
  it('holds up no change of leader: the upload goes on meanwhile, and ends well', async () => {
    await upload.set(CRAWL);
    const uploading = Promise.withResolvers<void>();
    let isOver = false;
    const backup = tryBackup({
      ...options,
      configFile: await world.config(nodes, { destinations: ['folder', 'slow'] }),
      onProgress: ({ stage }) => {
        if (stage === 'upload folder') uploading.resolve();
      },
    }).finally(() => {
      isOver = true;
    });
    await Promise.race([uploading.promise, backup]);
    await until('the slow upload has begun', async () =>
      (await inBucket(s3, bucket)).uploads.length > 0 ? true : undefined,
    );
    // Held by a download this would time out, as the test of the held download shows.
    const next = await cluster.leaderStepDown({ timeoutMs: 20_000 });
    expect(next).not.toBe(leader);
    expect(isOver).toBe(false);
    await upload.set({ kind: 'pass' });
    const result = await backup;
    expect(result).toMatchObject({ complete: true, attempts: 1 });
    const { objects, uploads } = await inBucket(s3, bucket);
    expect(uploads).toEqual([]);
    expect(objects.filter((key) => key.includes(result.manifest.snapshot))).toHaveLength(4);
    await isCleanAgain();
  });
});

describe('the login', () => {
  /** Ends the token in the middle, then the connection: the second try needs a token that is valid. */
  const endedBy = (end: () => Promise<void>) =>
    duringSnapshot(gate, async () => {
      await end();
      gate.resetConnections();
    });
  const revokeLogins = async (): Promise<void> => {
    await cluster.call('POST', 'sys/leases/revoke-prefix/auth/approle/login');
  };

  beforeEach(() => gate.set(SLOW));
  afterEach(() => world.grant(cluster));

  it('is revoked in the middle: made again', async () => {
    const { onProgress, done } = endedBy(revokeLogins);
    expect(await tryBackup({ ...options, onProgress })).toMatchObject({ complete: true, attempts: 2 });
    await done;
    expect(http.requests.filter((line) => line.endsWith('/auth/approle/login'))).toHaveLength(2);
  });

  it('expires in the middle: made again', async () => {
    await cluster.call('POST', 'auth/approle/role/strongroom', {
      token_policies: ['strongroom'],
      token_ttl: '3s',
      token_max_ttl: '3s',
    });
    const { onProgress, done } = endedBy(async () => {
      const tokens = async (): Promise<string> =>
        (
          await cluster.call('LIST', 'sys/leases/lookup/auth/approle/login').catch(() => ({ body: '' }))
        ).body.toString();
      await until('the token has expired', async () => ((await tokens()) === '' ? true : undefined));
    });
    expect(await tryBackup({ ...options, onProgress })).toMatchObject({ complete: true, attempts: 2 });
    await done;
  });

  it('is revoked, and its role is gone: refused, and nothing is left', async () => {
    const { onProgress, done } = endedBy(async () => {
      await cluster.call('DELETE', 'auth/approle/role/strongroom');
      await revokeLogins();
    });
    const error = await leavesNothing(() => failedBackup({ ...options, onProgress }));
    await done;
    expect(verdictOf(error)).toEqual(['E_VAULT_LOGIN', 12]);
  });

  it('is a configured token that is revoked: there is no other', async () => {
    const made = await cluster.call('POST', 'auth/token/create', { policies: ['strongroom'], ttl: '10m' });
    const token = textAt(made, 'auth', 'client_token');
    await world.write('token', token);
    const configFile = await world.config(nodes, { auth: { method: 'token', token: 'file:token' } }, 'token.yaml');
    const { onProgress, done } = endedBy(async () => {
      await cluster.call('POST', 'auth/token/revoke', { token });
    });
    const error = await leavesNothing(() => failedBackup({ ...options, configFile, onProgress }));
    await done;
    expect(verdictOf(error)).toEqual(['E_VAULT_LOGIN', 12]);
    expect(JSON.stringify(error.toJSON())).not.toContain(token);
  });
});

describe('members', () => {
  it('that are strangers or elsewhere are written into the manifest', async () => {
    const [one, two, three] = cluster.nodes;
    const members = [
      { id: one?.id, address: one?.clusterAddress },
      { id: two?.id, address: '127.0.0.1:1' },
      { id: 'gone', address: '127.0.0.1:2' },
    ];
    const configFile = await world.config(nodes, { members }, 'members.yaml');
    const { manifest } = await tryBackup({ ...options, configFile });
    const warnings = manifest.warnings.join('\n');
    expect(warnings).toContain(`${two?.id} is at ${two?.clusterAddress}, but the inventory says 127.0.0.1:1`);
    expect(warnings).toContain(`${three?.id} at ${three?.clusterAddress} is a stranger to the inventory`);
    expect(warnings).toContain('raft member gone of the inventory is absent');
    expect(warnings).not.toContain(`raft member ${one?.id} `);
    // Told by the archive itself as well, not only by what the node said before.
    expect(manifest.warnings.filter((line) => line.startsWith('archive: '))).toHaveLength(3);
  });

  it('that were removed are missed, and the one that was removed serves nothing', async () => {
    const [gone] = await cluster.standbys();
    if (gone === undefined) throw new Error('no standby');
    const members = cluster.nodes.map(({ id, clusterAddress }) => ({ id, address: clusterAddress }));
    const configFile = await world.config(nodes, { members }, 'members.yaml');
    await cluster.call('POST', 'sys/storage/raft/remove-peer', { server_id: gone.id });
    await cluster.waitVoters(2);
    const result = await tryBackup({ ...options, configFile });
    expect(result.complete).toBe(true);
    expect(result.manifest.warnings.join('\n')).toContain(`raft member ${gone.id} of the inventory is absent`);
    const alone = await world.config([gone.url], {}, 'alone.yaml');
    const error = await leavesNothing(() => failedBackup({ ...options, configFile: alone }));
    expect(error.message).toContain(leader.url);
    expect(verdictOf(error)).toEqual(['E_VAULT_STANDBY', 20]);
    await gone.stop();
    await gone.wipe();
    await gone.start();
    await cluster.join(gone);
    await cluster.waitVoters(3);
    await isCleanAgain();
  });

  it('of which only a standby is configured: nothing is asked of it but its state', async () => {
    const [standby] = await cluster.standbys();
    if (standby === undefined) throw new Error('no standby');
    const seen = round.use(await startHttpFaultProxy(standby.url));
    const configFile = await world.config([seen.url], {}, 'standby.yaml');
    const result = await leavesNothing(() => runCli(['backup', '--json', '--config', configFile], { env }));
    expect(result).toMatchObject({ code: 20, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_VAULT_STANDBY',
      message: expect.stringContaining(leader.url) as string,
      hint: expect.stringContaining('list every node') as string,
    });
    expect(seen.requests.filter((line) => !line.startsWith('GET /v1/sys/'))).toEqual([]);
    expect(seen.requests.filter((line) => line.includes('snapshot'))).toEqual([]);
  });
});

describe('a quorum that is lost', () => {
  const others = () => cluster.nodes.filter((node) => node !== leader);
  const bringBack = async (): Promise<void> => {
    await Promise.all(cluster.nodes.map((node) => node.start()));
    await cluster.waitActive();
    await isCleanAgain();
  };

  it('before the backup: said so, and nothing is asked', async () => {
    await Promise.all(others().map((node) => node.kill()));
    await until('nobody leads', async () => ((await cluster.active()) === undefined ? true : undefined));
    const result = await leavesNothing(() => runCli(['backup', '--json', '--config', options.configFile], { env }));
    expect(result).toMatchObject({ code: 20, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_QUORUM_LOST',
      message: expect.stringContaining('1 of 3 nodes alive, 2 needed') as string,
    });
    expect(asked()).toBe(0);
    await bringBack();
  });

  it('in the middle: waited for, and then said so', async () => {
    await gate.set(SLOW);
    const { onProgress, done } = duringSnapshot(gate, async () => {
      await Promise.all([leader.kill(), others()[0]?.kill()]);
    });
    const error = await leavesNothing(() =>
      failedBackup({
        ...options,
        onProgress,
        change: (deps) => ({ ...deps, limits: { ...deps.limits, electionMs: 1500 } }),
      }),
    );
    await done;
    expect(verdictOf(error)).toEqual(['E_QUORUM_LOST', 20]);
    await bringBack();
  });
});
