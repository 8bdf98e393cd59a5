/** node-vault prints request bodies under DEBUG=node-vault, unseal key shares included. Ours must not. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { startReplay } from '../support/replay-server.ts';

const SHARE = '00aa11bb22cc33dd44ee55ff';
const TOKEN = 's.averysecrettoken0000000';
const FOREIGN = 's.tokenoftheenvironment00';

const OURS = `
  import { silentLog } from './src/core/log.ts';
  import { Secret } from './src/core/secret.ts';
  import { NodeClient } from './src/vault/client.ts';
  import { unseal } from './src/vault/seal.ts';
  import { NodeTransport } from './src/vault/transport.ts';
  const client = new NodeClient(new NodeTransport({ url: process.argv[1], log: silentLog }));
  const signal = new AbortController().signal;
  const print = (e) => console.error(e, JSON.stringify(e));
  await unseal({ client }, new Secret('${SHARE}'), signal).catch(print);
  await client.call({ method: 'POST', path: 'auth/userpass/login/x', token: new Secret('${TOKEN}'), body: { password: new Secret('${SHARE}') }, signal }).catch(print);
  await client.call({ method: 'GET', path: 'sys/mounts', signal }).catch(print);
  await client.transport[Symbol.asyncDispose]();
`;

const PLAIN = `
  import nodeVault from 'node-vault';
  const vault = nodeVault({ endpoint: process.argv[1], token: '${TOKEN}' });
  await vault.unseal({ key: '${SHARE}' }).catch(() => undefined);
`;

async function output(script: string, url: string): Promise<string> {
  const env = {
    PATH: process.env['PATH'],
    DEBUG: '*',
    NODE_DEBUG: 'http,undici,net,tls',
    VAULT_TOKEN: FOREIGN,
    VAULT_NAMESPACE: 'foreign',
    VAULT_PREFIX: '/foreign',
  };
  const args = ['--input-type=module', '-e', script, url];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env });
  return stdout + stderr;
}

test('with all debug output on, no secret is printed; and nothing of VAULT_* in the environment is sent', async () => {
  await using server = await startReplay(() => ({ status: 400, body: { errors: ['refused'] } }));
  const printed = await output(OURS, server.url);
  expect(printed).toContain('E_UNSEAL');
  expect(printed).not.toContain(SHARE);
  expect(printed).not.toContain(TOKEN);
  expect(server.seen.map(({ path }) => path)).toEqual([
    '/v1/sys/unseal',
    '/v1/auth/userpass/login/x',
    '/v1/sys/mounts',
  ]);
  expect(server.seen[0]?.body).toContain(SHARE);
  expect(server.seen.map(({ headers }) => headers['x-vault-token'])).toEqual([undefined, TOKEN, undefined]);
  expect(server.seen.filter(({ headers }) => headers['x-vault-namespace'] !== undefined)).toEqual([]);
});

test('the check is able to fail: node-vault by itself prints the share', async () => {
  await using server = await startReplay(() => ({ status: 400, body: { errors: ['refused'] } }));
  expect(await output(PLAIN, server.url)).toContain(SHARE);
});
