import { connect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { startCluster } from '../support/bao-cluster.ts';
import { healthStatus, leader, raftServers, sealStatus } from '../support/bao-status.ts';
import { startTransitProvider } from '../support/bao-transit.ts';
import { createPki } from '../support/pki.ts';
import { runningProcesses } from '../support/process.ts';
import { until } from '../support/until.ts';

const STATIC = { type: 'static', keyId: 'first', keyHex: '5a'.repeat(32), shares: 1, threshold: 1 } as const;
const SNAPSHOT = 'sys/storage/raft/snapshot';

describe('Shamir', () => {
  test('three nodes of 2.6.2: a stopped one needs its shares, the standby of 2.6 gives a snapshot itself', async () => {
    await using cluster = await startCluster({ version: '2.6.2', nodes: 3, seal: { type: 'shamir' } });
    expect(cluster.unsealShares).toHaveLength(3);
    expect(cluster.recoveryShares).toEqual([]);
    const [standby] = await cluster.standbys();
    if (standby === undefined) throw new Error('no standby');
    await standby.restart();
    expect(await sealStatus(standby)).toMatchObject({ sealed: true, t: 2, n: 3 });
    await cluster.unsealAll();
    await until('it is a standby', async () => ((await healthStatus(standby)) === 429 ? true : undefined));
    const token = cluster.rootToken;
    // A node that has applied nothing since its start has no raft snapshot to give.
    const idle = await standby.request('GET', SNAPSHOT, { token });
    expect([idle.status, idle.body.toString()]).toEqual([500, expect.stringContaining('nothing new to snapshot')]);
    await cluster.call('PUT', 'sys/policies/acl/any', { policy: 'path "any" { capabilities = ["read"] }' });
    await expect.poll(async () => (await standby.request('GET', SNAPSHOT, { token })).status).toBe(200);
    const anonymous = await standby.request('GET', SNAPSHOT);
    expect(anonymous.status).toBe(307);
    expect(anonymous.headers['location']).toBe(`${(await cluster.waitActive()).url}/v1/${SNAPSHOT}`);
  });

  test('a fresh target of 2.7.2 over TLS: nobody initialised it, then the harness does', async () => {
    const timeouts = { http_read_timeout: '30m' };
    await using cluster = await startCluster({
      version: '2.7.2',
      tls: true,
      initialise: false,
      idPrefix: 'scratch',
      listenerTimeouts: timeouts,
    });
    const node = cluster.first;
    expect(node.url).toMatch(/^https:/);
    expect(await healthStatus(node)).toBe(501);
    expect(() => cluster.rootToken).toThrow('not initialised by this harness');
    await cluster.initialise();
    expect(await leader(node)).toMatchObject({ is_self: true, leader_address: node.url });
    const [server] = await raftServers(node, cluster.rootToken);
    expect(server).toMatchObject({ node_id: 'scratch1', address: node.clusterAddress });
    const config = await cluster.call('GET', 'sys/config/state/sanitized');
    expect(config.json).toMatchObject({ data: { listeners: [{ config: timeouts }] } });
  });
});

describe('static', () => {
  test('three nodes of 2.7.2: paused leader, step-down, and a restore sent to a standby seals it', async () => {
    await using cluster = await startCluster({ version: '2.7.2', nodes: 3, seal: STATIC });
    const before = await cluster.waitActive();
    before.pause();
    const after = await cluster.waitActive();
    expect(after.id).not.toBe(before.id);
    before.resume();
    await until('the old leader is a standby', async () => ((await healthStatus(before)) === 429 ? true : undefined));
    expect((await cluster.leaderStepDown()).id).not.toBe(after.id);

    const [standby] = await cluster.standbys();
    if (standby === undefined) throw new Error('no standby');
    const token = cluster.rootToken;
    await cluster.call('PUT', 'sys/policies/acl/any', { policy: 'path "any" { capabilities = ["read"] }' });
    const taken = await until('the standby gives a snapshot', async () => {
      const answer = await standby.request('GET', SNAPSHOT, { token });
      return answer.status === 200 ? answer : undefined;
    });
    expect(taken).toMatchObject({ status: 200, headers: { 'content-type': 'application/gzip' } });
    const sent = await standby.request('POST', SNAPSHOT, { token, body: taken.body });
    expect(sent.status).toBe(204);
    await standby.waitLog(/node is not the leader/);
    await until('it is sealed', async () => ((await healthStatus(standby)) === 503 ? true : undefined));
  });
});

describe('transit', () => {
  test('2.7.2 unseals with another server; without it a snapshot is a stump and a start fails', async () => {
    await using provider = await startTransitProvider('2.7.2');
    await using cluster = await startCluster({ version: '2.7.2', seal: provider.seal });
    const node = cluster.first;
    await node.restart();
    await cluster.waitActive();
    const token = cluster.rootToken;
    const good = await node.request('GET', SNAPSHOT, { token });
    await provider.cluster.first.kill();
    const stump = await node.request('GET', SNAPSHOT, { token, timeoutMs: 60_000 });
    expect(stump.status).toBe(200);
    expect(stump.body.length).toBeLessThan(good.body.length);
    await expect(node.restart()).rejects.toThrow(/ended with code 1 [^]*Error configuring seal "transit"/);
  });
});

test('2.7.2 knows no awskms, and nothing of a cluster that did not start is left', async () => {
  const seal = { type: 'awskms', endpoint: 'http://127.0.0.1:1', keyId: 'k', region: 'eu-west-1' } as const;
  await expect(startCluster({ version: '2.7.2', seal })).rejects.toThrow('unknown wrapper: awskms');
  expect(runningProcesses()).toEqual([]);
});

describe('certificates', () => {
  test('expired, of another authority and for another host are refused for that reason', async () => {
    await using cluster = await startCluster({ version: '2.7.2', tls: true, initialise: false });
    const node = cluster.first;
    const [own, pki] = [node.config.tls, cluster.pki];
    if (own === undefined || pki === undefined) throw new Error('no TLS');
    const other = await createPki(`${own.certFile}.other`);
    for (const [tls, code] of [
      [await pki.issue({ name: 'expired', expired: true }), 'CERT_HAS_EXPIRED'],
      [await pki.issue({ name: 'elsewhere', hosts: ['elsewhere.example'] }), 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [await other.issue({ name: 'foreign' }), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ] as const) {
      node.configure({ tls });
      await node.stop();
      await node.start({ answering: false });
      await until('it listens', () => listens(node.config.apiPort));
      await expect(healthStatus(node)).rejects.toMatchObject({ code });
    }
    node.configure({ tls: own });
    await node.restart();
    expect(await healthStatus(node)).toBe(501);
  });
});

async function listens(port: number): Promise<true | undefined> {
  const { promise, resolve } = Promise.withResolvers<true | undefined>();
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => resolve(true));
  socket.once('error', () => resolve(undefined));
  const answer = await promise;
  socket.destroy();
  return answer;
}
