/**
 * What only HashiCorp Vault 1.21 answers, replayed from its documentation and source by a small server. These tests hold
 * our side; that Vault really answers so is not proven by them.
 */
import { expect, test } from 'vitest';
import { type Bytes, collect } from '../../src/core/flow.ts';
import { silentLog } from '../../src/core/log.ts';
import { Secret } from '../../src/core/secret.ts';
import { VaultCluster } from '../../src/vault/cluster.ts';
import { installSnapshot } from '../../src/vault/install.ts';
import { unseal } from '../../src/vault/seal.ts';
import { takeSnapshot } from '../../src/vault/snapshot.ts';
import { type Replay, type ReplayAnswer, type ReplayHandler, startReplay } from '../support/replay-server.ts';
import { never, nodeClient } from '../support/vault-client.ts';
import { LEADER, VAULT_HEALTH, VAULT_SEAL_STATUS } from '../unit/vault/answers.ts';

const SERVERS = [{ node_id: 'p1', address: '127.0.0.1:8201', leader: true, protocol_version: '3', voter: true }];
const TOKEN = { accessor: 'a', policies: ['backup'], ttl: 0, renewable: false, num_uses: 0, type: 'service' };

type Change = { health?: object; healthStatus?: number; seal?: object; leader?: object; other?: ReplayHandler };

/** A Vault 1.21 node with these differences from an active one. */
function vaultNode(change: Change = {}): Promise<Replay> {
  const fixed: Record<string, ReplayAnswer> = {
    '/v1/sys/health': { status: change.healthStatus ?? 200, body: { ...VAULT_HEALTH, ...now(), ...change.health } },
    '/v1/sys/seal-status': { status: 200, body: { ...VAULT_SEAL_STATUS, ...change.seal } },
    '/v1/sys/leader': { status: 200, body: { ...LEADER, performance_standby: false, ...change.leader } },
    '/v1/sys/storage/raft/configuration': { status: 200, body: { data: { config: { index: 0, servers: SERVERS } } } },
    '/v1/auth/token/lookup-self': { status: 200, body: { data: TOKEN } },
    '/v1/sys/seal-backend-status': { status: 200, body: { healthy: true, fully_wrapped: true, backends: [] } },
  };
  return startReplay((request, response) => {
    const known = fixed[request.path];
    if (known !== undefined) return known;
    return change.other === undefined ? { status: 404, body: { errors: [] } } : change.other(request, response);
  });
}

function now(): { server_time_utc: number } {
  return { server_time_utc: Math.floor(Date.now() / 1000) };
}

function clusterOf(...nodes: Replay[]): VaultCluster {
  const auth = { method: 'token', token: new Secret('hvs.secret-of-the-cluster') } as const;
  return new VaultCluster({ name: 'v', nodes: nodes.map(({ url }) => url), auth, log: silentLog });
}

const STANDBY = { is_self: false, leader_address: 'https://10.1.2.3:8200' };

test('Vault replayed: an active node is told by removed_from_cluster, whatever its version says', async () => {
  await using node = await vaultNode({ seal: { version: '2.0.4' }, health: { version: '2.0.4' } });
  await using cluster = clusterOf(node);
  const active = await cluster.active(never);
  expect(active.view).toMatchObject({ product: 'vault', version: '2.0.4', state: 'active' });
  expect(await active.sealBackendStatus(never)).toMatchObject({ healthy: true });
});

test('Vault replayed: 530, removed from its cluster', async () => {
  const removed = { removed_from_cluster: true, sealed: true };
  await using node = await vaultNode({ healthStatus: 530, health: removed, seal: removed, leader: STANDBY });
  await using cluster = clusterOf(node);
  await expect(cluster.active(never)).rejects.toMatchObject({ code: 'E_VAULT_REMOVED', retryable: false });
});

test('Vault replayed: unsealing a removed node', async () => {
  await using node = await vaultNode({
    other: () => ({ status: 500, body: { errors: ['node was removed from a HA cluster'] } }),
  });
  await using cluster = clusterOf(node);
  const target = { client: cluster.node(node.url) };
  await expect(unseal(target, new Secret('00aabbccdd'), never)).rejects.toMatchObject({ code: 'E_VAULT_REMOVED' });
});

test('Vault replayed: the share count of the old initialisation', async () => {
  const errors = ['invalid key: failed to setup unseal key: crypto/aes: invalid key size 33'];
  await using node = await vaultNode({ other: () => ({ status: 400, body: { errors } }) });
  await using cluster = clusterOf(node);
  await expect(unseal({ client: cluster.node(node.url) }, new Secret('00aabbccdd'), never)).rejects.toMatchObject({
    code: 'E_UNSEAL',
    hint: expect.stringContaining("restart this node's process") as unknown,
  });
});

test('Vault replayed: a joining node that does not answer its last share is blocked, not broken', async () => {
  await using node = await vaultNode({ other: () => new Promise<null>(() => undefined) });
  await using cluster = clusterOf(node);
  const target = { client: cluster.node(node.url) };
  expect(await unseal(target, new Secret('00aabbccdd'), never, { timeoutMs: 300 })).toEqual({ outcome: 'blocked' });
});

test('Vault replayed: 474, a survivor whose active node is dead', async () => {
  const health = { standby: true, ha_connection_healthy: false, last_request_forwarding_heartbeat_ms: 9_000 };
  await using node = await vaultNode({ healthStatus: 474, health, leader: STANDBY });
  await using gone = await vaultNode();
  await using gone2 = await vaultNode();
  await using cluster = clusterOf(node, gone, gone2);
  await gone[Symbol.asyncDispose]();
  await gone2[Symbol.asyncDispose]();
  const view = await cluster.survey(never);
  expect(view.nodes[0]).toMatchObject({ state: 'standby', healthStatus: 474, leaderReachable: false });
  await expect(cluster.active(never)).rejects.toMatchObject({ code: 'E_QUORUM_LOST' });
});

test('Vault replayed: 307 before any authentication; nothing is sent elsewhere', async () => {
  await using leader = await vaultNode();
  const redirect: ReplayHandler = ({ path }) => ({ status: 307, headers: { location: `${leader.url}${path}` } });
  await using node = await vaultNode({ other: redirect });
  await using cluster = clusterOf(node);
  const active = await cluster.active(never);
  await expect(collect(takeSnapshot(active, { signal: never, deadlineMs: 10_000 }), 1e6)).rejects.toMatchObject({
    code: 'E_VAULT_STANDBY',
    details: { location: leader.url },
  });
  await expect(installSnapshot(active, archive(300_000), { force: false, signal: never })).rejects.toMatchObject({
    code: 'E_VAULT_STANDBY',
  });
  expect(leader.seen).toEqual([]);
});

test('Vault replayed: a namespace never goes along with a snapshot', async () => {
  const gzip = { status: 200, headers: { 'content-type': 'application/gzip' }, body: 'not really' };
  await using node = await vaultNode({
    other: ({ path }) =>
      path.endsWith('/login')
        ? { status: 200, body: { auth: { client_token: 'hvs.x', lease_duration: 60, renewable: false, policies: [] } } }
        : gzip,
  });
  const auth = { method: 'approle', roleId: 'r', secretId: new Secret('s') } as const;
  const cluster = new VaultCluster({ name: 'v', nodes: [node.url], auth, namespace: 'team', log: silentLog });
  const active = await cluster.active(never);
  await collect(takeSnapshot(active, { signal: never, deadlineMs: 10_000 }), 1e6);
  await cluster[Symbol.asyncDispose]();
  const sentTo = node.seen.filter(({ headers }) => headers['x-vault-namespace'] !== undefined).map(({ path }) => path);
  expect(new Set(sentTo)).toEqual(new Set(['/v1/auth/approle/login', '/v1/auth/token/revoke-self']));
  expect(node.seen.find(({ path }) => path.endsWith('/snapshot'))?.headers['x-vault-token']).toBe('hvs.x');
});

test('a 200 that is no gzip is no snapshot', async () => {
  await using node = await vaultNode({ other: () => ({ status: 200, body: '<html>login</html>' }) });
  await using cluster = clusterOf(node);
  const active = await cluster.active(never);
  await expect(collect(takeSnapshot(active, { signal: never, deadlineMs: 10_000 }), 1e6)).rejects.toMatchObject({
    code: 'E_VAULT_RESPONSE',
  });
});

test('a server that stops talking in the middle of a snapshot is given up', async () => {
  await using node = await vaultNode({
    other: (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/gzip' });
      response.write('some bytes');
      return null;
    },
  });
  await using cluster = clusterOf(node);
  const active = await cluster.active(never);
  const options = { signal: never, deadlineMs: 30_000, idleMs: 1_000 };
  await expect(collect(takeSnapshot(active, options), 1e6)).rejects.toMatchObject({
    code: 'E_VAULT_UNREACHABLE',
    message: expect.stringContaining('after 10 bytes: nothing more came') as unknown,
  });
});

test('an interruption while the server applies an archive leaves the outcome unknown', async () => {
  const stop = new AbortController();
  await using node = await vaultNode({
    other: () => {
      stop.abort(new Error('stopped'));
      return new Promise<null>(() => undefined);
    },
  });
  await using cluster = clusterOf(node);
  const active = await cluster.active(never);
  const outcome = await installSnapshot(active, archive(200_000), {
    bytes: 200_000,
    force: false,
    signal: stop.signal,
  });
  expect(outcome).toMatchObject({ outcome: 'unknown', reason: expect.stringContaining('interrupted') as unknown });
});

test('a gateway that answers 504 in place of the node leaves the outcome unknown', async () => {
  await using node = await vaultNode({ other: () => ({ status: 504, body: '<html>Gateway Time-out</html>' }) });
  await using cluster = clusterOf(node);
  const active = await cluster.active(never);
  expect(await installSnapshot(active, archive(200_000), { force: false, signal: never })).toMatchObject({
    outcome: 'unknown',
  });
});

test('two nodes that both claim to be active', async () => {
  await using one = await vaultNode();
  await using two = await vaultNode();
  await using cluster = clusterOf(one, two);
  await expect(cluster.active(never)).rejects.toMatchObject({
    code: 'E_NO_ACTIVE_NODE',
    details: { nodes: [one.url, two.url] },
  });
});

test('times of listeners: the shortest, in any spelling; not told is null', async () => {
  const listeners = [
    { type: 'tcp', config: { http_read_timeout: '30m' } },
    { type: 'tcp', config: { http_read_timeout: 45 } },
    { type: 'unix', config: {} },
  ];
  let answer: ReplayAnswer = { status: 200, body: { data: { listeners } } };
  await using node = await vaultNode({ other: () => answer });
  const client = nodeClient(node.url);
  const token = new Secret('hvs.token');
  expect(await client.listenerReadTimeoutMs(token, never)).toBe(45_000);
  answer = { status: 200, body: { data: { listeners: [{ type: 'tcp', config: {} }] } } };
  expect(await client.listenerReadTimeoutMs(token, never)).toBe(30_000);
  answer = { status: 403, body: { errors: ['permission denied'] } };
  expect(await client.listenerReadTimeoutMs(token, never)).toBeNull();
  answer = { status: 307, headers: { location: 'https://leader:8200/' } };
  expect(await client.listenerReadTimeoutMs(token, never)).toBeNull();
  answer = { status: 500, body: { errors: ['internal error'] } };
  await expect(client.listenerReadTimeoutMs(token, never)).rejects.toMatchObject({ code: 'E_VAULT_RESPONSE' });
  await client.transport[Symbol.asyncDispose]();
});

async function* archive(bytes: number): Bytes {
  for (let left = bytes; left > 0; left -= 50_000) yield new Uint8Array(Math.min(50_000, left));
}
