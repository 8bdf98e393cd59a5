/** Each clear error really caused: by refused ports, certificates, seals, quotas, namespaces, foreign redirects. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureTool } from '../../scripts/tools.ts';
import { collect } from '../../src/core/flow.ts';
import { Secret } from '../../src/core/secret.ts';
import { resetUnseal, sealStatus, unseal } from '../../src/vault/seal.ts';
import { takeSnapshot } from '../../src/vault/snapshot.ts';
import { BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { http } from '../support/http-json.ts';
import { createPki, type Pki } from '../support/pki.ts';
import { freePort, startProcess } from '../support/process.ts';
import { startReplay } from '../support/replay-server.ts';
import { startTcp } from '../support/tcp-server.ts';
import { until } from '../support/until.ts';
import { never, nodeClient, vaultCluster } from '../support/vault-client.ts';

let bao: BaoCluster;
let secure: BaoCluster;
let directory: string;
let stranger: Pki;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'strongroom-errors-'));
  stranger = await createPki(directory);
  [bao, secure] = await Promise.all([
    startCluster({ version: '2.6.2' }),
    startCluster({ version: '2.7.2', tls: true, initialise: false }),
  ]);
});

afterAll(async () => {
  await bao?.[Symbol.asyncDispose]();
  await secure?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function meets(url: string, expected: object, ca?: string): Promise<void> {
  const client = nodeClient(url, ca === undefined ? undefined : { ca });
  try {
    await expect(client.health(never)).rejects.toMatchObject(expected);
  } finally {
    await client.transport[Symbol.asyncDispose]();
  }
}

const says = (text: string): string => expect.stringContaining(text) as string;

test('a port on which nothing listens', async () => {
  const port = await freePort();
  await meets(`http://127.0.0.1:${port}`, { code: 'E_VAULT_UNREACHABLE', details: { reason: 'refused' } });
});

test('a host name that does not exist', async () => {
  await meets('http://no-such-host.invalid:8200', { code: 'E_VAULT_UNREACHABLE', details: { reason: 'name' } });
});

test('a listener that accepts and says nothing', async () => {
  await using silent = await startTcp(() => undefined);
  const client = nodeClient(silent.url);
  await expect(client.health(never, 300)).rejects.toMatchObject({
    code: 'E_VAULT_UNREACHABLE',
    details: { reason: 'timeout' },
  });
  await client.transport[Symbol.asyncDispose]();
});

test('the CA of somebody else', async () => {
  await meets(secure.first.url, { code: 'E_VAULT_TLS', hint: says('wrong CA') }, stranger.caPem);
  await meets(secure.first.url, { code: 'E_VAULT_TLS', hint: says('wrong CA') });
});

test('the right CA', async () => {
  const client = nodeClient(secure.first.url, { ca: secure.caPem ?? '' });
  expect((await client.health(never)).status).toBe(501);
  await client.transport[Symbol.asyncDispose]();
});

test('no verification at all, only when it is asked for by name', async () => {
  const client = nodeClient(secure.first.url, { insecureSkipVerify: true });
  expect((await client.health(never)).status).toBe(501);
  await client.transport[Symbol.asyncDispose]();
});

test('https to a plain listener, and http to a TLS one', async () => {
  await meets(bao.first.url.replace('http:', 'https:'), { code: 'E_VAULT_TLS', hint: says('write http://') });
  await meets(secure.first.url.replace('https:', 'http:'), { code: 'E_VAULT_TLS', hint: says('write https://') });
});

test('a certificate that has expired, with its date', async () => {
  if (secure.pki === undefined) throw new Error('no authority');
  const before = secure.first.config.tls;
  secure.first.configure({ tls: await secure.pki.issue({ name: 'expired', expired: true }) });
  await secure.first.stop();
  await secure.first.start({ answering: false });
  await meetsEventually(/expired at \d{4}-\d\d-\d\dT/);
  secure.first.configure({ tls: await secure.pki.issue({ name: 'elsewhere', hosts: ['vault.elsewhere.test'] }) });
  await secure.first.stop();
  await secure.first.start({ answering: false });
  await meetsEventually(/is for another name/, says('vault.elsewhere.test'));
  const client = nodeClient(secure.first.url, { ca: secure.caPem ?? '', serverName: 'vault.elsewhere.test' });
  expect((await client.health(never)).status).toBe(501);
  await client.transport[Symbol.asyncDispose]();
  secure.first.configure({ tls: before });
  await secure.first.restart();
});

/** The port opens some time after the start of the process. */
async function meetsEventually(message: RegExp, hint?: string): Promise<void> {
  await expect
    .poll(
      async () => {
        const client = nodeClient(secure.first.url, { ca: secure.caPem ?? '' });
        const error: unknown = await client.health(never).catch((e: unknown) => e);
        await client.transport[Symbol.asyncDispose]();
        return error;
      },
      { timeout: 120_000 },
    )
    .toMatchObject({
      code: 'E_VAULT_TLS',
      message: expect.stringMatching(message) as unknown,
      ...(hint === undefined ? {} : { hint }),
    });
}

test('a listener that demands client certificates', async () => {
  await using strict = await BaoCluster.create(await ensureTool('bao-2.7.2'), {
    version: '2.7.2',
    tls: true,
    listener: { tls_require_and_verify_client_cert: 'true', tls_client_ca_file: join(directory, 'ca.pem') },
  });
  await strict.first.start({ answering: false });
  await strict.first.waitLog(/server started/);
  await meets(strict.first.url, { code: 'E_VAULT_TLS', hint: says('tls.cert') }, strict.caPem);
});

test('a node that nobody has initialised', async () => {
  await using cluster = vaultCluster(secure, { auth: { method: 'token', token: new Secret('s.none') } });
  await expect(cluster.active(never)).rejects.toMatchObject({ code: 'E_VAULT_UNINITIALISED', retryable: false });
});

test('a rate-limit quota', async () => {
  await bao.call('POST', 'sys/quotas/rate-limit/tight', { rate: 0.001, interval: '1m', path: 'sys/mounts' });
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  await node.mounts(never).catch(() => undefined);
  await expect(node.mounts(never)).rejects.toMatchObject({ code: 'E_VAULT_RATE_LIMITED', retryable: true });
  await bao.call('DELETE', 'sys/quotas/rate-limit/tight');
});

test('a quota so tight that the survey itself is refused is told as such', async () => {
  await using cluster = vaultCluster(bao);
  await bao.call('POST', 'sys/quotas/rate-limit/all', { rate: 1, interval: '3s' });
  await cluster.survey(never);
  await expect(cluster.active(never)).rejects.toMatchObject({ code: 'E_VAULT_RATE_LIMITED' });
  // The quota holds for its own removal too.
  const remove = () => bao.first.call('DELETE', 'sys/quotas/rate-limit/all', { token: bao.rootToken });
  await until('the quota is gone', remove, { everyMs: 500 });
});

test('a namespace on a path that has none', async () => {
  const client = nodeClient(bao.first.url);
  const call = { path: 'sys/storage/raft/configuration', namespace: 'team', token: new Secret(bao.rootToken) };
  await expect(client.call({ ...call, method: 'GET', signal: never })).rejects.toMatchObject({
    code: 'E_VAULT_NAMESPACE',
  });
  await client.transport[Symbol.asyncDispose]();
});

test('a server that is not on raft storage', async () => {
  const port = await freePort();
  await using server = await startProcess({
    name: 'bao-dev',
    command: await ensureTool('bao-2.7.2'),
    args: ['server', '-dev', '-dev-no-store-token', '-dev-root-token-id=root', `-dev-listen-address=127.0.0.1:${port}`],
    ready: async (signal) => (await http(`http://127.0.0.1:${port}/v1/sys/health`, { signal })).status === 200,
    timeoutMs: 120_000,
  });
  expect(server.pid).toBeGreaterThan(0);
  const nodes = [`http://127.0.0.1:${port}`];
  await using cluster = vaultCluster(bao, { nodes, auth: { method: 'token', token: new Secret('root') } });
  await expect(cluster.active(never)).rejects.toMatchObject({ code: 'E_VAULT_NOT_RAFT' });
  const client = cluster.node(nodes[0] ?? '');
  await expect(client.raftConfiguration(new Secret('root'), never)).rejects.toMatchObject({ code: 'E_VAULT_NOT_RAFT' });
});

test('a node that points to a stranger: not followed, and the token never arrives there', async () => {
  await using foreign = await startReplay(() => ({ status: 200, body: { data: {} } }));
  await using real = await startReplay(({ path }) => ({
    status: 307,
    headers: { location: `${foreign.url}${path}` },
  }));
  const client = nodeClient(real.url);
  const token = new Secret('s.averysecrettoken0000000');
  await expect(client.read('secret/x', token, never)).rejects.toMatchObject({
    code: 'E_VAULT_STANDBY',
    details: { location: foreign.url },
  });
  await client.transport[Symbol.asyncDispose]();
  expect(foreign.seen).toEqual([]);
  expect(real.seen).toHaveLength(1);
});

test('a server that repeats what it was sent does not bring the secret into an error', async () => {
  const token = new Secret('s.averysecrettoken0000000');
  await using echo = await startReplay(({ headers, body }) => ({
    status: 500,
    body: { errors: [`${JSON.stringify(headers)} ${body}`] },
  }));
  const client = nodeClient(echo.url);
  const body = { password: new Secret('hunter2hunter2'), role: 'backup' };
  const error: unknown = await client
    .call({ method: 'POST', path: 'auth/userpass/login/x', token, body, signal: never })
    .catch((e: unknown) => e);
  await client.transport[Symbol.asyncDispose]();
  expect(echo.seen[0]?.body).toContain('hunter2hunter2');
  expect(JSON.stringify(error)).toContain('backup');
  expect(JSON.stringify(error)).not.toMatch(/hunter2|averysecret/);
});

test('an answer without end is cut', async () => {
  await using flood = await startReplay((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const write = (): void => {
      while (!response.destroyed && response.write('x'.repeat(65_536))) continue;
      if (!response.destroyed) response.once('drain', write);
    };
    write();
    return null;
  });
  await meets(flood.url, { code: 'E_VAULT_RESPONSE', message: says('larger than') });
});

test('something that is no Vault at all', async () => {
  await using page = await startReplay(() => ({ status: 200, body: '<html>hello</html>' }));
  await meets(page.url, { code: 'E_VAULT_RESPONSE' });
  await using shell = await startTcp((socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n'));
  await meets(shell.url, { code: 'E_VAULT_RESPONSE', message: says('does not answer in HTTP') });
});

test('addresses that cannot be a node', () => {
  for (const url of [
    'vault:8200',
    'ftp://vault',
    'http://vault:8200/prefix',
    'https://u:p@vault:8200',
    'http://vault/?x',
  ]) {
    expect(() => nodeClient(url)).toThrow(expect.objectContaining({ code: 'E_CONFIG_INVALID' }) as Error);
  }
  expect(() => nodeClient('https://user:hunter2@vault')).toThrow(/^((?!hunter2).)*$/);
});

// From here on the cluster is sealed and opened again.

test('a sealed node, its shares, and a wrong one', async () => {
  await bao.first.restart();
  await using cluster = vaultCluster(bao);
  await expect(cluster.active(never)).rejects.toMatchObject({ code: 'E_VAULT_SEALED', retryable: true });
  const node = { client: cluster.node(bao.first.url) };
  await expect(node.client.lookupSelf(new Secret(bao.rootToken), never)).rejects.toMatchObject({
    code: 'E_VAULT_SEALED',
  });
  const [first = '', second = ''] = bao.unsealShares;
  expect(await unseal(node, new Secret(first), never)).toMatchObject({
    outcome: 'answered',
    status: { sealed: true, progress: 1 },
  });
  await expect(cluster.active(never)).rejects.toThrow(/1 of 2 key shares given/);
  expect((await resetUnseal(node, never)).progress).toBe(0);
  await unseal(node, new Secret(first), never);
  const wrong = `${second.slice(0, -4)}${second.endsWith('00ff') ? 'ff00' : '00ff'}`;
  const error: unknown = await unseal(node, new Secret(wrong), never).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'E_UNSEAL' });
  expect(JSON.stringify(error)).not.toContain(wrong);
  await unseal(node, new Secret(first), never);
  expect(await unseal(node, new Secret(second), never)).toMatchObject({ status: { sealed: false } });
  expect((await sealStatus(node, never)).sealed).toBe(false);
});

test('OpenBao 2.6 gives its snapshot to the same code', async () => {
  await using cluster = vaultCluster(bao);
  await expect.poll(() => cluster.active(never).then(() => 'active', String), { timeout: 120_000 }).toBe('active');
  const node = await cluster.active(never);
  expect(node.view).toMatchObject({ product: 'openbao', version: '2.6.2' });
  expect(await node.listenerReadTimeoutMs(never)).toBe(30_000);
  expect(await node.sealBackendStatus(never)).toBeNull();
  const bytes = await collect(takeSnapshot(node, { signal: never, deadlineMs: 60_000 }), 1e8);
  expect(bytes.subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
});
