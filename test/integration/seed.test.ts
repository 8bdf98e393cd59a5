import { afterAll, expect, test } from 'vitest';
import { type BaoCluster, type BaoVersion, startCluster } from '../support/bao-cluster.ts';
import { type Seed, verifySeed, writeSeed } from '../support/seed.ts';
import { type Bulk, grow, verifyBulk } from '../support/seed-bulk.ts';
import { until } from '../support/until.ts';

const VERSIONS: readonly BaoVersion[] = ['2.6.2', '2.7.2'];
const SNAPSHOT = 'sys/storage/raft/snapshot';
const MIB = 2 ** 20;

let cluster: BaoCluster;

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

for (const version of VERSIONS) {
  test(`${version}: what is written reads back, each harm is named, a restore heals all of it`, async () => {
    await cluster?.[Symbol.asyncDispose]();
    cluster = await startCluster({ version });
    const token = cluster.rootToken;
    const seed: Seed = JSON.parse(JSON.stringify(await writeSeed(cluster))) as Seed;
    const bulk = await grow(cluster, 3 * MIB);
    expect(await verifySeed(cluster, token, seed)).toEqual([]);
    expect(await verifyBulk(cluster.first, token, bulk)).toEqual([]);
    const snapshot = await cluster.first.request('GET', SNAPSHOT, { token });
    expect(snapshot.body.length).toBeGreaterThan(3 * MIB);

    await harm(seed, bulk);
    expect(await verifySeed(cluster, token, seed)).toEqual([
      'kv1: seed-kv1/app/db answers 404',
      'kv2: seed-kv2/data/app/token?version=2 answers 200, but was deleted',
      'kv2: seed-kv2/metadata/app/token differs at data.current_version',
      'kv2: seed-kv2/metadata/app/token does not list 3 versions',
      'transit: seed-transit/decrypt/orders of v1 answers 400',
      'pki: seed-pki/roles/web answers 404',
      'policies: sys/policies/acl/seed-operator differs at data.policy',
      'logins: auth/seed-userpass/login/alice answers 400',
      'namespaces: seed-team/inner/kv/data/own answers 404',
      'leases: the token with a lease answers 403',
      'leases: the lease of a certificate answers 400',
    ]);
    expect(await verifySeed(cluster.first, token, seed, { without: ['kv1', 'kv2', 'transit', 'logins'] })).toHaveLength(
      5,
    );
    expect(await verifyBulk(cluster.first, token, bulk)).toEqual([
      `seed-bulk has ${bulk.entries - 1} entries of ${bulk.entries}`,
      'seed-bulk/0 answers 404',
    ]);

    await cluster.first.call('POST', SNAPSHOT, { token, body: snapshot.body });
    await until('the restore is through', async () => {
      const differences = await verifySeed(cluster, token, seed);
      return differences.length === 0 ? true : undefined;
    });
    expect(await verifyBulk(cluster.first, token, bulk)).toEqual([]);
  });
}

/** One harm in every part. */
async function harm(seed: Seed, bulk: Bulk): Promise<void> {
  const { kv1, leases } = seed;
  if (kv1 === undefined || leases?.leaseId === undefined) throw new Error('the seed is not whole');
  await cluster.call('DELETE', 'seed-kv1/app/db');
  await cluster.call('POST', 'seed-kv2/undelete/app/token', { versions: [2] });
  await cluster.call('POST', 'seed-kv2/data/app/token', { data: { version: '4' } });
  await cluster.call('POST', 'seed-transit/keys/orders/config', { min_decryption_version: 2 });
  await cluster.call('DELETE', 'seed-pki/roles/web');
  await cluster.call('PUT', 'sys/policies/acl/seed-operator', { policy: 'path "sys/*" { capabilities = ["deny"] }' });
  await cluster.call('DELETE', 'auth/seed-userpass/users/alice');
  await cluster.call('DELETE', 'kv/metadata/own', undefined, { namespace: 'seed-team/inner' });
  await cluster.call('POST', 'auth/token/revoke-accessor', { accessor: leases.accessor });
  await cluster.call('PUT', 'sys/leases/revoke', { lease_id: leases.leaseId, sync: true });
  await cluster.call('DELETE', `${bulk.mount}/0`);
}
