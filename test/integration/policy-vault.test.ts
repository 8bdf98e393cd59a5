/** The policies of the cluster on a real server: enough for a whole run, each line for something, and nothing unused. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ClusterConfig } from '../../src/config/cluster-config.ts';
import type { ClusterName } from '../../src/core/ids.ts';
import type { VaultRole } from '../../src/policy/roles.ts';
import { vaultPolicy, vaultRights } from '../../src/policy/vault.ts';
import { verdictOf } from '../support/backup-trial.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { type HttpFaultProxy, startHttpFaultProxy } from '../support/http-fault-proxy.ts';
import { backUp, bringBack, rehearse } from '../support/strongroom-app.ts';
import { until } from '../support/until.ts';
import { never, tokenWith, vaultCluster } from '../support/vault-client.ts';
import { World } from '../support/world.ts';

const APPROLE = { method: 'approle' } as ClusterConfig['auth'];
const TOKEN = { method: 'token' } as ClusterConfig['auth'];
/** Asked without a token, so no policy speaks of them. */
const OPEN = new Set(['sys/health', 'sys/seal-status', 'sys/leader', 'sys/seal-backend-status', 'auth/approle/login']);

let bao: BaoCluster;
let proxy: HttpFaultProxy;
let world: World;
let run: { configFile: string; env: Record<string, string> };

beforeAll(async () => {
  bao = await startCluster({ version: '2.7.2', seal: { type: 'static', keyId: 'k1', keyHex: 'b3'.repeat(32) } });
  proxy = await startHttpFaultProxy(bao.first.url);
  world = await World.create({ destinations: { folder: { type: 'directory', path: 'folder' } }, canOpen: true });
  await mkdir(join(world.directory, 'folder'));
  await world.grant(bao);
  run = { configFile: await world.config([proxy.url]), env: {} };
});

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await proxy?.[Symbol.asyncDispose]();
  await bao?.[Symbol.asyncDispose]();
});

beforeEach(() => {
  proxy.requests.length = 0;
});

function textOf(role: VaultRole, auth = APPROLE): string {
  return vaultPolicy(role, { name: 'prod' as ClusterName, auth }).document;
}

/** The document with one path taken out of it, or one capability of it. */
function without(document: string, path: string, capability?: string): string {
  const block = new RegExp(`path "${path}" \\{\\n[^}]*\\}\\n`);
  const found = block.exec(document)?.[0];
  if (found === undefined) throw new Error(`the policy has no ${path}`);
  if (capability === undefined) return document.replace(found, '');
  if (!found.includes(`"${capability}"`)) throw new Error(`${path} has no ${capability}`);
  return document.replace(found, found.replace(new RegExp(`"${capability}"(?:, )?`), ''));
}

/** From now on the login has this policy and no other, not even `default`. */
async function allow(policy: string): Promise<void> {
  await bao.call('PUT', 'sys/policies/acl/strongroom', { policy });
  await bao.call('POST', 'auth/approle/role/strongroom', {
    token_policies: ['strongroom'],
    token_no_default_policy: true,
    token_ttl: '10m',
    token_max_ttl: '1h',
  });
}

/** What was called with a token, as `capability path`. */
function used(): string[] {
  const rights = proxy.requests.map((line) => {
    const [method = '', path = ''] = line.split(' ');
    return `${method === 'GET' ? 'read' : 'update'} ${path.replace(/^\/v1\//, '').replace(/\?.*$/, '')}`;
  });
  return [...new Set(rights.filter((right) => !OPEN.has(right.split(' ')[1] ?? '')))];
}

function granted(role: VaultRole): string[] {
  const rights = vaultRights(role, { auth: APPROLE });
  return rights.flatMap(({ path, capabilities }) => capabilities.map((capability) => `${capability} ${path}`));
}

/** What the policy grants and no request used, and what was asked for and is not in it. */
function difference(role: VaultRole): { unused: string[]; excess: string[] } {
  const [has, asked] = [granted(role), used()];
  return {
    unused: has.filter((right) => !asked.includes(right)),
    excess: asked.filter((right) => !has.includes(right)),
  };
}

function logins(): number {
  return proxy.requests.filter((line) => line.endsWith('/auth/approle/login')).length;
}

/** Tokens of our login that are still good. */
async function livingTokens(): Promise<number> {
  const answer = await bao.call('LIST', 'auth/token/accessors');
  const { data } = answer.json as { data: { keys: string[] } };
  const policies = await Promise.all(
    data.keys.map(async (accessor) => {
      const looked = await bao.call('POST', 'auth/token/lookup-accessor', { accessor });
      return (looked.json as { data: { policies: string[] } }).data.policies;
    }),
  );
  return policies.filter((names) => names.includes('strongroom')).length;
}

async function failureOf(work: Promise<unknown>): Promise<[code: string, exitCode: number]> {
  const failure = await work.then(
    () => null,
    (e: unknown) => e,
  );
  if (failure === null) throw new Error('it succeeded');
  return verdictOf(failure as Parameters<typeof verdictOf>[0]);
}

test('a whole backup works with the policy for backups, and uses all of it', async () => {
  await allow(textOf('backup'));
  const { complete } = await backUp(run);
  expect(complete).toBe(true);
  // Both have a test of their own below: they matter when a run is long, or when it is refused.
  const elsewhere = ['read auth/token/lookup-self', 'update auth/token/renew-self'];
  expect(difference('backup')).toEqual({ unused: elsewhere, excess: [] });
  expect(await livingTokens()).toBe(0);
});

test.each(['sys/storage/raft/snapshot', 'sys/storage/raft/configuration'])('no backup without %s', async (path) => {
  await allow(without(textOf('backup'), path));
  expect(await failureOf(backUp(run))).toEqual(['E_VAULT_DENIED', 14]);
});

test('without revoke-self the token outlives the run', async () => {
  await allow(without(textOf('backup'), 'auth/token/revoke-self'));
  expect((await backUp(run)).complete).toBe(true);
  expect(await livingTokens()).toBe(1);
  await bao.call('POST', 'sys/leases/revoke-prefix/auth/approle/login', {});
  expect(await livingTokens()).toBe(0);
});

test('without lookup-self a refusal costs a second login', async () => {
  const refused = without(textOf('backup'), 'sys/storage/raft/snapshot');
  await allow(refused);
  expect(await failureOf(backUp(run))).toEqual(['E_VAULT_DENIED', 14]);
  const before = logins();
  proxy.requests.length = 0;
  await allow(without(refused, 'auth/token/lookup-self'));
  expect(await failureOf(backUp(run))).toEqual(['E_VAULT_DENIED', 14]);
  expect(logins()).toBeGreaterThan(before);
});

test('a token of the config lives on by renew-self, and knows when by lookup-self', async () => {
  const document = textOf('backup', TOKEN);
  // A token that somebody configured is not ours to revoke.
  expect(document).not.toContain('revoke-self');
  const life = { ttl: '2s', no_default_policy: true };
  const renewals = () => proxy.requests.filter((line) => line === 'POST /v1/auth/token/renew-self').length;
  const session = async (policy: string) => {
    const token = await tokenWith(bao, 'short', policy, life);
    proxy.requests.length = 0;
    return vaultCluster(bao, { nodes: [proxy.url], auth: { method: 'token', token } });
  };
  {
    await using vault = await session(document);
    const node = await vault.active(never);
    // One a second: the third comes after its first life is over.
    await until('three renewals', async () => (renewals() >= 3 ? true : undefined));
    expect(await node.raftConfiguration(never)).toHaveLength(1);
  }
  for (const path of ['auth/token/renew-self', 'auth/token/lookup-self']) {
    await using vault = await session(without(document, path));
    const node = await vault.active(never);
    const denied = async () => await node.raftConfiguration(never).then(() => undefined, verdictOf);
    expect(await until(`the token to expire without ${path}`, denied)).toEqual(['E_VAULT_DENIED', 14]);
    expect(renewals() > 0).toBe(path === 'auth/token/renew-self');
  }
});

test('whole restores work with the policy for restores, and use all of it', async () => {
  await allow(textOf('restore'));
  await backUp(run);
  proxy.requests.length = 0;
  const plain = await bringBack(run, { withSafety: true });
  const forced = await bringBack(run, { force: true });
  expect([plain.complete, forced.complete]).toEqual([true, true]);
  expect(plain.voters.map(({ mountsAgree }) => mountsAgree)).toEqual([true]);
  expect(difference('restore')).toEqual({ unused: ['update auth/token/renew-self'], excess: [] });
});

test('the policy for backups cannot restore', async () => {
  await allow(textOf('backup'));
  expect(await failureOf(bringBack(run))).toEqual(['E_VAULT_DENIED', 14]);
  expect(await failureOf(bringBack(run, { force: true }))).toEqual(['E_VAULT_DENIED', 14]);
});

test('no restore without the install, or without what is to be kept first', async () => {
  const document = textOf('restore');
  const snapshot = 'sys/storage/raft/snapshot';
  await allow(without(document, snapshot, 'update'));
  expect(await failureOf(bringBack(run))).toEqual(['E_VAULT_DENIED', 14]);
  await allow(without(document, `${snapshot}-force`));
  expect(await failureOf(bringBack(run, { force: true }))).toEqual(['E_VAULT_DENIED', 14]);
  await allow(without(document, 'sys/storage/raft/configuration'));
  expect(await failureOf(bringBack(run, { withSafety: true }))).toEqual(['E_VAULT_DENIED', 14]);
  await allow(without(document, snapshot, 'read'));
  expect(await failureOf(bringBack(run, { withSafety: true }))).toEqual(['E_VAULT_DENIED', 14]);
  expect((await rehearse(run)).target).toBe(proxy.url);
});

test('what a restore can do without is known to be missing', async () => {
  const document = textOf('restore');
  const asks = async (policy: string): Promise<number | null> => {
    const token = await tokenWith(bao, 'asks', policy, { no_default_policy: true });
    await using vault = vaultCluster(bao, { auth: { method: 'token', token } });
    return await (await vault.active(never)).listenerReadTimeoutMs(never);
  };
  expect(await asks(document)).toBe(30_000);
  expect(await asks(without(document, 'sys/config/state/sanitized'))).toBeNull();
  // After the install the policy is that of the snapshot: so it is in there, too.
  await allow(without(document, 'sys/mounts'));
  await backUp(run);
  const { voters } = await bringBack(run);
  expect(voters.map(({ mountsAgree, reads }) => [mountsAgree, reads])).toEqual([[null, true]]);
});
