/** doctor on real servers: a healthy set-up has no problem; every problem is caused once, and found by its name with its fix. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { clusterConfig } from '../../src/config/cluster-config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { encryptionChecks } from '../../src/doctor/encryption-checks.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { runChecks } from '../../src/doctor/run-checks.ts';
import { about, DoctorSite, onlyProblem, problems, type SiteConfig } from '../support/doctor-site.ts';
import { createPki } from '../support/pki.ts';
import { runCli } from '../support/strongroom-cli.ts';

let site: DoctorSite;
beforeAll(async () => {
  site = await DoctorSite.open();
});
afterAll(() => site?.[Symbol.asyncDispose]());

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
    expect(await site.leftovers()).toEqual([]);
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
