/**
 * The policies for S3 and KMS, held against real runs. A gateway with users enforces the allow-lists of the buckets, a KMS
 * its grants; what neither of them knows (conditions on If-None-Match and on the encryption context) is judged by the
 * rules of AWS over the requests that were really sent.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { Manifest } from '../../src/catalogue/manifest.ts';
import type { StrongroomError } from '../../src/core/errors.ts';
import type { ClusterName, SnapshotId } from '../../src/core/ids.ts';
import { createLog } from '../../src/core/log.ts';
import { systemClock } from '../../src/core/units.ts';
import { inBucket } from '../../src/policy/buckets.ts';
import type { Statement } from '../../src/policy/document.ts';
import type { Role } from '../../src/policy/roles.ts';
import { lookAtCopies } from '../../src/snapshots/presence.ts';
import { rewrapSnapshot } from '../../src/snapshots/rewrap.ts';
import { verifySnapshot } from '../../src/snapshots/verify.ts';
import { kindPrefix, type ObjectKey, objectKey } from '../../src/store/layout.ts';
import { failedBackup, tryBackup, verdictOf } from '../support/backup-trial.ts';
import { type AskedAction, allowedBy, judge } from '../support/policy-judge.ts';
import { PolicySite } from '../support/policy-site.ts';
import { bringBack, openApp } from '../support/strongroom-app.ts';
import { never } from '../support/vault-client.ts';

const CLUSTER = 'prod' as ClusterName;
let site: PolicySite;
let manifest: Manifest;

beforeAll(async () => {
  site = await PolicySite.open();
});
afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
});
beforeEach(() => site.forget());

/** They look at objects, and not at how long those are locked. */
const BLIND_TO_LOCKS: readonly Role[] = ['verify', 'rewrap', 'serve'];

function usedBy(role: Role): AskedAction[] {
  return site.used(role).filter(({ action }) => action !== 's3:GetObjectRetention' || !BLIND_TO_LOCKS.includes(role));
}

/** Every request that `role` has sent is allowed by its identity policy; gives the actions of it that nothing used. */
function unusedBy(role: Role): string[] {
  const statements = site.identity(role).Statement;
  const used = usedBy(role);
  expect(used.length).toBeGreaterThan(0);
  for (const asked of used) expect([asked, judge(statements, asked)]).toEqual([asked, 'allow']);
  const all = new Set(statements.flatMap(({ Action }) => Action));
  const seen = new Set(used.map(({ action }) => action));
  // Nor is there a statement that nobody needs.
  const needed = new Set(used.flatMap((asked) => allowedBy(statements, asked)));
  const idle = statements.filter(({ Sid }) => !needed.has(Sid)).map(({ Sid }) => Sid);
  return [...[...all].filter((action) => !seen.has(action)), ...idle];
}

async function withDeps<T>(
  role: Role,
  work: (deps: Awaited<ReturnType<Awaited<ReturnType<typeof openApp>>['snapshotDeps']>>) => Promise<T>,
  configFile?: string,
): Promise<T> {
  await using app = await openApp(site.as(role, configFile));
  const deps = await app.snapshotDeps(CLUSTER, never);
  // As each of these commands does for `latest`.
  expect((await deps.catalogue.latest(never)).failures).toEqual([]);
  return await work(deps);
}

describe('a run as each role', () => {
  test('backup: all of its policy, and no more', async () => {
    const result = await tryBackup(site.as('backup'));
    expect(result.missing).toEqual([]);
    manifest = result.manifest;
    expect(unusedBy('backup')).toEqual([]);
    // What must be locked is locked, and seen to be.
    const locks = manifest.destinations.map((copy) => (copy.status === 'stored' ? copy.lock?.mode : null));
    expect(locks).toEqual(['governance', undefined]);
  });

  test('verify and serve: also where the data is hidden behind a delete marker', async () => {
    const key = objectKey(CLUSTER, 'data', manifest.snapshot as SnapshotId);
    const marker = await site.root.send(new DeleteObjectCommand({ Bucket: site.buckets[0].bucket, Key: `bk/${key}` }));
    expect(marker.DeleteMarker).toBe(true);
    const { copies } = await withDeps('verify', async (deps) => await verifySnapshot(deps, manifest, never));
    expect(copies.map(({ level }) => level)).toEqual(['archive', 'archive']);
    expect(unusedBy('verify')).toEqual([]);
    const listed = await withDeps('serve', async (deps) => {
      const { entries, failures } = await deps.catalogue.list(never);
      expect(failures).toEqual([]);
      const [entry] = entries;
      if (entry === undefined) throw new Error('nothing is listed');
      const { manifest: read } = await deps.catalogue.read(entry.snapshot, never);
      return await lookAtCopies(deps, read, never);
    });
    expect(listed.map(({ lacks }) => lacks)).toEqual([['data'], []]);
    expect(unusedBy('serve')).toEqual([]);
    await site.root.send(
      new DeleteObjectCommand({ Bucket: site.buckets[0].bucket, Key: `bk/${key}`, VersionId: marker.VersionId }),
    );
  });

  test('rewrap: a renewed wrap, and one for a key of another region', async () => {
    const written = parse(await readFile(site.configFile, 'utf8')) as { encryption: { kms: object[] } };
    const second = site.kms.createKey({ region: 'eu-west-1' });
    site.kms.grant('rewrap', ['Encrypt', 'Decrypt', 'ReEncrypt'], second);
    written.encryption.kms.push({ ...written.encryption.kms[0], keyId: second });
    const configFile = join(dirname(site.configFile), 'two-keys.yaml');
    await writeFile(configFile, stringify(written), { mode: 0o600 });
    const snapshot = manifest.snapshot as SnapshotId;
    const options = { refresh: true, dryRun: false };
    const { changes, failures } = await withDeps(
      'rewrap',
      async (deps) => await rewrapSnapshot({ ...deps, clock: systemClock }, snapshot, options, never),
      configFile,
    );
    expect([changes.added, failures]).toEqual([[second], []]);
    expect(changes.reencrypted).toHaveLength(1);
    const statements = site.identity('rewrap').Statement;
    const asked = usedBy('rewrap');
    for (const one of asked.filter(({ resource }) => resource !== second)) expect(judge(statements, one)).toBe('allow');
    const seen = new Set(asked.map(({ action }) => action));
    expect(statements.flatMap(({ Action }) => Action).filter((action) => !seen.has(action))).toEqual([]);
  });

  test('restore: as backup, and it opens', async () => {
    const { complete, safety } = await bringBack(site.as('restore'), { withSafety: true });
    expect(complete).toBe(true);
    expect(safety).not.toBeNull();
    // The second half of a version's way is verify's; here the copy was read as it is shown.
    expect(unusedBy('restore')).toEqual([]);
  });

  test('prune: removes a copy, its versions, and an upload', async () => {
    await withDeps('prune', async ({ stores }) => {
      for (const store of stores) {
        const prefix = kindPrefix(CLUSTER, 'data');
        const seen = await Array.fromAsync(store.list(prefix, { signal: never }));
        const key = seen.at(-1)?.key as ObjectKey;
        const head = await store.head(key, { signal: never });
        await store.delete(key, { signal: never });
        if (head?.versionId !== undefined) {
          // Governance, and no right to get around it.
          const gone = store.delete(key, { signal: never, versionId: head.versionId });
          expect(verdictOf((await gone.catch((e: unknown) => e)) as StrongroomError)[0]).toBe('E_STORE_LOCKED');
        }
        const { bucket, uses } = site.buckets.find(({ uses: [use] }) => use?.name === store.name) ?? site.buckets[0];
        const begun = uses[0] === undefined ? '' : inBucket(uses[0].options, `${prefix}left-behind`);
        await site.root.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: begun }));
        const uploads = await Array.fromAsync(store.listUnfinished(prefix, { signal: never }));
        expect(uploads).toHaveLength(1);
        for (const upload of uploads) await store.abortUnfinished(upload, { signal: never });
      }
    });
    // For what prune does besides: listing hidden versions, holding the lease, extending a lock; and looking at the lock and the hold of
    // a version, which Amazon refuses to delete with the words of a missing right.
    expect(unusedBy('prune')).toEqual([
      's3:ListBucketVersions',
      's3:GetObjectVersion',
      's3:GetObjectLegalHold',
      's3:PutObject',
      's3:PutObjectTagging',
      's3:PutObjectRetention',
      'WriteLocked',
      'WriteLocked2',
      'WritePlain',
    ]);
  });
});

test('to find that a key is not there, nothing beyond it is listed', async () => {
  await using app = await openApp(site.as('serve'));
  const { stores } = await app.snapshotDeps(CLUSTER, never);
  site.forget();
  for (const store of stores) {
    expect(await store.head(`${kindPrefix(CLUSTER, 'data')}none` as ObjectKey, { signal: never })).toBeNull();
  }
  const { Statement: statements } = site.identity('serve');
  const asked = usedBy('serve');
  expect(new Set(asked.map(({ action }) => action))).toEqual(new Set(['s3:GetObject', 's3:ListBucket']));
  for (const one of asked) expect([one, judge(statements, one)]).toEqual([one, 'allow']);
});

describe('what is not theirs', () => {
  const put = (bucket: string, Key: string) =>
    new PutObjectCommand({ Bucket: bucket, Key, Body: 'x', IfNoneMatch: '*' });
  const statusOf = async (work: Promise<{ $metadata: { httpStatusCode?: number | undefined } }>) =>
    await work.then(
      ({ $metadata }) => $metadata.httpStatusCode,
      (e: { $metadata?: { httpStatusCode?: number } }) => e.$metadata?.httpStatusCode,
    );

  test.each(['backup', 'restore', 'verify', 'rewrap', 'serve'] as const)('%s deletes nothing', async (role) => {
    using stack = new DisposableStack();
    const client = stack.adopt(site.client(role), (c) => c.destroy());
    const Bucket = site.buckets[0].bucket;
    const listed = await site.root.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'bk/v1/prod/manifests/' }));
    const version = listed.Versions?.[0];
    const object = { Bucket, Key: version?.Key, VersionId: version?.VersionId };
    expect(await statusOf(client.send(new GetObjectCommand(object)))).toBe(200);
    expect(await statusOf(client.send(new DeleteObjectCommand(object)))).toBe(403);
    expect(await statusOf(client.send(new DeleteObjectCommand({ Bucket, Key: object.Key })))).toBe(403);
    expect(await statusOf(client.send(new PutBucketPolicyCommand({ Bucket, Policy: '{}' })))).toBe(403);
  });

  test('each writes where it must, and nowhere else', async () => {
    using stack = new DisposableStack();
    const mayWrite: Record<string, readonly Role[]> = {
      'bk/v1/prod/data/x': ['backup', 'restore'],
      'bk/v1/prod/keys/x': ['backup', 'restore', 'rewrap'],
      'bk/v1/prod/lease.json': ['backup', 'restore', 'prune'],
      'bk/v1/other/data/x': [],
      'v1/prod/data/x': [],
    };
    for (const role of ['backup', 'restore', 'verify', 'rewrap', 'prune', 'serve'] as const) {
      const client = stack.adopt(site.client(role), (c) => c.destroy());
      for (const [key, roles] of Object.entries(mayWrite)) {
        const Bucket = site.buckets[0].bucket;
        const status = await statusOf(client.send(put(Bucket, key)));
        // 412: somebody before was allowed to write it.
        expect([role, key, status]).toEqual([role, key, roles.includes(role) ? expect.toBeOneOf([200, 412]) : 403]);
        const listing = { Bucket, Prefix: 'bk/v1/other/' };
        expect(await statusOf(client.send(new ListObjectsV2Command(listing)))).toBe(403);
      }
    }
  });

  test('the login of backups opens nothing', async () => {
    const failure = await bringBack(site.as('backup')).catch((e: unknown) => e);
    expect(verdictOf(failure as StrongroomError)[0]).toBe('E_KEY_UNAVAILABLE');
    expect(site.kms.calls.filter(({ operation }) => operation === 'Decrypt').map(({ outcome }) => outcome)).toContain(
      'AccessDeniedException',
    );
  });
});

describe('what is taken away is missed', () => {
  /** The policies of both buckets without one action of `backup`. */
  async function withoutAction(action: string): Promise<void> {
    for (const bucket of site.buckets) {
      const statements = site.policyOf(bucket).Statement.flatMap((statement): Statement[] => {
        if (statement.Effect === 'Deny' || !statement.Sid.startsWith('Backup')) return [statement];
        const Action = statement.Action.filter((one) => one !== action);
        return Action.length === 0 ? [] : [{ ...statement, Action }];
      });
      await site.putPolicy(bucket, statements);
    }
  }

  test.each([
    's3:PutObject',
    's3:PutObjectRetention',
    's3:PutObjectTagging',
    's3:GetObject',
    's3:GetObjectVersion',
    's3:AbortMultipartUpload',
    's3:ListBucket',
  ])('no backup without %s', async (action) => {
    await withoutAction(action);
    expect(await outcome()).toBe('E_STORE_DENIED');
  });

  test('without s3:ListBucketMultipartUploads what killed runs left is not looked for, and that is said', async () => {
    await withoutAction('s3:ListBucketMultipartUploads');
    const lines: string[] = [];
    const log = createLog('warn', { write: (line) => lines.push(line) });
    const { missing } = await tryBackup({ ...site.as('backup'), change: (deps) => ({ ...deps, log }) });
    expect(missing).toEqual([]);
    const said = lines.filter((line) => line.includes('unfinished uploads could not be looked for'));
    expect(said.map((line) => (JSON.parse(line) as { store: string }).store)).toEqual(['locked', 'plain']);
  });

  test.each(['kms:Encrypt', 'kms:Sign', 'kms:GetPublicKey'])('no backup without %s', async (action) => {
    for (const bucket of site.buckets) await site.putPolicy(bucket, site.policyOf(bucket).Statement);
    const statements = site.identity('backup').Statement.filter(({ Action }) => !Action.includes(action));
    site.grantKeys('backup', statements);
    expect(await outcome()).toBeOneOf(['E_KEY_REFUSED', 'E_KEY_UNAVAILABLE', 'E_SEAL_UNHEALTHY']);
    site.grantKeys('backup');
  });

  test('without kms:DescribeKey the keys are not checked, and that is said', async () => {
    const statements = site.identity('backup').Statement.filter(({ Action }) => !Action.includes('kms:DescribeKey'));
    site.grantKeys('backup', statements);
    const { manifest: made } = await tryBackup(site.as('backup'));
    expect(made.warnings.filter((warning) => warning.includes('may not call kms:DescribeKey'))).toHaveLength(1);
    site.grantKeys('backup');
  });

  test('with everything back it works again', async () => {
    for (const bucket of site.buckets) await site.putPolicy(bucket, site.policyOf(bucket).Statement);
    expect((await tryBackup(site.as('backup'))).missing).toEqual([]);
  });

  async function outcome(): Promise<string> {
    return (await failedBackup(site.as('backup'))).code;
  }
});

test('no write of a run is refused by the rules against overwriting, and each would be without its condition', async () => {
  await tryBackup(site.as('backup'));
  await bringBack(site.as('restore'), { withSafety: true });
  let judged = 0;
  for (const bucket of site.buckets) {
    const denials = site.policyOf(bucket, { writeOnce: true }).Statement.filter(({ Sid }) => Sid.startsWith('Deny'));
    const writes = [...site.used('backup'), ...site.used('restore')].filter(
      ({ action, resource, context }) =>
        action === 's3:PutObject' &&
        resource.startsWith(`arn:aws:s3:::${bucket.bucket}/`) &&
        context?.['s3:ObjectCreationOperation'] === 'true',
    );
    for (const write of writes) {
      judged += 1;
      expect([write, judge(denials, write)]).toEqual([write, 'deny']);
      const { 's3:if-none-match': _, 's3:if-match': __, ...bare } = write.context ?? {};
      expect([write.resource, judge(denials, { ...write, context: bare })]).toEqual([
        write.resource,
        'denied explicitly',
      ]);
    }
  }
  expect(judged).toBeGreaterThan(15);
});
