/** Three real nodes: who is active, who is not, and why nobody is. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { collect } from '../../src/core/flow.ts';
import { silentLog } from '../../src/core/log.ts';
import { Secret } from '../../src/core/secret.ts';
import { ActiveNode } from '../../src/vault/active-node.ts';
import { Session } from '../../src/vault/auth.ts';
import { installSnapshot } from '../../src/vault/install.ts';
import { sealStatus } from '../../src/vault/seal.ts';
import { takeSnapshot } from '../../src/vault/snapshot.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { startReplay } from '../support/replay-server.ts';
import { until } from '../support/until.ts';
import { never, vaultCluster } from '../support/vault-client.ts';

let bao: BaoCluster;

beforeAll(async () => {
  bao = await startCluster({ version: '2.7.2', nodes: 3 });
});

afterAll(async () => {
  await bao?.[Symbol.asyncDispose]();
});

test('the survey sees all three, and the active node is the one that says so itself', async () => {
  await using cluster = vaultCluster(bao);
  const leader = await bao.waitActive();
  const view = await cluster.survey(never);
  expect(view.nodes.map(({ state }) => state).sort()).toEqual(['active', 'standby', 'standby']);
  expect(view.warnings).toEqual([]);
  expect(new Set(view.nodes.map(({ clusterId }) => clusterId)).size).toBe(1);
  for (const node of view.nodes) {
    expect(node).toMatchObject({ product: 'openbao', version: '2.7.2', storageType: 'raft', threshold: 2, shares: 3 });
    expect(node.leaderAddress).toBe(leader.url);
    expect(Math.abs(node.clockSkewMs ?? Number.NaN)).toBeLessThan(2_000);
    expect(node.raftAppliedIndex).toBeGreaterThan(0);
  }
  expect((await cluster.active(never)).url).toBe(leader.url);
});

test('members come from the raft configuration', async () => {
  await using cluster = vaultCluster(bao);
  const members = await cluster.members(never);
  expect(members).toMatchObject({ voters: 3, quorum: 2, failureTolerance: 1 });
  expect(members.servers.map(({ address }) => address).sort()).toEqual(
    bao.nodes.map(({ clusterAddress }) => clusterAddress).sort(),
  );
});

test('autopilot tells its state', async () => {
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  const state = await until('autopilot knows the nodes', async () => (await node.autopilotState(never)) ?? undefined);
  expect(Object.keys(state.servers ?? {})).toHaveLength(3);
});

test('after a change of leader the new one is found', async () => {
  await using cluster = vaultCluster(bao);
  const before = await cluster.active(never);
  const next = await bao.leaderStepDown();
  expect(next.url).not.toBe(before.url);
  expect((await cluster.active(never)).url).toBe(next.url);
  // A standby of OpenBao 2.7 answers by itself as soon as it follows the new leader.
  const former = bao.nodes.find(({ url }) => url === before.url);
  await until('the former leader hands out snapshots as a standby', async () => {
    const answer = await former?.request('GET', 'sys/storage/raft/snapshot', { token: bao.rootToken });
    return answer?.status === 200 ? true : undefined;
  });
  // The one that was found before is stale: nothing is taken from it, and nothing sent to it, which would seal it.
  const options = { signal: never, deadlineMs: 30_000 };
  await expect(collect(takeSnapshot(before, options), 1e8)).rejects.toMatchObject({ code: 'E_VAULT_STANDBY' });
  const sent = installSnapshot(before, random(100_000), { force: true, signal: never });
  await expect(sent).rejects.toMatchObject({ code: 'E_VAULT_STANDBY' });
  expect((await sealStatus(before, never)).sealed).toBe(false);
});

test('a redirect that comes while the archive is still being sent is read, not lost with the connection', async () => {
  await using cluster = vaultCluster(bao);
  const [standby] = (await cluster.survey(never)).nodes.filter(({ state }) => state === 'standby');
  if (standby === undefined) throw new Error('no standby');
  // OpenBao redirects a token that it does not know, as Vault redirects everyone.
  const auth = { method: 'token', token: new Secret('s.unknowntoken000000000000') } as const;
  await using session = new Session({ auth, log: silentLog });
  const node = new Unchecked(standby, cluster.node(standby.url), session);
  const before = (await bao.waitActive()).url;
  await expect(installSnapshot(node, random(8_000_000), { force: true, signal: never })).rejects.toMatchObject({
    code: 'E_VAULT_STANDBY',
    details: { location: before },
  });
});

class Unchecked extends ActiveNode {
  override async assertActive(): Promise<void> {}
}

async function* random(bytes: number): AsyncGenerator<Uint8Array> {
  for (let left = bytes; left > 0; left -= 65_536) yield randomBytes(Math.min(65_536, left));
}

test('when only standbys are configured, the missing address is named and not contacted', async () => {
  await using stranger = await startReplay(() => ({ status: 200 }));
  const leader = await bao.waitActive();
  const standbys = (await bao.standbys()).map(({ url }) => url);
  await using cluster = vaultCluster(bao, { nodes: standbys });
  await expect(cluster.active(never)).rejects.toMatchObject({
    code: 'E_VAULT_STANDBY',
    hint: expect.stringContaining(leader.url) as unknown,
  });
  expect((await cluster.survey(never)).warnings).toEqual([
    expect.stringContaining(leader.url),
    expect.stringContaining(leader.url),
  ]);
  expect(stranger.seen).toEqual([]);
});

test('a stopped process that keeps its port open is hanging, and does not hold up the survey', async () => {
  const [standby] = await bao.standbys();
  if (standby === undefined) throw new Error('no standby');
  await using cluster = vaultCluster(bao, { timeouts: { probeMs: 1_000 } });
  standby.pause();
  try {
    const started = performance.now();
    const view = await cluster.survey(never);
    expect(performance.now() - started).toBeLessThan(4_500);
    expect(view.nodes.find(({ url }) => url === standby.url)).toMatchObject({ state: 'hanging' });
    expect(view.nodes.filter(({ state }) => state === 'active')).toHaveLength(1);
    expect((await cluster.active(never)).url).not.toBe(standby.url);
  } finally {
    standby.resume();
  }
});

test('an aborted survey rejects with the reason', async () => {
  await using cluster = vaultCluster(bao);
  const reason = new Error('stop');
  await expect(cluster.survey(AbortSignal.abort(reason))).rejects.toBe(reason);
});

// From here on the cluster is taken apart; these run in this order.

test('one node lost of three: work goes on', async () => {
  const [standby] = await bao.standbys();
  await standby?.kill();
  await using cluster = vaultCluster(bao);
  const view = await cluster.survey(never);
  const lost = view.nodes.find(({ url }) => url === standby?.url);
  expect(lost).toMatchObject({
    state: 'unreachable',
    error: { code: 'E_VAULT_UNREACHABLE', details: { reason: 'refused' } },
  });
  expect((await cluster.active(never)).view.state).toBe('active');
});

test('two nodes lost of three, the leader among them: the quorum is lost', async () => {
  const leader = await bao.waitActive();
  await leader.kill();
  await using cluster = vaultCluster(bao);
  await expect(cluster.active(never)).rejects.toMatchObject({
    code: 'E_QUORUM_LOST',
    message: expect.stringContaining('1 of 3 nodes alive, 2 needed') as unknown,
  });
});

test('the lost node is back but sealed: unsealing is what helps', async () => {
  const lost = bao.nodes.find((node) => node.process === undefined);
  await lost?.start();
  await using cluster = vaultCluster(bao);
  await expect(cluster.active(never)).rejects.toMatchObject({
    code: 'E_VAULT_SEALED',
    hint: expect.stringContaining('2 of the 3 key shares') as unknown,
  });
});

test('with all nodes gone, each one is named', async () => {
  await Promise.all(bao.nodes.map((node) => node.kill()));
  await using cluster = vaultCluster(bao);
  await expect(cluster.active(never)).rejects.toMatchObject({
    code: 'E_VAULT_UNREACHABLE',
    message: 'none of the 3 nodes of test answers',
    retryable: true,
  });
});
