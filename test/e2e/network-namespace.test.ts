/** What only a network of its own can do to strongroom: lost packets, a black hole, names that vanish. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { failureOf, inBucket, inSpool } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import { NetNamespace, namespacesMissing } from '../support/net-namespace.ts';
import { installsOn, valueAt } from '../support/restore-trial.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { grow } from '../support/seed-bulk.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { type CliResult, runCli } from '../support/strongroom-cli.ts';
import { RESTORE_POLICY, World, worldEnv } from '../support/world.ts';

const VAULT = 8200;
const S3 = 9000;
const KMS = 8080;
const NODE = `http://vault.test:${VAULT}`;
const LOSS = 0.1;

const missing = await namespacesMissing();

describe.skipIf(missing !== '')('strongroom at the end of a wire of its own', () => {
  const stack = new AsyncDisposableStack();
  const bucket = `wire-${randomUUID()}`;
  let cluster: BaoCluster;
  let s3: S3Server;
  let kms: KmsEmulator;
  let net: NetNamespace;
  let world: World;
  let config: string;
  let onSent: (port: number, text: string) => void = () => undefined;

  beforeAll(async () => {
    const seal = { type: 'static', keyId: 'k1', keyHex: '7e'.repeat(32) } as const;
    [cluster, s3, kms] = await Promise.all([
      startCluster({ version: '2.7.2', seal }).then((started) => stack.use(started)),
      sharedServer('versitygw'),
      startKms().then((started) => stack.use(started)),
    ]);
    await s3.createBucket(bucket);
    net = stack.use(
      await NetNamespace.create({
        services: { [VAULT]: cluster.first.url, [S3]: s3.endpoint, [KMS]: kms.url },
        onSent: (port, chunk) => onSent(port, chunk.toString('latin1')),
      }),
    );
    world = stack.use(
      await World.create({
        destinations: { bucket: { type: 's3', server: { ...s3, endpoint: `http://s3.test:${S3}` }, bucket } },
        kms: [{ keyArn: kms.createKey({ region: 'eu-central-1' }), endpoint: `http://kms.test:${KMS}` }],
        cluster: { backup: { attempts: 1 } },
      }),
    );
    await world.grant(cluster, RESTORE_POLICY);
    await grow(cluster, 2 ** 20);
    await cluster.call('POST', 'sys/mounts/kv', { type: 'kv' });
    config = await world.config([NODE]);
  });
  afterAll(() => stack.disposeAsync());

  afterEach(async () => {
    onSent = () => undefined;
    await net.dns('answer');
    await net.heal();
    expect(await inSpool(world)).toEqual([]);
  });

  const strongroom = (command: 'backup' | 'restore'): Promise<CliResult> =>
    runCli([command, '--json', '--config', config, ...(command === 'restore' ? ['--confirm', 'prod'] : [])], {
      env: worldEnv(s3),
      via: net.exec,
    });
  const canary = () => valueAt(cluster.first, cluster.rootToken, 'kv/canary');
  const write = (value: string) => cluster.call('POST', 'kv/canary', { value });

  /** Runs what must end with `exitCode` and change nothing, neither in the bucket nor in the cluster. */
  async function refused(command: 'backup' | 'restore', exitCode: number) {
    const before = await Promise.all([inBucket(s3, bucket), canary(), installsOn(cluster.first)]);
    const result = await strongroom(command);
    expect([result.code, result.stdout]).toEqual([exitCode, '']);
    expect(await Promise.all([inBucket(s3, bucket), canary(), installsOn(cluster.first)])).toEqual(before);
    return failureOf(result);
  }

  describe('one packet of ten is lost, to the node, S3 and KMS, in each direction', () => {
    const everywhere = () => net.lose(LOSS, VAULT, S3, KMS);
    /** how many packets the transfer of a snapshot loses at least, of more than a thousand */
    const MANY = 20;

    it('the backup is complete at its first try, and no upload stays open', async () => {
      await write('in the snapshot');
      await everywhere();
      const result = await strongroom('backup');
      expect([result.code, result.stderr]).toEqual([0, '']);
      expect(JSON.parse(result.stdout)).toMatchObject({ complete: true, missing: [], attempts: 1 });
      expect(await net.lost(VAULT)).toBeGreaterThan(MANY);
      expect(await net.lost(S3)).toBeGreaterThan(MANY);
      expect((await inBucket(s3, bucket)).uploads).toEqual([]);
    });

    it('the restore is proven', async () => {
      await write('written since');
      await everywhere();
      const result = await strongroom('restore');
      expect(result.code).toBe(0);
      expect(JSON.parse(result.stdout)).toMatchObject({ proof: { unexpectedCount: 0 } });
      expect(await net.lost(VAULT)).toBeGreaterThan(MANY);
      expect(await net.lost(S3)).toBeGreaterThan(MANY);
      expect(await canary()).toBe('in the snapshot');
    });
  });

  describe('a black hole', () => {
    it.each(['backup', 'restore'] as const)(
      'before the node, in a %s: no refusal, and told from a node that hangs',
      async (command) => {
        await net.lose(1, VAULT);
        expect(await refused(command, 20)).toMatchObject({
          code: 'E_VAULT_UNREACHABLE',
          message: `no connection within 4000 ms to ${NODE}`,
          hint: expect.stringContaining('check DNS, network policies, firewalls') as string,
        });
        expect(await net.lost(VAULT)).toBeGreaterThan(0);
      },
    );

    it('before KMS: every try is cut short, and Vault is asked for no snapshot', async () => {
      let snapshots = 0;
      onSent = (port, text) => {
        if (port === VAULT && text.includes('/raft/snapshot')) snapshots += 1;
      };
      await net.lose(1, KMS);
      const failure = await refused('backup', 12);
      expect(failure).toMatchObject({
        code: 'E_KEY_UNAVAILABLE',
        message: expect.stringContaining('0 KMS keys') as string,
      });
      expect(JSON.stringify(failure)).toMatch(
        /kms:Encrypt with arn:\S+ in eu-central-1: (KMS cannot be reached|no answer)/,
      );
      expect(snapshots).toBe(0);
    });
  });

  describe('DNS', () => {
    it('knows the name of the node no more: said as such', async () => {
      await net.dns('gone', 'vault.test');
      expect(await refused('restore', 20)).toMatchObject({
        code: 'E_VAULT_UNREACHABLE',
        message: `there is no such host name for ${NODE}`,
        hint: expect.stringContaining('DNS from this machine') as string,
      });
    });

    it('does not answer for it: said as such', async () => {
      await net.dns('silent', 'vault.test');
      expect(await refused('restore', 20)).toMatchObject({
        code: 'E_VAULT_UNREACHABLE',
        message: `DNS does not answer for ${NODE}`,
      });
    });

    it('knows it until a backup is under way: no snapshot is had, and nothing is left', async () => {
      // The last request of preflight: it takes back the upload by which it tried its rights.
      onSent = (port, text) => {
        if (port === S3 && text.startsWith('DELETE ')) void net.dns('gone', 'vault.test');
      };
      expect(await refused('backup', 20)).toMatchObject({
        code: 'E_VAULT_UNREACHABLE',
        message: expect.stringContaining(`there is no such host name for ${NODE}`) as string,
      });
    });
  });
});
