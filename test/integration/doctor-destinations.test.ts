/** doctor on destinations, queue and spool: every problem is caused once, and found by its name with its fix; nothing is left. */
import {
  DeleteObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { bucketPolicy } from '../../src/policy/bucket-policy.ts';
import { bucketsOf } from '../../src/policy/buckets.ts';
import { about, DoctorSite, onlyProblem, problems, type SiteConfig } from '../support/doctor-site.ts';
import { startHttpFaultProxy } from '../support/http-fault-proxy.ts';
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

describe('destinations', () => {
  const onlyPlain = (config: SiteConfig): void => {
    config.clusters.prod['destinations'] = ['plain'];
  };
  afterEach(async () => {
    site.proxy.clear();
    expect(await site.leftovers()).toEqual([]);
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
