import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { healthStatus, raftServers, sealStatus } from '../support/bao-status.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { until } from '../support/until.ts';

const REGION = 'eu-central-1';
const SNAPSHOT = 'sys/storage/raft/snapshot';

let kms: KmsEmulator;
let keyId: string;
let cluster: BaoCluster;

beforeAll(async () => {
  kms = await startKms();
  keyId = kms.createKey({ region: REGION });
  // All that the documentation says a seal needs: the server proves that it is enough.
  kms.grant('seal', ['DescribeKey', 'Encrypt', 'Decrypt'], keyId);
  const seal = { type: 'awskms', endpoint: kms.url, keyId, region: REGION } as const;
  cluster = await startCluster({ version: '2.6.2', nodes: 3, seal });
  await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
  await cluster.call('POST', 'kv/canary', { state: 'before' });
});

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await kms?.[Symbol.asyncDispose]();
});

const canary = async () => (await cluster.call('GET', 'kv/canary')).json;
const takeSnapshot = async () => {
  const node = await cluster.waitActive();
  return node.request('GET', SNAPSHOT, { token: cluster.rootToken });
};

describe('a cluster of three under awskms', () => {
  test('has three voters, recovery shares and no unseal shares', async () => {
    expect((await raftServers(cluster.first, cluster.rootToken)).filter(({ voter }) => voter)).toHaveLength(3);
    expect(cluster.recoveryShares).toHaveLength(3);
    expect(cluster.unsealShares).toEqual([]);
    expect(await sealStatus(cluster.first)).toMatchObject({ type: 'awskms', sealed: false, version: '2.6.2' });
    expect(new Set(kms.calls.map(({ operation }) => operation))).toEqual(
      new Set(['DescribeKey', 'Encrypt', 'Decrypt']),
    );
    expect(kms.calls.every(({ outcome }) => outcome === 'ok')).toBe(true);
  });

  test('autopilot comes to find it healthy', async () => {
    await cluster.waitHealthy();
  });

  test('a lost leader is replaced; it comes back as standby and unseals itself', async () => {
    const lost = await cluster.waitActive();
    await lost.kill();
    const next = await cluster.waitActive();
    expect(next.id).not.toBe(lost.id);
    expect(await canary()).toMatchObject({ data: { state: 'before' } });
    await lost.start();
    await until('the lost node is a standby again', async () =>
      (await healthStatus(lost)) === 429 ? true : undefined,
    );
  });

  test('a wiped node joins again and gets its vote', async () => {
    const [node] = await cluster.standbys();
    if (node === undefined) throw new Error('no standby');
    await expect(node.wipe()).rejects.toThrow('is running');
    await node.stop();
    await node.wipe();
    await node.start();
    expect(await healthStatus(node)).toBe(501);
    await cluster.join(node);
    await cluster.waitVoters(3);
    await cluster.waitHealthy();
    const read = await node.request('GET', 'kv/canary', { token: cluster.rootToken });
    expect(read.json).toMatchObject({ data: { state: 'before' } });
  });
});

describe('while the seal key is disabled', () => {
  let good: Buffer;
  let stump: Buffer;

  beforeAll(async () => {
    good = (await takeSnapshot()).body;
    kms.disableKey(keyId);
  });

  test('a snapshot is 200 with a body that ends early, and no archive', async () => {
    gunzipSync(good);
    const answer = await takeSnapshot();
    stump = answer.body;
    expect(answer).toMatchObject({ status: 200, headers: { 'content-type': 'application/gzip' } });
    expect(stump.length).toBeLessThan(good.length);
    expect(() => gunzipSync(stump)).toThrow('unexpected end of file');
    expect(kms.calls.at(-1)).toMatchObject({ operation: 'Encrypt', outcome: 'DisabledException' });
  });

  test('reads and writes go on, health says 200', async () => {
    await cluster.call('POST', 'kv/canary', { state: 'after' });
    expect(await healthStatus(await cluster.waitActive())).toBe(200);
  });

  test.each(['snapshot', 'snapshot-force'])('the stump is refused by %s and changes nothing', async (path) => {
    const node = await cluster.waitActive();
    const answer = await node.request('POST', `sys/storage/raft/${path}`, { token: cluster.rootToken, body: stump });
    expect(answer.status).toBe(500);
    expect(answer.body.toString()).toContain('unexpected EOF');
    expect(await canary()).toMatchObject({ data: { state: 'after' } });
  });

  test('a restarted node stays up and sealed, and opens by itself when the key is back', async () => {
    const [node] = await cluster.standbys();
    if (node === undefined) throw new Error('no standby');
    await node.restart();
    await node.waitLog(/DisabledException/);
    expect(await healthStatus(node)).toBe(503);
    kms.enableKey(keyId);
    await until('it is a standby again', async () => ((await healthStatus(node)) === 429 ? true : undefined));
    gunzipSync((await takeSnapshot()).body);
  });
});

test('without its KMS a node does not start: the process exits', async () => {
  const [node] = await cluster.standbys();
  if (node === undefined) throw new Error('no standby');
  await node.stop();
  await kms.stop();
  await expect(node.start()).rejects.toThrow(/ended with code 1 [^]*fetching AWS KMS wrapping key information/);
  await kms.start();
  using hang = kms.fail({ operation: 'DescribeKey', with: 'hang' });
  await node.start({ answering: false });
  await expect.poll(() => hang.hits, { timeout: 120_000 }).toBeGreaterThan(0);
  await expect(healthStatus(node)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await node.kill();
});
