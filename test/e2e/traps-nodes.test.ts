/** Standbys that answer for the active node, and members that should not be there. Traps first, then strongroom. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { failureOf, filesIn, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import type { BaoNode } from '../support/bao-node.ts';
import { healthStatus, raftServers, sealStatus } from '../support/bao-status.ts';
import { installsOn, plainInstall, plainSnapshot, SNAPSHOT } from '../support/restore-trial.ts';
import { backUp } from '../support/strongroom-app.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const SEAL = { type: 'static', keyId: 'k1', keyHex: '7b'.repeat(32) } as const;
const env = worldEnv({ accessKeyId: '', secretAccessKey: '' });

let cluster: BaoCluster;
let world: World;
let config: string;
let folder: string;

beforeAll(async () => {
  cluster = await startCluster({ version: '2.7.2', nodes: 3, seal: SEAL });
  world = await World.create({ destinations: { only: { type: 'directory', path: 'only' } }, canOpen: true });
  folder = join(world.directory, 'only');
  await mkdir(folder);
  await world.grant(cluster, RESTORE_POLICY);
  config = await world.config(urls(cluster.nodes));
  await backUp({ configFile: config, env });
});
afterEach(async () => {
  expect(await inSpool(world)).toEqual([]);
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

const urls = (nodes: readonly BaoNode[]): string[] => nodes.map(({ url }) => url);
const strongroom = (configFile: string, ...args: string[]) =>
  runCli([...args, '--json', '--config', configFile], { env });

/** Its fields as far as these tests look at them. */
type BackedUp = { manifest: { source: { node: string }; warnings: string[] }; missing: string[] };

async function backedUp(configFile: string): Promise<BackedUp> {
  const result = await strongroom(configFile, 'backup');
  expect([result.code, result.stderr]).toEqual([0, '']);
  return JSON.parse(result.stdout) as BackedUp;
}

async function twoStandbys(): Promise<[BaoNode, BaoNode]> {
  const [one, other] = await cluster.standbys();
  if (one === undefined || other === undefined) throw new Error('there are no two standbys');
  return [one, other];
}

/** Something new for every node to apply. */
const write = () => cluster.call('PUT', 'sys/policies/acl/any', { policy: 'path "any" { capabilities = ["read"] }' });

describe('a standby', () => {
  it('gives a snapshot of its own, without a word; strongroom wants the active node', async () => {
    const [standby] = await twoStandbys();
    await write();
    const served = await until('the standby gives a snapshot', async () => {
      const answer = await standby.request('GET', SNAPSHOT, { token: cluster.rootToken });
      return answer.status === 200 ? answer : undefined;
    });
    expect([served.headers['content-type'], served.headers['location']]).toEqual(['application/gzip', undefined]);

    const before = await filesIn(folder);
    const active = await cluster.waitActive();
    const only = await world.config([standby.url], {}, 'standby.yaml');
    const result = await strongroom(only, 'backup');
    expect(result).toMatchObject({ code: 20, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_VAULT_STANDBY',
      message: `only standbys of prod are configured; they name ${active.url} as active`,
      hint: expect.stringContaining('list every node of the cluster') as string,
    });
    expect(await filesIn(folder)).toEqual(before);

    expect((await backedUp(config)).manifest.source.node).toBe(active.url);
    const next = await cluster.leaderStepDown();
    expect(next.id).not.toBe(active.id);
    expect((await backedUp(config)).manifest.source.node).toBe(next.url);
  });

  it('that has applied nothing since its start has no snapshot to give; strongroom does not ask it', async () => {
    const [idle] = await twoStandbys();
    await idle.restart();
    await until('it is a standby', async () => ((await healthStatus(idle)) === 429 ? true : undefined));
    const refused = await idle.request('GET', SNAPSHOT, { token: cluster.rootToken });
    expect([refused.status, refused.body.toString()]).toEqual([
      500,
      expect.stringContaining('nothing new to snapshot'),
    ]);
    // First in the list, where whoever takes the first that answers would take it.
    const first = await world.config(
      [idle.url, ...urls(cluster.nodes.filter((node) => node !== idle))],
      {},
      'idle.yaml',
    );
    expect((await backedUp(first)).manifest.source.node).toBe((await cluster.waitActive()).url);
  });

  it('answers an install with 204, applies nothing and seals itself; strongroom sends it none', async () => {
    const active = await cluster.waitActive();
    const [standby, other] = await twoStandbys();
    const installs = await installsOn(active);

    const only = await world.config(urls([standby, other]), {}, 'standbys.yaml');
    const result = await strongroom(only, 'restore', '--confirm', 'prod');
    expect(result).toMatchObject({ code: 20, stdout: '' });
    expect(failureOf(result)).toMatchObject({
      code: 'E_VAULT_STANDBY',
      message: expect.stringContaining(`they name ${active.url} as active`) as string,
    });
    expect(await sealStatus(standby)).toMatchObject({ sealed: false });
    expect(await sealStatus(other)).toMatchObject({ sealed: false });

    const archive = await plainSnapshot(active, cluster.rootToken);
    expect((await plainInstall(standby.url, cluster.rootToken, archive, 'snapshot')).status).toBe(204);
    await standby.waitLog(/node is not the leader/);
    await until('the standby is sealed', async () => ((await sealStatus(standby)).sealed ? true : undefined));
    expect(await installsOn(active)).toBe(installs);
    await standby.restart();
    await until('it is a standby again', async () => ((await healthStatus(standby)) === 429 ? true : undefined));
  });
});

describe('a member that nobody knows of', () => {
  const members = async () => {
    const servers = await raftServers(await cluster.waitActive(), cluster.rootToken);
    return servers.map(({ node_id: id, address }) => ({ id, address }));
  };

  it('joins by itself and every status stays green; the next backup names it, and the inventory goes on to', async () => {
    const inventory = await world.config(urls(cluster.nodes), { members: await members() }, 'inventory.yaml');
    expect((await backedUp(inventory)).manifest.warnings).toEqual([]);

    await using stranger = await startCluster({
      version: '2.7.2',
      seal: SEAL,
      idPrefix: 'stranger',
      initialise: false,
    });
    // Ten seconds by default, until it has a vote.
    await cluster.call('POST', 'sys/storage/raft/autopilot/configuration', { server_stabilization_time: '1s' });
    await cluster.join(stranger.first);
    await cluster.waitVoters(4);
    await cluster.waitHealthy();
    const { id, clusterAddress } = stranger.first;

    const text = await runCli(['backup', '--config', inventory], { env });
    expect(text.code).toBe(0);
    const warned = [
      `members: raft member ${id} at ${clusterAddress} is a stranger to the inventory; raft member ${id} at ${clusterAddress} is new since the last snapshot`,
      `archive: raft member ${id} at ${clusterAddress} is a stranger to the inventory`,
    ];
    for (const warning of warned) expect(text.stdout).toContain(warning);
    const shown = await strongroom(inventory, 'snapshots', 'show', 'latest');
    expect(JSON.parse(shown.stdout)).toMatchObject({ manifest: { warnings: warned } });
    // Once it is in the snapshot before, only the inventory still knows better.
    expect((await backedUp(config)).manifest.warnings).toEqual([]);
    expect((await backedUp(inventory)).manifest.warnings.join()).toContain('is a stranger to the inventory');

    await cluster.call('POST', 'sys/storage/raft/remove-peer', { server_id: id });
    await cluster.waitVoters(3);
  });

  it('takes the place of a real one by its id, and nothing but its address shows it', async () => {
    const before = await members();
    const inventory = await world.config(urls(cluster.nodes), { members: before }, 'inventory.yaml');
    await backedUp(inventory);
    const [replaced] = await twoStandbys();

    await using scratch = await startCluster({ version: '2.7.2', seal: SEAL, idPrefix: 'scratch', initialise: false });
    await scratch.first.stop();
    await scratch.first.wipe();
    scratch.first.configure({ id: replaced.id });
    await scratch.first.start();
    const active = await cluster.waitActive();
    await scratch.first.call('POST', 'sys/storage/raft/join', { body: { leader_api_addr: active.url } });
    const moved = { id: replaced.id, address: scratch.first.clusterAddress };
    await until('the raft configuration names the scratch node', async () =>
      (await members()).some(({ id, address }) => id === moved.id && address === moved.address) ? true : undefined,
    );
    expect(await members()).toHaveLength(3);
    expect(await Promise.all([active, replaced].map(healthStatus))).toEqual([200, 429]);
    // It looks at its members now and then, and may still be at the one that was removed a moment ago.
    await cluster.waitHealthy();

    const { warnings } = (await backedUp(inventory)).manifest;
    const was = replaced.clusterAddress;
    expect(warnings).toEqual([
      `members: raft member ${moved.id} is at ${moved.address}, but the inventory says ${was}; raft member ${moved.id} moved from ${was} to ${moved.address} since the last snapshot`,
      `archive: raft member ${moved.id} is at ${moved.address}, but the inventory says ${was}`,
    ]);
  });
});
