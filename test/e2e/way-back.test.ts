/** Real three-node clusters of both OpenBao versions, backed up to two S3 servers, lost, and brought back. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type BaoCluster, type BaoVersion, startCluster } from '../support/bao-cluster.ts';
import { restartAll } from '../support/bao-restart.ts';
import type { Seal } from '../support/bao-seals.ts';
import { type KmsEmulator, startKms } from '../support/kms-emulator.ts';
import type { S3Server } from '../support/s3-connection.ts';
import { type Seed, verifySeed, writeSeed } from '../support/seed.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { backUp, bringBack } from '../support/strongroom-app.ts';
import { runCli } from '../support/strongroom-cli.ts';
import { World, worldEnv } from '../support/world.ts';

type Case = { version: BaoVersion; name: string; seal: (kms: KmsEmulator) => Seal };

const staticKey = randomBytes(32).toString('hex');
const CASES: Case[] = [
  {
    version: '2.6.2',
    name: 'awskms',
    seal: (kms) => ({
      type: 'awskms',
      endpoint: kms.url,
      keyId: kms.createKey({ region: 'eu-central-1' }),
      region: 'eu-central-1',
    }),
  },
  { version: '2.7.2', name: 'static', seal: () => ({ type: 'static', keyId: 'k1', keyHex: staticKey }) },
  { version: '2.7.2', name: 'shamir', seal: () => ({ type: 'shamir', shares: 3, threshold: 2 }) },
];

describe.each(CASES)('OpenBao $version, seal $name', ({ version, name, seal: sealOf }) => {
  let kms: KmsEmulator;
  let stores: { first: S3Server; second: S3Server };
  let world: World;
  let source: BaoCluster;
  let target: BaoCluster | undefined;
  let seed: Seed;
  let sourceToken: string;
  let sourceShares: readonly string[];
  let seal: Seal;
  let env: Record<string, string>;

  beforeAll(async () => {
    kms = await startKms();
    const first = await sharedServer('versitygw');
    // Two makes of S3 where the machine can run both.
    const second = inject('localStackMissing') === '' ? await sharedServer('localstack') : first;
    stores = { first, second };
    const bucket = `way-back-${randomUUID()}`;
    await first.createBucket(bucket, { versioning: true });
    const secondBucket = `${bucket}-2`;
    await second.createBucket(secondBucket, { versioning: true });
    seal = sealOf(kms);
    source = await startCluster({ version, nodes: 3, idPrefix: 'source-', seal });
    sourceToken = source.rootToken;
    sourceShares = source.unsealShares;
    world = await World.create({
      destinations: {
        first: { type: 's3', server: stores.first, bucket },
        second: { type: 's3', server: stores.second, bucket: secondBucket },
      },
      kms: ['eu-central-1', 'eu-west-1'].map((region) => ({ keyArn: kms.createKey({ region }), endpoint: kms.url })),
      ...(seal.type === 'awskms' ? { sealKms: { keyArn: seal.keyId, endpoint: kms.url } } : {}),
    });
    // LocalStack accepts any credentials, so those of the other server do for both.
    env = worldEnv(stores.first);
    seed = await writeSeed(source);
    await world.grant(source);
    await world.config(source.nodes.map(({ url }) => url));
  });
  afterAll(async () => {
    await target?.[Symbol.asyncDispose]();
    await source?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await kms?.[Symbol.asyncDispose]();
  });

  const strongroom = (args: readonly string[], input?: string) =>
    runCli([...args, '--config', `${world.directory}/strongroom.yaml`], {
      env,
      ...(input === undefined ? {} : { input }),
    });

  it('is backed up to both destinations, each copy proven by the checksum that the store computed', async () => {
    const result = await strongroom(['backup', '--json']);
    expect(result.stderr).toBe('');
    expect(result.code).toBe(0);
    const { manifest, complete } = JSON.parse(result.stdout) as {
      manifest: Record<string, unknown>;
      complete: boolean;
    };
    expect(complete).toBe(true);
    expect(manifest).toMatchObject({
      archive: {
        product: 'openbao',
        productVersion: version,
        seal: { type: name, sealedSums: 'present' },
        raft: { servers: [{ suffrage: 'voter' }, { suffrage: 'voter' }, { suffrage: 'voter' }] },
        state: { namespaces: 2 },
      },
      destinations: [
        { name: 'first', status: 'stored', proof: 'checksum' },
        { name: 'second', status: 'stored', proof: 'checksum' },
      ],
    });
  });

  it('can be verified in full where it is stored, and inspected without any key', async () => {
    const verified = await strongroom(['snapshots', 'verify', 'latest', '--json']);
    expect(JSON.parse(verified.stdout)).toMatchObject({
      copies: [
        { destination: 'first', level: 'archive', error: null },
        { destination: 'second', level: 'archive', error: null },
      ],
    });
    const inspected = await strongroom(['inspect', 'latest', '--json']);
    expect(JSON.parse(inspected.stdout)).toMatchObject({
      kind: 'manifest',
      manifest: { archive: { seal: { type: name } } },
    });
  });

  it('comes back into a fresh cluster with other keys, where everything reads as before', async () => {
    await Promise.all(source.nodes.map((node) => node.kill()));
    // Shamir shares are made anew here; an auto seal must have the key that the snapshot was sealed with.
    target = await startCluster({ version, nodes: 3, idPrefix: 'target-', seal, initialise: false });
    await target.initialiseFirst();
    const targetToken = await world.write('target-token', target.rootToken);
    await world.config(target.nodes.map(({ url }) => url));
    const common = ['restore', '--snapshot', 'latest', '--target-token', `file:${targetToken}`, '--json'];

    const unconfirmed = await strongroom(common);
    expect(unconfirmed.code).toBe(14);
    expect(await verifySeed(target, target.rootToken, seed)).not.toEqual([]);

    const args = [...common, '--confirm', 'prod', ...(name === 'shamir' ? ['--shares', 'stdin'] : [])];
    const result = await strongroom(args, name === 'shamir' ? sourceShares.join('\n') : undefined);
    expect(result.stderr).not.toContain('"error"');
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      plan: { force: true },
      proof: { unexpected: [], unexpectedCount: 0 },
    });

    target.adopt(sourceToken, sourceShares);
    if (name !== 'shamir') expect(result.stdout).toContain('restart this node before others join it');
    await target.restartFirst();
    await target.joinOthers();
    expect(await verifySeed(target, sourceToken, seed)).toEqual([]);
  });

  it('and can be backed up again as the cluster that it was', async () => {
    const result = await strongroom(['job', 'run', 'backup', '--json']);
    expect(result.code).toBe(0);
    const listed = await strongroom(['snapshots', 'list', '--json']);
    const { snapshots } = JSON.parse(listed.stdout) as { snapshots: { missing: string[] }[] };
    // The backup, what the fresh cluster held before the restore, and the backup after it.
    expect(snapshots.map(({ missing }) => missing)).toEqual([[], [], []]);
  });
});

describe('a restore into three nodes that are all running', () => {
  it('says which nodes to restart, and they serve the snapshot once that is done', async () => {
    const seal: Seal = { type: 'static', keyId: 'k1', keyHex: staticKey };
    await using kms = await startKms();
    await using world = await World.create({
      destinations: { only: { type: 'directory', path: 'only' } },
      kms: [{ keyArn: kms.createKey({ region: 'eu-central-1' }), endpoint: kms.url }],
    });
    await mkdir(join(world.directory, 'only'));
    await using source = await startCluster({ version: '2.7.2', seal });
    const seed = await writeSeed(source, { parts: ['kv1', 'kv2', 'policies'] });
    await world.grant(source);
    const configFile = await world.config(source.nodes.map(({ url }) => url));
    const app = { configFile, env: worldEnv({ accessKeyId: '', secretAccessKey: '' }) };
    await backUp(app);
    await source.first.kill();

    await using target = await startCluster({ version: '2.7.2', nodes: 3, idPrefix: 'target-', seal });
    await world.config(target.nodes.map(({ url }) => url));
    const result = await bringBack(app, { targetToken: target.rootToken });
    expect(result.complete).toBe(false);
    const problems = result.voters.flatMap(({ problem }) => problem ?? []);
    expect(problems).toEqual(Array(3).fill(expect.stringMatching(/^not seen to restart since the install: /)));
    expect(problems.join()).toContain('last, when the others are back');
    // The trap itself: a standby still has no idea of the mounts that came back.
    const [standby] = await target.standbys();
    const seen = await standby?.request('GET', 'sys/mounts', { token: source.rootToken });
    expect(JSON.stringify(seen?.json)).not.toContain('seed-kv');

    await restartAll(target, []);
    for (const node of target.nodes) {
      const mounts = await node.request('GET', 'sys/mounts', { token: source.rootToken });
      expect(JSON.stringify(mounts.json)).toContain('seed-kv');
    }
    expect(await verifySeed(target, source.rootToken, seed)).toEqual([]);
  });
});
