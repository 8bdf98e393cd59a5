/** Probes of what ends one day: certificates and tokens, on a real node with TLS; and all of it in a worker. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseClusterName } from '../../src/core/ids.ts';
import { vaultPolicy } from '../../src/policy/vault.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { startKms } from '../support/kms-emulator.ts';
import { PROBE_ENV, probing } from '../support/probing.ts';
import { freePort } from '../support/process.ts';
import { until } from '../support/until.ts';
import { tokenWith } from '../support/vault-client.ts';
import { WorkerScene } from '../support/worker-scene.ts';
import { World } from '../support/world.ts';

const DAY = 86_400;
const REGION = 'eu-central-1';

describe('what ends one day', () => {
  let bao: BaoCluster;
  let proxy: FaultProxy;
  let world: World;

  beforeAll(async () => {
    bao = await startCluster({ version: '2.7.2', tls: true });
    proxy = await startFaultProxy(bao.first.url);
    world = await World.create({ destinations: { a: { type: 'directory', path: 'a' } } });
    await world.write('ca.pem', bao.caPem ?? '');
  });
  afterAll(async () => {
    await world[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await bao[Symbol.asyncDispose]();
  });

  async function configWith(change: Record<string, unknown>): Promise<string> {
    const text = await readFile(
      await world.config([proxy.url.replace('http:', 'https:')], { tls: { ca: 'file:ca.pem' }, ...change }),
      'utf8',
    );
    return await world.write('ends.yaml', `${text}worker: { probeEvery: 1s }\n`);
  }
  async function withToken(token: string, change: Record<string, unknown> = {}): Promise<string> {
    await world.write('token', token);
    return await configWith({ auth: { method: 'token', token: 'file:token' }, ...change });
  }
  const policy = vaultPolicy('backup', {
    auth: { method: 'token' },
    name: parseClusterName('prod'),
  } as Parameters<typeof vaultPolicy>[1]).document;
  const until60 = 60 * DAY;

  it('is told of a node by its handshake, of our certificate by its file, and stays known when nobody answers', async () => {
    const own = await bao.pki?.issue({ name: 'client' });
    await world.write('own.pem', await readFile(own?.certFile ?? '', 'utf8'));
    await world.write('own.key', await readFile(own?.keyFile ?? '', 'utf8'));
    const tls = { ca: 'file:ca.pem', cert: 'file:own.pem', key: 'file:own.key' };
    const token = await tokenWith(bao, 'probe', policy, { ttl: '2h', renewable: false, no_default_policy: false });
    await probing(await withToken(token.reveal(), { tls }), async (when) => {
      const said = await when('all of it is told', (s) => s('token_expiry_timestamp_seconds') !== undefined);
      const now = Date.now() / 1000;
      const node =
        said('certificate_expiry_timestamp_seconds', { cluster: 'prod', node: `https://${proxy.address}` }) ?? 0;
      expect(Math.abs(node - now - until60)).toBeLessThan(600);
      expect(Math.abs((said('client_certificate_expiry_timestamp_seconds') ?? 0) - now - until60)).toBeLessThan(600);
      const ends = said('token_expiry_timestamp_seconds', { renewable: 'false' }) ?? 0;
      expect(Math.abs(ends - now - 7200)).toBeLessThan(120);
      await proxy.set({ kind: 'refuse' });
      proxy.resetConnections();
      const at = said('probe_timestamp_seconds') ?? 0;
      const gone = await when('it was looked at in vain', (s) => (s('probe_timestamp_seconds') ?? 0) > at + 2);
      expect(gone('certificate_expiry_timestamp_seconds')).toBe(node);
      expect(gone('token_expiry_timestamp_seconds')).toBeDefined();
      await proxy.set({ kind: 'pass' });
    });
  });

  it('is told of a token that can be renewed as such; one that was revoked keeps the end that was seen', async () => {
    const token = await tokenWith(bao, 'probe', policy, { ttl: '3h', renewable: true });
    await probing(await withToken(token.reveal()), async (when) => {
      const said = await when(
        'the token is told',
        (s) => s('token_expiry_timestamp_seconds', { renewable: 'true' }) !== undefined,
      );
      await bao.call('POST', 'auth/token/revoke', { token: token.reveal() });
      const at = said('probe_timestamp_seconds') ?? 0;
      const revoked = await when('it was looked at again', (s) => (s('probe_timestamp_seconds') ?? 0) > at + 3);
      const ends = revoked('token_expiry_timestamp_seconds') ?? 0;
      expect(Math.abs(ends - Date.now() / 1000 - 3 * 3600)).toBeLessThan(120);
    });
  });

  it('is nothing for a token without an end, and no login is made where each run makes its own', async () => {
    await probing(await withToken(bao.rootToken), async (when) => {
      const said = await when('the node is told', (s) => s('certificate_expiry_timestamp_seconds') !== undefined);
      expect(said('token_expiry_timestamp_seconds')).toBeUndefined();
    });
    await world.grant(bao, policy);
    const logins = async (): Promise<number> => {
      const answer = await bao.call('LIST', 'auth/token/accessors');
      return (answer.json as { data: { keys: string[] } }).data.keys.length;
    };
    const before = await logins();
    await probing(await configWith({}), async (when) => {
      const said = await when('the node is told', (s) => s('certificate_expiry_timestamp_seconds') !== undefined);
      const at = said('probe_timestamp_seconds') ?? 0;
      const later = await when('it was looked at again', (s) => (s('probe_timestamp_seconds') ?? 0) > at + 2);
      expect(later('token_expiry_timestamp_seconds')).toBeUndefined();
    });
    expect(await logins()).toBe(before);
  });
});

describe('a worker', () => {
  it('shows what it probes and how long its runs waited for the lease, and says once that a key is dead', async () => {
    await using kms = await startKms();
    const seal = kms.createKey({ region: REGION });
    await using scene = await WorkerScene.open({ backup: { cron: '*/5 * * * * *' } });
    const listen = `127.0.0.1:${await freePort()}`;
    await scene.change((document) => {
      document['worker'] = { listen, probeEvery: '1s' };
      document['serve'] = { refreshEvery: '5s' };
      const clusters = document['clusters'] as Record<string, Record<string, unknown>>;
      const prod = clusters[scene.world.name];
      if (prod === undefined) throw new Error('no cluster');
      const credentials = { accessKeyId: 'env:WORLD_KMS_ID', secretAccessKey: 'env:WORLD_KMS_SECRET' };
      prod['sealKms'] = { keyId: seal, endpoint: kms.url, credentials };
    });
    const worker = scene.worker(PROBE_ENV);
    const shows = async (pattern: RegExp): Promise<void> => {
      await until(`the metrics have ${pattern}; the worker said:\n${worker.stderr.slice(-2000)}`, async () =>
        pattern.test(await (await fetch(`http://${listen}/metrics`)).text()) ? true : undefined,
      );
    };
    await shows(/^strongroom_kms_up\{cluster="prod",key="[^"]+",region="eu-central-1",use="seal"\} 1$/m);
    await shows(/^strongroom_lock_waits_total\{cluster="prod",job="backup"\} [1-9]/m);
    await shows(/^strongroom_lock_wait_seconds_total\{cluster="prod",job="backup"\} \S*[1-9]/m);
    await shows(/^strongroom_newest_backup_bytes\{cluster="prod",destination="a"\} [1-9]\d{3,}$/m);
    await shows(/^strongroom_membership_drift\{cluster="prod"\} 0$/m);
    kms.disableKey(seal);
    await worker.says('a KMS key does not encrypt', ({ cluster, use }) => cluster === 'prod' && use === 'seal');
    await shows(/^strongroom_kms_up\{[^}]*use="seal"\} 0$/m);
    const tries = () =>
      kms.calls.filter(({ operation, outcome }) => operation === 'Encrypt' && outcome !== 'ok').length;
    const before = tries();
    await until('it was tried on', async () => (tries() > before + 3 ? true : undefined));
    expect(worker.count('a KMS key does not encrypt')).toBe(1);
    kms.enableKey(seal);
    await worker.says('a KMS key encrypts again');
    expect(await worker.end()).toMatchObject({ code: 0 });
  });
});
