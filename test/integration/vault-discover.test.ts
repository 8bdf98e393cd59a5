/** Finding nodes through the Kubernetes API, answered by a small server as the API reference documents it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { discoverNodes, type KubernetesDiscovery } from '../../src/vault/discover.ts';
import { type ReplayAnswer, startReplay } from '../support/replay-server.ts';
import { never } from '../support/vault-client.ts';

let directory: string;
let tokenFile: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'strongroom-discover-'));
  tokenFile = join(directory, 'token');
  await writeFile(tokenFile, 'a-service-account-token\n');
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

function where(apiServer: string, change: Partial<KubernetesDiscovery['kubernetes']> = {}): KubernetesDiscovery {
  return { kubernetes: { namespace: 'vault', headlessService: 'vault-internal', apiServer, tokenFile, ...change } };
}

function slice(...endpoints: object[]): object {
  return { metadata: { name: 'vault-internal-x' }, addressType: 'IPv4', endpoints };
}

test('pods of a headless service come by their stable names, ready or not, over all pages', async () => {
  const pages: ReplayAnswer[] = [
    {
      status: 200,
      body: {
        metadata: { continue: 'next page' },
        items: [
          slice(
            { addresses: ['10.0.0.2'], hostname: 'vault-1', conditions: { ready: true } },
            { addresses: ['10.0.0.1'], hostname: 'vault-0', conditions: { ready: false } },
          ),
        ],
      },
    },
    { status: 200, body: { metadata: {}, items: [slice({ addresses: ['fd00::7'] }), { endpoints: null }] } },
  ];
  await using api = await startReplay(() => pages.shift() ?? { status: 500 });
  expect(await discoverNodes(where(api.url), never)).toEqual([
    'https://[fd00::7]:8200',
    'https://vault-0.vault-internal.vault.svc.cluster.local:8200',
    'https://vault-1.vault-internal.vault.svc.cluster.local:8200',
  ]);
  expect(api.seen.map(({ path }) => path)).toEqual([
    '/apis/discovery.k8s.io/v1/namespaces/vault/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dvault-internal&limit=500',
    expect.stringContaining('&continue=next+page') as unknown,
  ]);
  expect(api.seen[0]?.headers.authorization).toBe('Bearer a-service-account-token');
});

test('pods by label: names where they have one, addresses elsewhere, none that have ended', async () => {
  const items = [
    { spec: { hostname: 'bao-0', subdomain: 'bao-internal' }, status: { podIP: '10.0.0.1', phase: 'Running' } },
    { spec: {}, status: { podIP: '10.0.0.2', phase: 'Running' } },
    { spec: {}, status: { podIP: '10.0.0.3', phase: 'Failed' } },
    { spec: {}, status: { phase: 'Pending' } },
  ];
  await using api = await startReplay(() => ({ status: 200, body: { items } }));
  const { headlessService: _, ...rest } = where(api.url, {
    port: 8300,
    scheme: 'http',
    clusterDomain: 'corp',
  }).kubernetes;
  expect(await discoverNodes({ kubernetes: { ...rest, labelSelector: 'component=server' } }, never)).toEqual([
    'http://10.0.0.2:8300',
    'http://bao-0.bao-internal.vault.svc.corp:8300',
  ]);
});

test.each([
  [{ status: 403, body: { kind: 'Status' } }, /403/, /`list` on endpointslices/],
  [{ status: 200, body: { items: [] } }, /no pods of service vault-internal/, /kubectl get pods/],
  [{ status: 200, body: { kind: 'Pod' } }, /unknown shape/, /^$/],
])('an answer that is no list of nodes: %o', async (answer, message, hint) => {
  await using api = await startReplay(() => answer);
  const error: unknown = await discoverNodes(where(api.url), never).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'E_DISCOVERY', message: expect.stringMatching(message) as unknown });
  expect((error as { hint?: string }).hint ?? '').toMatch(hint);
  expect(JSON.stringify(error)).not.toContain('a-service-account-token');
});

test('an API server that is not there, and a token file that is not', async () => {
  await expect(discoverNodes(where('http://127.0.0.1:1'), never)).rejects.toMatchObject({
    code: 'E_DISCOVERY',
    retryable: true,
  });
  await expect(
    discoverNodes(where('http://127.0.0.1:1', { tokenFile: join(directory, 'no') }), never),
  ).rejects.toMatchObject({
    code: 'E_CONFIG_INVALID',
  });
});
