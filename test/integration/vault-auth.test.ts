/** Every login method, against a real server with TLS: a good login, a refused one, renewal, replacement, revocation. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Secret } from '../../src/core/secret.ts';
import type { VaultAuth } from '../../src/vault/auth.ts';
import type { ClusterOptions } from '../../src/vault/cluster.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { createJwtIssuer, type JwtIssuer } from '../support/jwt.ts';
import { type Replay, startReplay } from '../support/replay-server.ts';
import { until } from '../support/until.ts';
import { never, tokenWith, vaultCluster } from '../support/vault-client.ts';

const POLICY = 'path "sys/storage/raft/configuration" { capabilities = ["read"] }';
const POD = 'system:serviceaccount:backup:strongroom';
let bao: BaoCluster;
let directory: string;
let issuer: JwtIssuer;
let kubernetes: Replay;
let clientCertificate: { cert: string; key: Secret };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'strongroom-auth-'));
  issuer = createJwtIssuer();
  kubernetes = await startReplay(tokenReview);
  bao = await startCluster({ version: '2.7.2', tls: true });
  await bao.call('PUT', 'sys/policies/acl/backup', { policy: POLICY });
  for (const type of ['approle', 'userpass', 'jwt', 'cert', 'kubernetes'])
    await bao.call('POST', `sys/auth/${type}`, { type });
  await bao.call('POST', 'sys/auth/team/app', { type: 'approle' });
  const token = { token_policies: 'backup', token_ttl: '1h' };
  for (const mount of ['approle', 'team/app']) {
    await bao.call('POST', `auth/${mount}/role/backup`, token);
    await bao.call('POST', `auth/${mount}/role/backup/role-id`, { role_id: 'the-role' });
    await bao.call('POST', `auth/${mount}/role/backup/custom-secret-id`, { secret_id: 'the-secret-id' });
  }
  await bao.call('POST', 'auth/approle/role/short', { ...token, token_ttl: '2s', token_max_ttl: '1h' });
  await bao.call('POST', 'auth/approle/role/short/role-id', { role_id: 'short-role' });
  await bao.call('POST', 'auth/approle/role/short/custom-secret-id', { secret_id: 'short-secret' });
  await bao.call('POST', 'auth/approle/role/batch', { ...token, token_type: 'batch' });
  await bao.call('POST', 'auth/approle/role/batch/role-id', { role_id: 'batch-role' });
  await bao.call('POST', 'auth/approle/role/batch/custom-secret-id', { secret_id: 'batch-secret' });
  await bao.call('POST', 'auth/userpass/users/robot.ops', { ...token, password: 'a-good-password' });
  await bao.call('POST', 'auth/jwt/config', { jwt_validation_pubkeys: [issuer.publicPem] });
  await bao.call('POST', 'auth/jwt/role/backup', {
    ...token,
    role_type: 'jwt',
    user_claim: 'sub',
    bound_audiences: ['strongroom'],
  });
  await bao.call('POST', 'auth/kubernetes/config', {
    kubernetes_host: kubernetes.url,
    token_reviewer_jwt: issuer.issue({ sub: 'reviewer' }),
    disable_local_ca_jwt: true,
    kubernetes_ca_cert: bao.caPem,
  });
  await bao.call('POST', 'auth/kubernetes/role/backup', {
    ...token,
    bound_service_account_names: ['strongroom'],
    bound_service_account_namespaces: ['backup'],
  });
  const issued = await bao.pki?.issue({ name: 'robot', hosts: ['robot.test'] });
  if (issued === undefined) throw new Error('no authority');
  clientCertificate = {
    cert: await readFile(issued.certFile, 'utf8'),
    key: new Secret(await readFile(issued.keyFile, 'utf8')),
  };
  await bao.call('POST', 'auth/cert/certs/robots', {
    ...token,
    certificate: bao.caPem,
    allowed_common_names: ['robot'],
  });
});

afterAll(async () => {
  await bao?.[Symbol.asyncDispose]();
  await kubernetes?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** The one request that a server makes to Kubernetes: is this the token of that service account? */
function tokenReview({ body }: { body: string }): { status: number; body: unknown } {
  const review = JSON.parse(body) as { spec: { token: string } };
  const claims = JSON.parse(Buffer.from(review.spec.token.split('.')[1] ?? '', 'base64url').toString()) as {
    sub: string;
  };
  const authenticated = claims.sub === POD;
  const user = { username: POD, uid: '0f1e', groups: ['system:serviceaccounts'] };
  return {
    status: 201,
    body: {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      status: authenticated ? { authenticated, user } : { authenticated, error: 'not this one' },
    },
  };
}

function podToken(sub: string): string {
  const [, , namespace, name] = sub.split(':');
  return issuer.issue({
    sub,
    iss: 'https://kubernetes.test',
    'kubernetes.io': { namespace, serviceaccount: { name, uid: '0f1e' } },
  });
}

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

type Case = { auth: () => Promise<VaultAuth> | VaultAuth; tls?: () => ClusterOptions['tls'] };
const withCertificate = (): ClusterOptions['tls'] => ({ ca: bao.caPem ?? '', ...clientCertificate });

const GOOD: Record<string, Case> = {
  token: { auth: async () => ({ method: 'token', token: await tokenWith(bao, 'static', POLICY) }) },
  approle: { auth: () => ({ method: 'approle', roleId: 'the-role', secretId: new Secret('the-secret-id') }) },
  'approle at another mount': {
    auth: () => ({ method: 'approle', mount: 'team/app', roleId: 'the-role', secretId: new Secret('the-secret-id') }),
  },
  userpass: { auth: () => ({ method: 'userpass', username: 'robot.ops', password: new Secret('a-good-password') }) },
  jwt: {
    auth: () => ({ method: 'jwt', role: 'backup', jwt: new Secret(issuer.issue({ sub: 'ci', aud: 'strongroom' })) }),
  },
  'jwt from a file': {
    auth: async () => ({
      method: 'jwt',
      role: 'backup',
      jwt: { file: await file('jwt', `${issuer.issue({ sub: 'ci', aud: 'strongroom' })}\n`) },
    }),
  },
  kubernetes: {
    auth: async () => ({ method: 'kubernetes', role: 'backup', jwtFile: await file('pod', podToken(POD)) }),
  },
  cert: { auth: () => ({ method: 'cert', role: 'robots' }), tls: withCertificate },
  'cert without a role': { auth: () => ({ method: 'cert' }), tls: withCertificate },
};

const REFUSED: Record<string, Case> = {
  token: { auth: () => ({ method: 'token', token: new Secret('s.nobodyknowsthistoken000000') }) },
  approle: { auth: () => ({ method: 'approle', roleId: 'the-role', secretId: new Secret('wrong-secret-id') }) },
  'approle that is not mounted there': {
    auth: () => ({ method: 'approle', mount: 'elsewhere', roleId: 'the-role', secretId: new Secret('the-secret-id') }),
  },
  userpass: { auth: () => ({ method: 'userpass', username: 'robot.ops', password: new Secret('wrong-password') }) },
  'jwt of a stranger': {
    auth: () => ({
      method: 'jwt',
      role: 'backup',
      jwt: new Secret(createJwtIssuer().issue({ sub: 'ci', aud: 'strongroom' })),
    }),
  },
  'jwt for another audience': {
    auth: () => ({ method: 'jwt', role: 'backup', jwt: new Secret(issuer.issue({ sub: 'ci', aud: 'other' })) }),
  },
  'kubernetes with the token of another pod': {
    auth: async () => ({
      method: 'kubernetes',
      role: 'backup',
      jwtFile: await file('other-pod', podToken('system:serviceaccount:default:default')),
    }),
  },
  cert: { auth: () => ({ method: 'cert', role: 'unknown' }), tls: withCertificate },
};

function connect({ auth, tls }: { auth: VaultAuth; tls: ClusterOptions['tls'] | undefined }) {
  return vaultCluster(bao, { auth, ...(tls === undefined ? {} : { tls }) });
}

test.each(Object.entries(GOOD))('%s opens a session', async (_name, { auth, tls }) => {
  await using cluster = connect({ auth: await auth(), tls: tls?.() });
  const node = await cluster.active(never);
  expect((await node.raftConfiguration(never)).map(({ node_id }) => node_id)).toEqual(['n1']);
  const info = await node.lookupSelf(never);
  expect(info.policies).toContain(info['path'] === 'auth/token/create' ? 'static' : 'backup');
});

test.each(Object.entries(REFUSED))(
  '%s refused is E_VAULT_LOGIN, not to be retried, without the secret',
  async (_name, given) => {
    const auth = await given.auth();
    await using cluster = connect({ auth, tls: given.tls?.() });
    const error: unknown = await cluster.active(never).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'E_VAULT_LOGIN', retryable: false });
    for (const value of Object.values(auth)) {
      if (value instanceof Secret) expect(JSON.stringify(error)).not.toContain(value.reveal());
    }
  },
);

test('a token file that is missing or empty is a mistake of configuration', async () => {
  for (const jwtFile of [join(directory, 'nowhere'), await file('empty', '\n')]) {
    await using cluster = vaultCluster(bao, { auth: { method: 'kubernetes', role: 'backup', jwtFile } });
    await expect(cluster.active(never)).rejects.toMatchObject({ code: 'E_CONFIG_INVALID' });
  }
  expect(() => vaultCluster(bao, { auth: { method: 'cert' } })).toThrow(/logs in by certificate/);
});

const APPROLE: VaultAuth = { method: 'approle', roleId: 'the-role', secretId: new Secret('the-secret-id') };

async function accessors(): Promise<string[]> {
  const answer = await bao.call('LIST', 'auth/token/accessors');
  return (answer.json as { data: { keys: string[] } }).data.keys.sort();
}

test('many calls share one login, and closing revokes its token', async () => {
  const before = await accessors();
  const cluster = vaultCluster(bao, { auth: APPROLE });
  const node = await cluster.active(never);
  await Promise.all(Array.from({ length: 5 }, () => node.raftConfiguration(never)));
  expect((await accessors()).length).toBe(before.length + 1);
  await cluster[Symbol.asyncDispose]();
  expect(await accessors()).toEqual(before);
});

test('a configured token outlives the session', async () => {
  const token = await tokenWith(bao, 'static', POLICY);
  const cluster = vaultCluster(bao, { auth: { method: 'token', token } });
  await cluster.active(never);
  await cluster[Symbol.asyncDispose]();
  const answer = await bao.first.request('GET', 'auth/token/lookup-self', { token: token.reveal() });
  expect(answer.status).toBe(200);
});

test('a batch token is used, and neither renewed nor revoked', async () => {
  const auth: VaultAuth = { method: 'approle', roleId: 'batch-role', secretId: new Secret('batch-secret') };
  const cluster = vaultCluster(bao, { auth });
  const node = await cluster.active(never);
  expect(await node.lookupSelf(never)).toMatchObject({ type: 'batch' });
  await cluster[Symbol.asyncDispose]();
});

test('a token of two seconds is renewed for as long as it is needed', async () => {
  const auth: VaultAuth = { method: 'approle', roleId: 'short-role', secretId: new Secret('short-secret') };
  await using cluster = vaultCluster(bao, { auth });
  const node = await cluster.active(never);
  const first = (await node.lookupSelf(never)).accessor;
  const started = performance.now();
  await until('its first life is over twice', async () => (performance.now() - started > 4_500 ? true : undefined), {
    everyMs: 250,
  });
  expect((await node.lookupSelf(never)).accessor).toBe(first);
});

test('a token that was revoked meanwhile is replaced by one fresh login', async () => {
  await using cluster = vaultCluster(bao, { auth: APPROLE });
  const node = await cluster.active(never);
  const first = (await node.lookupSelf(never)).accessor;
  await bao.call('POST', 'auth/token/revoke-accessor', { accessor: first });
  const count = (await accessors()).length;
  const all = await Promise.all(Array.from({ length: 4 }, () => node.raftConfiguration(never)));
  expect(all).toHaveLength(4);
  expect((await node.lookupSelf(never)).accessor).not.toBe(first);
  expect((await accessors()).length).toBe(count + 1);
});

test('a right that is missing does not lead to another login', async () => {
  await using cluster = vaultCluster(bao, { auth: APPROLE });
  const node = await cluster.active(never);
  const before = await accessors();
  await expect(node.mounts(never)).rejects.toMatchObject({ code: 'E_VAULT_DENIED' });
  expect(await accessors()).toEqual(before);
});

test('a configured token that was revoked is denied, and not replaced', async () => {
  const token = await tokenWith(bao, 'static', POLICY);
  await using cluster = vaultCluster(bao, { auth: { method: 'token', token } });
  const node = await cluster.active(never);
  await bao.first.call('POST', 'auth/token/revoke-self', { token: token.reveal() });
  await expect(node.raftConfiguration(never)).rejects.toMatchObject({ code: 'E_VAULT_DENIED' });
});

test('the login goes to its namespace, and a namespace that is not there is named', async () => {
  await bao.call('POST', 'sys/namespaces/team', {});
  await bao.call('POST', 'sys/auth/approle', { type: 'approle' }, { namespace: 'team' });
  await bao.call('POST', 'auth/approle/role/backup', { token_ttl: '1h' }, { namespace: 'team' });
  await bao.call('POST', 'auth/approle/role/backup/role-id', { role_id: 'team-role' }, { namespace: 'team' });
  await bao.call(
    'POST',
    'auth/approle/role/backup/custom-secret-id',
    { secret_id: 'team-secret' },
    { namespace: 'team' },
  );
  const auth: VaultAuth = { method: 'approle', roleId: 'team-role', secretId: new Secret('team-secret') };
  await using right = vaultCluster(bao, { auth, namespace: 'team' });
  const node = await right.active(never);
  expect((await node.lookupSelf(never))['path']).toBe('auth/approle/login');
  await using wrong = vaultCluster(bao, { auth, namespace: 'nowhere' });
  await expect(wrong.active(never)).rejects.toMatchObject({ code: 'E_VAULT_NAMESPACE' });
});

test('the end of a session waits for a dead cluster no longer than its deadline', async () => {
  const cluster = vaultCluster(bao, { auth: APPROLE });
  await cluster.active(never);
  bao.first.pause();
  try {
    const started = performance.now();
    await cluster[Symbol.asyncDispose]();
    expect(performance.now() - started).toBeLessThan(8_000);
  } finally {
    bao.first.resume();
  }
});
