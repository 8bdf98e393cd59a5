/** Probes on a real KMS interface that fails in every way, on real nodes with TLS, and on a cluster whose members change. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { parseClusterName } from '../../src/core/ids.ts';
import { silentLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import type { Sample } from '../../src/observe/exposition.ts';
import { vaultPolicy } from '../../src/policy/vault.ts';
import { Prober, type ProberOptions } from '../../src/probe/prober.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { freePort } from '../support/process.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { until } from '../support/until.ts';
import { tokenWith } from '../support/vault-client.ts';
import { WorkerScene } from '../support/worker-scene.ts';
import { World, worldEnv } from '../support/world.ts';

const DAY = 86_400;
const REGION = 'eu-central-1';
const SAYS_NOTHING = { accessKeyId: '', secretAccessKey: '' };

/** What a prober says, by name without the prefix, and labels. */
type Said = (name: string, labels?: Record<string, string>) => number | undefined;
const saidBy =
  (samples: readonly Sample[]): Said =>
  (name, labels = {}) =>
    samples.find(
      (one) =>
        one.name === `strongroom_${name}` && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
    )?.value;

/** A prober that runs while `test` does. It ends with everything closed. */
async function probing(
  file: string,
  test: (until: (what: string, fits: (said: Said) => boolean) => Promise<Said>, prober: Prober) => Promise<void>,
  change: Partial<ProberOptions> = {},
): Promise<void> {
  const config = await loadConfig(file, { env: worldEnv(SAYS_NOTHING) });
  const prober = new Prober({ config, clock: systemClock, log: silentLog, confirmMs: 200, ...change });
  const over = new AbortController();
  const running = prober.run(over.signal);
  try {
    await test(
      (what, fits) =>
        until(
          what,
          async () => {
            const said = saidBy(prober.samples(new Date()));
            return fits(said) ? said : undefined;
          },
          { timeoutMs: 60_000 },
        ),
      prober,
    );
  } finally {
    over.abort();
    prober.close();
    await running;
  }
}

describe('keys', () => {
  let kms: KmsEmulator;
  let proxy: FaultProxy;
  let world: World;
  let seal: string;
  let wrap: string;
  let file: string;
  const idOf = (arn: string): string => arn.split('/')[1] ?? '';

  beforeAll(async () => {
    kms = await startKms();
    proxy = await startFaultProxy(kms.url);
  });
  afterEach(async () => {
    kms.heal();
    kms.revoke('writer');
    await proxy.set({ kind: 'pass' });
    await world[Symbol.asyncDispose]();
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await kms[Symbol.asyncDispose]();
  });

  /** Two new keys, the seal's behind the proxy, of a cluster that nobody answers for. */
  async function open(): Promise<void> {
    seal = kms.createKey({ region: REGION });
    wrap = kms.createKey({ region: REGION });
    world = await World.create({
      destinations: { a: { type: 'directory', path: 'a' } },
      kms: [{ keyArn: wrap, endpoint: kms.url }],
      sealKms: { keyArn: seal, endpoint: proxy.url },
    });
    await world.write('role-id', 'r');
    await world.write('secret-id', 's');
    const text = await world.config(['http://127.0.0.1:1']);
    file = await world.write('probed.yaml', `${await readFile(text, 'utf8')}worker: { probeEvery: 1s }\n`);
  }
  const bothUp = (said: Said): boolean =>
    said('kms_up', { use: 'seal' }) === 1 && said('kms_up', { use: 'wrap' }) === 1;

  it('are encrypted with as the policy allows, and nothing else is done with them', async () => {
    await open();
    kms.clearCalls();
    await probing(file, async (when) => {
      const said = await when(
        'both keys are up and known',
        (s) => bothUp(s) && s('kms_key_state', { use: 'wrap' }) === 1 && s('kms_key_state', { use: 'seal' }) === 1,
      );
      expect(said('kms_up', { cluster: 'prod', key: idOf(seal), region: REGION, use: 'seal' })).toBe(1);
      expect(said('kms_key_state', { use: 'seal', state: 'Enabled' })).toBe(1);
      expect(said('kms_key_deletion_seconds')).toBeUndefined();
      const age = Date.now() / 1000 - (said('kms_last_success_timestamp_seconds', { use: 'seal' }) ?? 0);
      expect(age).toBeLessThan(30);
      await until('each was tried three times', async () =>
        kms.calls.filter(({ operation, keyArn }) => operation === 'Encrypt' && keyArn === seal).length >= 3
          ? true
          : undefined,
      );
    });
    expect(new Set(kms.calls.map(({ operation }) => operation))).toEqual(new Set(['Encrypt', 'DescribeKey']));
    const contexts = (arn: string) =>
      kms.calls.find((call) => call.keyArn === arn && call.operation === 'Encrypt')?.context;
    expect(contexts(seal)).toEqual({ cluster: 'prod', snapshot: 'seal-probe' });
    expect(contexts(wrap)).toEqual({ cluster: 'prod', snapshot: 'key-probe' });
    // A healthy key is asked for its state once in a while, not each time.
    expect(kms.calls.filter(({ operation, keyArn }) => operation === 'DescribeKey' && keyArn === seal)).toHaveLength(1);
  });

  it('are dead one by one when disabled, and alive again when enabled; the last success stays where it was', async () => {
    await open();
    await probing(file, async (when) => {
      const good = await when('both are up', bothUp);
      kms.disableKey(seal);
      const dead = await when('the seal key is dead', (s) => s('kms_up', { use: 'seal' }) === 0);
      await when('its state is told', (s) => s('kms_key_state', { use: 'seal', state: 'Disabled' }) === 1);
      expect(dead('kms_up', { use: 'wrap' })).toBe(1);
      const success = dead('kms_last_success_timestamp_seconds', { use: 'seal' }) ?? 0;
      expect(success).toBeGreaterThanOrEqual(good('kms_last_success_timestamp_seconds', { use: 'seal' }) ?? 0);
      const later = await when(
        'the other key is tried on',
        (s) => (s('kms_last_success_timestamp_seconds', { use: 'wrap' }) ?? 0) > success + 2,
      );
      expect(later('kms_last_success_timestamp_seconds', { use: 'seal' })).toBe(success);
      kms.enableKey(seal);
      const back = await when(
        'both are up again',
        (s) => bothUp(s) && s('kms_key_state', { use: 'seal', state: 'Enabled' }) === 1,
      );
      expect(back('kms_key_state', { use: 'seal', state: 'Disabled' })).toBeUndefined();
    });
  });

  it('that wait for their deletion are dead, with the time that is left; and it is over when it is cancelled', async () => {
    await open();
    await probing(file, async (when) => {
      await when('both are up', bothUp);
      kms.scheduleKeyDeletion(wrap, 7);
      const pending = { use: 'wrap', state: 'PendingDeletion' };
      const said = await when('the deletion is told', (s) => s('kms_key_state', pending) === 1);
      expect(said('kms_up', { use: 'wrap' })).toBe(0);
      const left = said('kms_key_deletion_seconds', { use: 'wrap' }) ?? 0;
      expect(left).toBeGreaterThan(7 * DAY - 60);
      expect(left).toBeLessThanOrEqual(7 * DAY);
      kms.cancelKeyDeletion(wrap);
      kms.enableKey(wrap);
      const back = await when('it is up again', (s) => bothUp(s) && s('kms_key_state', pending) === undefined);
      expect(back('kms_key_deletion_seconds')).toBeUndefined();
    });
  });

  it('have no state where the login may not ask, and are alive all the same', async () => {
    await open();
    kms.grant('writer', ['Encrypt'], seal);
    kms.grant('writer', ['Encrypt'], wrap);
    await probing(file, async (when) => {
      const said = await when('both are up', bothUp);
      expect(said('kms_key_state')).toBeUndefined();
      kms.revoke('writer');
      kms.grant('writer', ['DescribeKey'], seal);
      await when('who may only look is told as dead', (s) => s('kms_up', { use: 'seal' }) === 0);
      await when('and what it looks like', (s) => s('kms_key_state', { use: 'seal', state: 'Enabled' }) === 1);
    });
  });

  it.each([
    ['is cut off', { kind: 'refuse' }],
    ['says nothing', { kind: 'hang' }],
  ] as const)(
    'are dead when KMS %s, without holding up the others, and come back by themselves',
    async (_how, fault) => {
      await open();
      await probing(
        file,
        async (when) => {
          const good = await when('both are up', bothUp);
          await proxy.set(fault);
          proxy.resetConnections();
          const before = good('kms_last_success_timestamp_seconds', { use: 'wrap' }) ?? 0;
          const dead = await when('the seal key is dead', (s) => s('kms_up', { use: 'seal' }) === 0);
          expect(dead('kms_up', { use: 'wrap' })).toBe(1);
          const at = dead('probe_timestamp_seconds') ?? 0;
          await when('probes go on', (s) => (s('probe_timestamp_seconds') ?? 0) > at);
          await when(
            'the other is tried on',
            (s) => (s('kms_last_success_timestamp_seconds', { use: 'wrap' }) ?? 0) > before,
          );
          await proxy.set({ kind: 'pass' });
          proxy.resetConnections();
          await when('both are up again', bothUp);
        },
        { limitMs: 3_000 },
      );
    },
  );

  it('survive a single lost request: it is tried again before it is believed', async () => {
    await open();
    await probing(file, async (when, prober) => {
      await when('both are up', bothUp);
      // The SDK itself tries three times.
      const fault = kms.fail({ operation: 'Encrypt', keyId: seal, with: 500, times: 3 });
      await until('the requests were lost, and it was tried again', async () => {
        expect(saidBy(prober.samples(new Date()))('kms_up', { use: 'seal' })).toBe(1);
        const last = kms.calls.findLast(({ operation, keyArn }) => operation === 'Encrypt' && keyArn === seal);
        return fault.hits === 3 && last?.outcome === 'ok' ? true : undefined;
      });
    });
  });

  it('of many clusters are tried a few at a time, and each has its turn though KMS hangs', async () => {
    await open();
    const document = parse(await readFile(file, 'utf8')) as { clusters: Record<string, unknown> };
    const names = Array.from({ length: 20 }, (_, i) => `c${i}`);
    document.clusters = Object.fromEntries(names.map((name) => [name, document.clusters['prod']]));
    file = await world.write('many.yaml', stringify(document));
    await proxy.set({ kind: 'hang' });
    const limitMs = 2_000;
    const begun = performance.now();
    await probing(
      file,
      async (_when, prober) => {
        await until(
          'every cluster was probed',
          async () => {
            const said = saidBy(prober.samples(new Date()));
            const isDead = (name: string): boolean => said('kms_up', { cluster: name, use: 'seal' }) === 0;
            const isAlive = (name: string): boolean => said('kms_up', { cluster: name, use: 'wrap' }) === 1;
            return names.every((name) => isDead(name) && isAlive(name)) ? true : undefined;
          },
          { timeoutMs: 60_000, everyMs: 10 },
        );
      },
      { limitMs },
    );
    // Each holds its place until the limit: 20 of them take three turns, and one after the other would take twenty.
    const turns = (performance.now() - begun) / limitMs;
    expect(turns).toBeGreaterThanOrEqual(2.9);
    expect(turns).toBeLessThan(15);
  });

  it('that another config names are known from the next probe on, and what is known of the others stays', async () => {
    await open();
    await probing(file, async (when, prober) => {
      await when('both are up', bothUp);
      const third = kms.createKey({ region: REGION });
      const next = await world.write('next.yaml', (await readFile(file, 'utf8')).replaceAll(wrap, third));
      prober.reconfigure(await loadConfig(next, { env: worldEnv(SAYS_NOTHING) }));
      const said = saidBy(prober.samples(new Date()));
      expect(said('kms_up', { use: 'seal' })).toBe(1);
      expect(said('kms_up', { use: 'wrap' })).toBeUndefined();
      const found = await when('the new key is up', (s) => s('kms_up', { key: idOf(third) }) === 1);
      expect(found('kms_up', { key: idOf(wrap) })).toBeUndefined();
    });
  });
});

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

describe('members', () => {
  it('that change between two backups are critical, until a window or the inventory declares it', async () => {
    await using bao = await startCluster({ version: '2.7.2', nodes: 3 });
    await using world = await World.create({ destinations: { a: { type: 'directory', path: 'a' } } });
    await mkdir(join(world.directory, 'a'));
    await world.grant(bao);
    const nodes = bao.nodes.map(({ url }) => url);
    const configured = (change: Record<string, unknown> = {}) => world.config(nodes, change);
    const check = async (change: Record<string, unknown> = {}) =>
      await runCli(['check', '--max-age', '8h', '--config', await configured(change)]);
    const backup = async () => {
      const made = await runCli(['backup', '--config', await configured()]);
      expect(made).toMatchObject({ code: 0 });
      return made.stdout + made.stderr;
    };
    await backup();
    await backup();
    expect(await check()).toMatchObject({ code: 0 });

    const [leaver] = await bao.standbys();
    if (leaver === undefined) throw new Error('no standby');
    const begun = new Date();
    await bao.call('POST', 'sys/storage/raft/remove-peer', { server_id: leaver.id });
    expect(await backup()).toMatch(new RegExp(`raft member ${leaver.id} at \\S+ is gone since the last snapshot`));
    const found = await check();
    expect(found.code).toBe(2);
    expect(found.stdout).toMatch(new RegExp(`^CRITICAL - prod: raft member ${leaver.id} at \\S+ is gone since 20`));
    // One backup later it is still told: whoever looks once a day must see it, too.
    await backup();
    expect(await check()).toMatchObject({ code: 2 });

    const minute = (n: number): string => new Date(begun.getTime() + n * 60_000).toISOString();
    expect(await check({ membershipWindows: [{ from: minute(-1), to: minute(1) }] })).toMatchObject({ code: 0 });
    expect(await check({ membershipWindows: [{ from: minute(-60), to: minute(-30) }] })).toMatchObject({ code: 2 });

    const answer = await bao.call('GET', 'sys/storage/raft/configuration');
    const { servers } = (answer.json as { data: { config: { servers: { node_id: string; address: string }[] } } }).data
      .config;
    const members = servers.map(({ node_id: id, address }) => ({ id, address }));
    expect(members).toHaveLength(2);
    expect(await check({ members })).toMatchObject({ code: 0 });
    const moved = members.map(({ id }, i) => ({ id, address: `10.0.0.${i}:8201` }));
    const other = await check({ members: moved });
    expect(other.code).toBe(2);
    expect(other.stdout).toContain('but the inventory says 10.0.0.0:8201');
  }, 300_000);
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
    const worker = scene.worker(worldEnv(SAYS_NOTHING));
    const shows = async (pattern: RegExp): Promise<void> => {
      await until(
        `the metrics have ${pattern}; the worker said:\n${worker.stderr.slice(-2000)}`,
        async () => (pattern.test(await (await fetch(`http://${listen}/metrics`)).text()) ? true : undefined),
        { timeoutMs: 60_000 },
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
    await until('it was tried on', async () => (tries() > before + 3 ? true : undefined), { timeoutMs: 60_000 });
    expect(worker.count('a KMS key does not encrypt')).toBe(1);
    kms.enableKey(seal);
    await worker.says('a KMS key encrypts again');
    expect(await worker.end()).toMatchObject({ code: 0 });
  });
});
