/** doctor on real servers: a healthy set-up has no problem; every problem is caused once, and found by its name with its fix. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { clusterConfig } from '../../src/config/cluster-config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { encryptionChecks } from '../../src/doctor/encryption-checks.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { runChecks } from '../../src/doctor/run-checks.ts';
import { bucketPolicy } from '../../src/policy/bucket-policy.ts';
import { bucketsOf } from '../../src/policy/buckets.ts';
import { DoctorSite, type SiteConfig } from '../support/doctor-site.ts';
import { startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { createPki } from '../support/pki.ts';
import { startRedis } from '../support/redis-server.ts';
import { s3Client } from '../support/s3-connection.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { runCli, runJson } from '../support/strongroom-cli.ts';
import { worldEnv } from '../support/world.ts';

let site: DoctorSite;
beforeAll(async () => {
  site = await DoctorSite.open();
});
afterAll(() => site?.[Symbol.asyncDispose]());

const problems = (found: readonly Finding[]): Finding[] => found.filter(({ status }) => status === 'problem');
const about = (found: readonly Finding[], what: string): Finding[] => found.filter((one) => one.what === what);
/** The only problem there is; fails with all of them when there are more. */
function onlyProblem(found: readonly Finding[]): Finding {
  const all = problems(found);
  expect(all.map(({ what, detail }) => `${what}: ${detail}`)).toHaveLength(1);
  const [one] = all;
  if (one === undefined) throw new Error('unreachable');
  expect(one.fix).not.toBeNull();
  return one;
}

/** Everything in the buckets, versions and delete markers and uploads too, and in the folder. */
async function leftovers(): Promise<string[]> {
  const left: string[] = [];
  const client = s3Client(site.s3);
  try {
    for (const Bucket of Object.values(site.buckets)) {
      const versions = await client.send(new ListObjectVersionsCommand({ Bucket }));
      left.push(
        ...[...(versions.Versions ?? []), ...(versions.DeleteMarkers ?? [])].map(({ Key }) => `${Bucket} ${Key}`),
      );
      const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
      left.push(...(Uploads ?? []).map(({ Key }) => `upload ${Bucket} ${Key}`));
    }
  } finally {
    client.destroy();
  }
  const files = await readdir(site.folder, { recursive: true, withFileTypes: true });
  left.push(...files.filter((file) => file.isFile()).map(({ name }) => name));
  const spool = await readdir(site.world.spool, { recursive: true });
  return [...left, ...spool];
}

describe('a healthy set-up', () => {
  let found: Finding[];
  beforeAll(async () => {
    found = await site.diagnose(null);
  });

  it('has no problem, and every area is looked at', () => {
    expect(problems(found)).toEqual([]);
    expect(new Set(found.map(({ area }) => area))).toEqual(
      new Set(['config', 'vault', 'kms', 'destinations', 'encryption', 'queue', 'notifications']),
    );
  });

  it('is said to be good by what was really tried', () => {
    const good = new Set(found.flatMap(({ what, status }) => (status === 'ok' ? [what] : [])));
    for (const what of [
      'policy',
      'too many rights',
      `node ${site.cluster.first.url}`,
      `certificate of ${site.cluster.first.url}`,
      `key ${site.wrapKey}, wrap`,
      `seal key ${site.sealKey}`,
      'signing key',
      'locked, upload',
      'locked, object lock',
      'locked, If-None-Match',
      'locked, If-Match',
      'locked, checksums',
      'locked, clock',
      'plain, get',
      'folder, write',
      'recipients of prod',
      'queue, eviction',
      'queue, rights',
      'time zones',
      `spool ${site.world.spool}, writing`,
    ]) {
      expect([...good], what).toContain(what);
    }
  });

  it('is left as it was: no object, version, marker, upload or file', async () => {
    expect(await leftovers()).toEqual([]);
    expect(about(found, 'locked, probe objects')).toMatchObject([{ status: 'ok' }]);
  });

  it('gives the CLI exit code 0, a table by area and a last line', async () => {
    const file = await site.write();
    const { code, stdout, stderr } = await runCli(['doctor', '-c', file, '--only', 'vault'], { env: site.env() });
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^VAULT +WHAT +SAYS\n/);
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(/^\d+ warnings?, \d+ unknown, \d+ ok; first vault, /);
  });
});

describe('vault', () => {
  const policy = async (text: string): Promise<void> => {
    await site.cluster.call('PUT', 'sys/policies/acl/strongroom', { policy: text });
  };
  const READ_MEMBERS = 'path "sys/storage/raft/configuration" { capabilities = ["read"] }\n';
  const READ_SNAPSHOT = 'path "sys/storage/raft/snapshot" { capabilities = ["read"] }\n';
  afterEach(async () => await policy(READ_MEMBERS + READ_SNAPSHOT));

  it('names the line that is missing', async () => {
    await policy(READ_MEMBERS);
    expect(onlyProblem(await site.diagnose('vault'))).toMatchObject({
      what: 'policy',
      detail: expect.stringContaining('may not read sys/storage/raft/snapshot') as string,
      fix: 'add to its policy: path "sys/storage/raft/snapshot" { capabilities = ["read"] }',
    });
  });

  it('also where the right is missing that proves a node', async () => {
    await policy(READ_SNAPSHOT);
    const found = await site.diagnose('vault');
    expect(onlyProblem(found)).toMatchObject({
      what: 'policy',
      fix: 'add to its policy: path "sys/storage/raft/configuration" { capabilities = ["read"] }',
    });
    expect(about(found, 'members')).toMatchObject([{ status: 'unknown' }]);
  });

  it('finds rights that no backup needs', async () => {
    await policy(
      `${READ_MEMBERS}path "sys/storage/raft/snapshot" { capabilities = ["read", "update"] }\npath "sys/policies/acl/*" { capabilities = ["update"] }\n`,
    );
    const found = await site.diagnose('vault');
    expect(onlyProblem(found)).toMatchObject({
      what: 'too many rights',
      detail:
        'the token can write policies, so it can give itself everything (update on sys/policies/acl/strongroom-doctor-probe)',
      fix: expect.stringContaining('strongroom policy vault') as string,
    });
    expect(about(found, 'too many rights').map(({ detail }) => detail)).toContainEqual(
      expect.stringContaining('replace the whole database'),
    );
  });

  it('finds a wildcard, and the secrets that it reads', async () => {
    await site.cluster.call('POST', 'sys/mounts/team', { type: 'kv', options: { version: '2' } });
    await policy('path "*" { capabilities = ["read", "list"] }');
    const said = about(await site.diagnose('vault'), 'too many rights').map(({ detail }) => detail);
    expect(said).toContain('the token can read secrets of team/; no backup needs that');
    expect(said.join()).toContain('a wildcard');
  });

  it('finds a root token', async () => {
    const token = await site.world.write('root-token', site.cluster.rootToken);
    const asRoot = (config: SiteConfig): void => {
      config.clusters.prod.auth = { method: 'token', token: `file:${token}` };
    };
    expect(onlyProblem(await site.diagnose('vault', asRoot))).toMatchObject({
      what: 'token',
      detail: expect.stringContaining('root token') as string,
    });
  });

  it('finds a CA that did not sign', async () => {
    const other = await createPki(join(site.world.directory, 'other-pki'));
    const found = await site.diagnose('vault', (config) => {
      config.clusters.prod.tls = { ca: `file:${other.caFile}` };
    });
    expect(onlyProblem(found)).toMatchObject({
      what: `node ${site.cluster.first.url}`,
      detail: expect.stringMatching(/^E_VAULT_TLS: .*not signed by a CA/) as string,
      fix: expect.stringContaining('tls.ca') as string,
    });
    expect(about(found, 'login to prod')).toMatchObject([{ status: 'unknown' }]);
  });

  it('finds a stranger among the members', async () => {
    const found = await site.diagnose('vault', (config) => {
      config.clusters.prod['members'] = [{ id: 'other', address: '127.0.0.1:1' }];
    });
    expect(problems(found).map(({ what }) => what)).toEqual(['members', 'members']);
  });

  it('finds a clock that is ten minutes off', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date(Date.now() - 10 * 60_000) });
    try {
      const found = await site.diagnose('vault');
      expect(onlyProblem(found)).toMatchObject({
        what: `node ${site.cluster.first.url}, clock`,
        detail: expect.stringMatching(/^its clock is 10m.* ahead of/) as string,
      });
    } finally {
      vi.useRealTimers();
    }
  });

  it('finds a sealed node', async () => {
    await site.cluster.call('PUT', 'sys/seal');
    try {
      expect(onlyProblem(await site.diagnose('vault'))).toMatchObject({
        what: `node ${site.cluster.first.url}`,
        detail: expect.stringContaining('is sealed') as string,
        fix: expect.stringContaining('operator unseal') as string,
      });
    } finally {
      for (const key of site.cluster.unsealShares.slice(0, 2))
        await site.cluster.first.call('PUT', 'sys/unseal', { body: { key } });
      await site.cluster.waitActive();
    }
  });
});

describe('kms', () => {
  afterEach(() => {
    site.kms.enableKey(site.wrapKey);
    site.kms.enableKey(site.sealKey);
    site.kms.revoke('writer');
    site.kms.heal();
  });

  it('finds a disabled key, and says so once for each use', async () => {
    site.kms.disableKey(site.wrapKey);
    const found = problems(await site.diagnose('kms'));
    expect(found.map(({ what }) => what)).toEqual([`key ${site.wrapKey}, state`, `key ${site.wrapKey}, wrap`]);
    expect(found[0]?.fix).toContain('aws kms enable-key');
    // Not again as a matter of the recipients.
    expect(problems(await site.diagnose('encryption'))).toEqual([]);
  });

  it('finds a key that is waiting for its deletion, with the date', async () => {
    site.kms.scheduleKeyDeletion(site.wrapKey, 7);
    const [state] = problems(await site.diagnose('kms'));
    expect(state?.detail).toMatch(/will be deleted on \d{4}-/);
    expect(state?.fix).toContain('cancel-key-deletion');
    site.kms.cancelKeyDeletion(site.wrapKey);
  });

  it('takes a login that may only encrypt for a good one, and says which', async () => {
    site.kms.grant('writer', ['Encrypt']);
    const found = await site.diagnose('kms');
    expect(problems(found)).toEqual([]);
    expect(about(found, `key ${site.wrapKey}, wrap`)).toMatchObject([
      { status: 'ok', detail: expect.stringContaining('may not open it') as string },
    ]);
    expect(about(found, `key ${site.wrapKey}, state`)).toMatchObject([{ status: 'unknown' }]);
  });

  it('finds that the seal cannot use its key', async () => {
    site.kms.disableKey(site.sealKey);
    expect(onlyProblem(await site.diagnose('kms')).what).toBe(`seal key ${site.sealKey}`);
  });

  it('finds the key of the seal among those that wrap, as the newest snapshot tells it', async () => {
    const config = await loadConfig(await site.write(), { env: site.env() });
    const clusters = [clusterConfig(config, 'prod')];
    const found = await runChecks(
      encryptionChecks(clusters, () => Promise.resolve([site.wrapKey])),
      new AbortController().signal,
    );
    expect(onlyProblem(found)).toMatchObject({
      what: 'recipients of prod',
      detail: `E_KEY_REFUSED: ${site.wrapKey} also unseals the cluster`,
    });
  });

  it('gives up on a region that hangs, and tells the others', async () => {
    site.kms.fail({ operation: 'Encrypt', keyId: site.wrapKey, with: 'hang' });
    const found = await site.diagnose('kms');
    expect(onlyProblem(found).what).toBe(`key ${site.wrapKey}, wrap`);
    expect(about(found, `seal key ${site.sealKey}`)).toMatchObject([{ status: 'ok' }]);
  });

  it('finds a signing key that nobody trusts', async () => {
    const { generateSigningKey } = await import('../../src/crypt/generate.ts');
    const { publicKeyPem } = generateSigningKey();
    const pem = await site.world.write('trusted.pem', publicKeyPem);
    const found = await site.diagnose('kms', (config) => {
      config.signing['trusted'] = [`file:${pem}`];
    });
    expect(onlyProblem(found)).toMatchObject({
      what: 'signing key',
      detail: expect.stringContaining('none of the 1 trusted keys') as string,
      fix: expect.stringContaining('signing.trusted') as string,
    });
  });
});

describe('destinations', () => {
  const onlyPlain = (config: SiteConfig): void => {
    config.clusters.prod['destinations'] = ['plain'];
  };
  afterEach(async () => {
    site.proxy.clear();
    expect(await leftovers()).toEqual([]);
  });

  it('finds a lock that the bucket cannot keep', async () => {
    const found = await site.diagnose('destinations', (config) => {
      onlyPlain(config);
      if (config.destinations['plain'] !== undefined) {
        config.destinations['plain']['objectLock'] = { mode: 'governance', keep: '1h' };
      }
    });
    expect(problems(found).map(({ what }) => what)).toContain('plain, object lock');
    expect(about(found, 'plain, object lock')[0]?.fix).toContain('object lock enabled');
  });

  it('finds a missing bucket, once, and the others all the same', async () => {
    const found = await site.diagnose('destinations', (config) => {
      if (config.destinations['plain'] !== undefined) config.destinations['plain']['bucket'] = 'not-there-at-all';
    });
    expect(onlyProblem(found)).toMatchObject({
      what: 'plain, list',
      detail: expect.stringContaining('there is no bucket "not-there-at-all"') as string,
    });
    expect(about(found, 'locked, put')).toMatchObject([{ status: 'ok' }]);
  });

  it('finds a store that is not there within seconds', async () => {
    const found = await site.diagnose('destinations', (config) => {
      onlyPlain(config);
      if (config.destinations['plain'] !== undefined) config.destinations['plain']['endpoint'] = 'http://127.0.0.1:1';
    });
    expect(onlyProblem(found).detail).toContain('connection refused');
  });

  it('waits seconds for a store that is silent, not minutes', async () => {
    site.proxy.rule({ path: new RegExp(site.buckets.plain), fault: { kind: 'hold-answer' } });
    const began = performance.now();
    expect(onlyProblem(await site.diagnose('destinations', onlyPlain)).what).toBe('plain, list');
    expect(performance.now() - began).toBeLessThan(25_000);
  });

  it('finds a login that may not write', async () => {
    const reads = { action: ['s3:ListBucket', 's3:GetObject'], arn: `arn:aws:s3:::${site.buckets.plain}` };
    await putPolicy([
      { Effect: 'Allow', Principal: { AWS: ['backup'] }, Action: ['s3:ListBucket'], Resource: [reads.arn] },
      { Effect: 'Allow', Principal: { AWS: ['backup'] }, Action: ['s3:GetObject'], Resource: [`${reads.arn}/*`] },
    ]);
    const found = await site.diagnose('destinations', onlyPlain, site.env('backup'));
    expect(onlyProblem(found)).toMatchObject({
      what: 'plain, upload',
      detail: expect.stringMatching(/^E_STORE_DENIED: /) as string,
      fix: expect.stringContaining('s3:PutObject') as string,
    });
  });

  it('leaves nothing, and is content, with the least login of all', async () => {
    const config = await loadConfig(await site.write(), { env: site.env() });
    const bucket = bucketsOf(config).find((one) => one.bucket === site.buckets.plain);
    if (bucket === undefined) throw new Error('the bucket is configured');
    await putPolicy(bucketPolicy(bucket, { backup: ['backup'] }, { writeOnce: false }).document.Statement);
    const found = await site.diagnose('destinations', onlyPlain, site.env('backup'));
    expect(problems(found)).toEqual([]);
    expect(about(found, 'plain, delete')).toMatchObject([{ status: 'ok' }]);
    expect(about(found, 'plain, objects')).toMatchObject([
      { status: 'unknown', detail: expect.stringContaining('may not delete') as string },
    ]);
    // The same login under a schedule that prunes would never prune.
    const pruning = await site.diagnose(
      'destinations',
      (changed) => {
        onlyPlain(changed);
        changed.clusters.prod['schedule'] = { backup: { cron: '@daily' }, prune: { cron: '@daily' } };
        changed.clusters.prod['retention'] = { keepLast: 3 };
      },
      site.env('backup'),
    );
    expect(onlyProblem(pruning)).toMatchObject({ what: 'plain, delete' });
  });

  it('finds a clock that is 17 minutes off', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date(Date.now() + 17 * 60_000) });
    try {
      expect(onlyProblem(await site.diagnose('destinations', onlyPlain)).detail).toMatch(/^E_STORE_SKEW: /);
    } finally {
      vi.useRealTimers();
    }
  });

  it('says what it could not remove', async () => {
    // The question whether it may delete is let through; what was stored then stays.
    const DELETES = /\.probe-[^?]*\?x-id=DeleteObject$/;
    site.proxy.rule({ method: 'DELETE', path: DELETES, after: 1, fault: { kind: 'answer', status: 403 } });
    const found = await site.diagnose('destinations', onlyPlain);
    const client = s3Client(site.s3);
    try {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: site.buckets.plain }));
      expect(Contents).toHaveLength(1);
      const Key = Contents[0]?.Key ?? '';
      expect(about(found, 'plain, probe objects')).toMatchObject([
        { status: 'warning', detail: expect.stringContaining(`could not be removed: ${Key}`) as string },
      ]);
      await client.send(new DeleteObjectCommand({ Bucket: site.buckets.plain, Key }));
    } finally {
      client.destroy();
    }
  });

  it('finds a login that a governance lock does not hold off', async () => {
    const found = await site.diagnose('destinations');
    expect(about(found, 'locked, delete').map(({ detail }) => detail)).toEqual([
      expect.stringContaining('this login may delete'),
      expect.stringContaining('s3:BypassGovernanceRetention'),
    ]);
  });

  it('finds a folder that is not mounted', async () => {
    const found = await site.diagnose('destinations', (config) => {
      config.clusters.prod['destinations'] = ['folder'];
      if (config.destinations['folder'] !== undefined) config.destinations['folder']['path'] = '/nowhere/at-all';
    });
    expect(onlyProblem(found)).toMatchObject({
      what: 'folder, write',
      fix: expect.stringContaining('mount it') as string,
    });
  });

  async function putPolicy(statements: readonly object[]): Promise<void> {
    const client = s3Client(site.s3);
    try {
      const Policy = JSON.stringify({ Version: '2012-10-17', Statement: statements });
      await client.send(new PutBucketPolicyCommand({ Bucket: site.buckets.plain, Policy }));
    } finally {
      client.destroy();
    }
  }
});

describe('a store that does not refuse what it should', () => {
  it('is found for each header that it ignores, and for rules that delete', async () => {
    const server = await sharedServer('localstack');
    const bucket = `doctor-${crypto.randomUUID()}`;
    await server.createBucket(bucket, { versioning: true });
    const client = s3Client(server);
    // It checks no signatures, so that headers can be taken away on the way.
    await using proxy = await startHttpFaultProxy(server.endpoint, ({ headers }) => {
      delete headers['if-none-match'];
      delete headers['if-match'];
    });
    const at = (config: SiteConfig): void => {
      config.clusters.prod['destinations'] = ['plain'];
      config.destinations['plain'] = {
        ...config.destinations['plain'],
        bucket,
        region: server.region,
        endpoint: proxy.url,
      };
    };
    try {
      const Rules = [{ ID: 'old', Status: 'Enabled' as const, Filter: { Prefix: 'v1/' }, Expiration: { Days: 9 } }];
      await client.send(
        new PutBucketLifecycleConfigurationCommand({ Bucket: bucket, LifecycleConfiguration: { Rules } }),
      );
      const found = await site.diagnose('destinations', at, worldEnv(server));
      expect(problems(found).map(({ what }) => what)).toEqual(['plain, If-None-Match', 'plain, If-Match']);
      for (const { fix } of problems(found)) expect(fix).toContain('destinations.plain.conditionalWrites: false');
      const rules = about(found, 'plain, lifecycle').map(({ detail }) => detail);
      expect(rules[0]).toMatch(/^rule old deletes backups when they are 9 days old/);
      expect(rules).toHaveLength(3);
      const left = await client.send(new ListObjectVersionsCommand({ Bucket: bucket }));
      expect([left.Versions ?? [], left.DeleteMarkers ?? []]).toEqual([[], []]);
    } finally {
      client.destroy();
    }
  });

  it('is found for checksums that it does not look at', async () => {
    const server = await sharedServer('localstack');
    const bucket = `doctor-${crypto.randomUUID()}`;
    await server.createBucket(bucket);
    await using proxy = await startHttpFaultProxy(server.endpoint, ({ headers }) => {
      delete headers['x-amz-checksum-sha256'];
      delete headers['x-amz-sdk-checksum-algorithm'];
    });
    const found = await site.diagnose(
      'destinations',
      (config) => {
        config.clusters.prod['destinations'] = ['plain'];
        config.destinations['plain'] = {
          ...config.destinations['plain'],
          bucket,
          region: server.region,
          endpoint: proxy.url,
        };
      },
      worldEnv(server),
    );
    expect(problems(found).map(({ what }) => what)).toContain('plain, checksums');
    expect(about(found, 'plain, probe objects')).toMatchObject([{ status: 'ok' }]);
  });
});

describe('the rest', () => {
  it('finds a Redis that throws jobs away', async () => {
    await using redis = await startRedis({ appendOnly: true, evictionPolicy: 'allkeys-lru' });
    const found = await site.diagnose('queue', (config) => {
      config.queue = { url: redis.url };
    });
    expect(onlyProblem(found)).toMatchObject({
      what: 'queue, eviction',
      fix: expect.stringContaining('noeviction') as string,
    });
  });

  it('finds a secret that is not there', async () => {
    const found = await site.diagnose('config', (config) => {
      config.clusters.prod.auth['secretId'] = 'file:gone';
    });
    expect(onlyProblem(found).what).toBe('clusters.prod.auth.secretId');
  });

  it('finds two destinations that are one place', async () => {
    const found = await site.diagnose('config', (config) => {
      config.destinations['again'] = { ...config.destinations['plain'] };
      config.clusters.prod['destinations'] = ['plain', 'again'];
    });
    expect(onlyProblem(found).detail).toContain('plain and again are one place');
  });

  it('finds a full disk below the spool, and fails with its fix', async () => {
    await using disk = await SmallDisk.mount(site.world.spool, 2 ** 20);
    const file = await site.write();
    const result = await runCli(['doctor', '-c', file, '--only', 'config', '--json'], {
      env: site.env(),
      via: disk.via,
    });
    expect(result.code).toBe(14);
    const { status, findings } = JSON.parse(result.stdout) as { status: string; findings: Finding[] };
    expect(status).toBe('problem');
    expect(onlyProblem(findings)).toMatchObject({
      what: `spool ${site.world.spool}`,
      fix: expect.stringContaining('spool.directory') as string,
    });
    expect(result.stderr).toContain('"code":"E_DOCTOR"');
  });

  it('refuses a time zone that this machine does not know, and names the nearest', async () => {
    const file = await site.write((config) => {
      config.clusters.prod['schedule'] = { timeZone: 'Europe/Berlni', backup: { cron: '@daily' } };
    });
    const { code, stderr } = await runCli(['doctor', '-c', file], { env: site.env() });
    expect(code).toBe(15);
    expect(stderr).toContain('did you mean Europe/Berlin?');
  });

  it('says the same as JSON', async () => {
    const file = await site.write();
    const answer = await runJson(['doctor', '-c', file, '--only', 'notifications'], { env: site.env() });
    expect(answer).toMatchObject({
      status: 'unknown',
      counts: { problem: 0 },
      findings: [{ area: 'notifications', status: 'unknown' }],
    });
  });
});
