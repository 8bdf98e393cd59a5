/** The test's own network: packets are really lost, names really vanish, and nothing stays behind. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NetNamespace, namespacesMissing } from '../support/net-namespace.ts';
import { type Replay, startReplay } from '../support/replay-server.ts';

const run = promisify(execFile);
const missing = await namespacesMissing();
const namespaces = () => readdir('/run/netns').catch(() => []);
const own = async () => (await namespaces()).filter((name) => name.startsWith(`strongroom-${process.pid}-`));

describe.skipIf(missing !== '')('a network of its own', () => {
  let server: Replay;
  let net: NetNamespace;

  beforeAll(async () => {
    server = await startReplay(() => ({ status: 200, body: 'x'.repeat(500_000) }));
    net = await NetNamespace.create({ services: { 8000: server.url } });
  });
  afterAll(async () => {
    await net?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  /** Fetches at the near end: how many bytes came, or the code of what failed. */
  async function fetched(host: string, timeoutMs = 10_000): Promise<string> {
    const script = `fetch('http://${host}:8000/', { signal: AbortSignal.timeout(${timeoutMs}) }).then((r) => r.text())
      .then((t) => console.log(t.length), (e) => console.log(e.cause?.code ?? e.name)).finally(() => process.exit())`;
    const [command, ...args] = [...net.exec, process.execPath, '-e', script] as const;
    return (await run(command, args)).stdout.trim();
  }

  test('reaches the server by address and by name, and nothing else of the machine', async () => {
    expect(await fetched(net.address)).toBe('500000');
    expect(await fetched('any.test')).toBe('500000');
    const [command, ...args] = [...net.exec, 'ip', '-o', 'addr', 'show', 'scope', 'global'] as const;
    expect((await run(command, args)).stdout.trim().split('\n')).toEqual([expect.stringContaining('10.77.0.2/24')]);
  });

  test('loses packets at random, which the kernels at both ends make good', async () => {
    await net.lose(0.1, 8000);
    expect(await fetched(net.address)).toBe('500000');
    const lost = await net.lost(8000);
    // 500 kB are 350 packets and at least half as many answers.
    expect(lost).toBeGreaterThan(10);
    expect(lost).toBeLessThan(200);
    await net.lose(0.1, 9);
    expect(await fetched(net.address)).toBe('500000');
    expect(await net.lost(9)).toBe(0);
    await net.heal();
  });

  test('swallows all of them: no refusal, no answer', async () => {
    await net.lose(1, 8000);
    expect(await fetched(net.address, 500)).toBe('TimeoutError');
    await net.heal();
    expect(await fetched(net.address)).toBe('500000');
  });

  test('has names that vanish, and a resolver that falls silent', async () => {
    await net.dns('gone');
    expect(await fetched('any.test')).toBe('ENOTFOUND');
    await net.dns('silent');
    expect(await fetched('any.test')).toBe('EAI_AGAIN');
    await net.dns('gone', 'other.test');
    expect(await fetched('other.test')).toBe('ENOTFOUND');
    expect(await fetched('any.test')).toBe('500000');
  });

  test('leaves nothing behind, also when it cannot be made, and does not meet its like', async () => {
    const before = await own();
    {
      await using _one = await NetNamespace.create({ services: {} });
      await using _two = await NetNamespace.create({ services: {} });
      expect(await own()).toHaveLength(before.length + 4);
    }
    await expect(NetNamespace.create({ services: { 99_999: server.url } })).rejects.toThrow('net-far-end');
    expect(await own()).toEqual(before);
    for (const name of (await readdir('/etc/netns')).filter((entry) => entry.includes(`-${process.pid}-`))) {
      expect(before).toContain(name);
    }
  });

  test('of a run that was killed is removed by the next', async () => {
    // No process has this number: it is above the largest that the kernel gives.
    const left = 'strongroom-4194305-0000-near';
    await run('ip', ['netns', 'add', left]);
    await using _net = await NetNamespace.create({ services: {} });
    expect(existsSync(`/run/netns/${left}`)).toBe(false);
  });
});
