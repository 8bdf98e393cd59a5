/** Snapshots of a real cluster, and the ways in which taking and installing one breaks. */
import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bytes, collect } from '../../src/core/flow.ts';
import { installSnapshot } from '../../src/vault/install.ts';
import { takeSnapshot } from '../../src/vault/snapshot.ts';
import { type BaoCluster, startCluster } from '../support/bao-cluster.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { cuttingProxy } from '../support/tcp-server.ts';
import { until } from '../support/until.ts';
import { never, tokenWith, vaultCluster } from '../support/vault-client.ts';

const MINUTE = { signal: never, deadlineMs: 60_000 };
const STATE_BYTES = 3 * 2 ** 20;
let bao: BaoCluster;

beforeAll(async () => {
  bao = await startCluster({ version: '2.7.2', listenerTimeouts: { http_read_timeout: '2s' } });
  await bao.call('POST', 'sys/mounts/secret', { type: 'kv' });
  // Larger than what socket buffers swallow, or no break in the middle would be one.
  const value = 'x'.repeat(256 * 1024);
  for (let i = 0; i < STATE_BYTES / value.length; i += 1) await bao.call('POST', `secret/filler/${i}`, { value });
});

afterAll(async () => {
  await bao?.[Symbol.asyncDispose]();
});

async function* pieces(bytes: Uint8Array, size: number, pauseMs = 0): Bytes {
  for (let at = 0; at < bytes.length; at += size) {
    if (pauseMs > 0) await delay(pauseMs);
    yield bytes.subarray(at, at + size);
  }
}

async function archive(): Promise<Uint8Array> {
  await using cluster = vaultCluster(bao);
  return await collect(takeSnapshot(await cluster.active(never), MINUTE), 64 * 2 ** 20);
}

test('the archive arrives whole and byte-clean', async () => {
  const tar = gunzipSync(await archive());
  expect(tar.length).toBeGreaterThan(STATE_BYTES);
  expect(tar.subarray(0, 9).toString()).toBe('meta.json');
  expect(tar.includes('SHA256SUMS.sealed')).toBe(true);
});

test('nothing is opened before the first byte is asked for, and a reader that stops cuts the connection', async () => {
  await using proxy = await cuttingProxy(bao.first.url, {});
  await using cluster = vaultCluster(bao, { nodes: [proxy.url] });
  const node = await cluster.active(never);
  const before = proxy.connections.size;
  const stream = takeSnapshot(node, MINUTE);
  expect(proxy.connections.size).toBe(before);
  for await (const chunk of stream) {
    expect(chunk.byteLength).toBeGreaterThan(0);
    break;
  }
  const [last] = [...proxy.connections].slice(-1);
  await until('the connection is gone', async () => (last?.destroyed === true ? true : undefined));
});

test('a connection that is reset in the middle is retryable, and says how far it came', async () => {
  await using proxy = await startFaultProxy(bao.first.url);
  await using cluster = vaultCluster(bao, { nodes: [proxy.url] });
  const node = await cluster.active(never);
  await proxy.set({ kind: 'throttle', bytesPerSecond: STATE_BYTES / 3 });
  let bytes = 0;
  const drain = async (): Promise<void> => {
    for await (const chunk of takeSnapshot(node, MINUTE)) {
      bytes += chunk.byteLength;
      // A reset drops what nobody has read yet: only the reader knows when it is in the middle.
      if (bytes > 100_000) proxy.resetConnections();
    }
  };
  const error = await drain().catch((e: unknown) => e);
  expect(error).toMatchObject({
    code: 'E_VAULT_UNREACHABLE',
    retryable: true,
    message: expect.stringContaining(`broke off after ${bytes} bytes: the connection was lost`) as unknown,
  });
  expect(bytes).toBeGreaterThan(100_000);
  expect(bytes).toBeLessThan(STATE_BYTES);
});

test('a slow reader is cut at the deadline', async () => {
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  const slowly = async (): Promise<void> => {
    for await (const chunk of takeSnapshot(node, { signal: never, deadlineMs: 700 })) {
      await delay(chunk.byteLength > 0 ? 100 : 0);
    }
  };
  await expect(slowly()).rejects.toMatchObject({ code: 'E_TIMEOUT' });
});

test('an abort rejects with its reason', async () => {
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  const controller = new AbortController();
  const reason = new Error('enough');
  const drain = async (): Promise<void> => {
    for await (const chunk of takeSnapshot(node, { signal: controller.signal, deadlineMs: 60_000 })) {
      if (chunk.byteLength > 0) controller.abort(reason);
    }
  };
  await expect(drain()).rejects.toBe(reason);
});

test('a token without the right is told the policy line', async () => {
  const token = await tokenWith(bao, 'nothing', 'path "secret/x" { capabilities = ["read"] }');
  await using cluster = vaultCluster(bao, { auth: { method: 'token', token } });
  const node = await cluster.active(never);
  await expect(collect(takeSnapshot(node, MINUTE), 1e8)).rejects.toMatchObject({
    code: 'E_VAULT_DENIED',
    hint: expect.stringContaining('path "sys/storage/raft/snapshot" { capabilities = ["read"] }') as unknown,
  });
  await expect(
    installSnapshot(node, pieces(new Uint8Array(10), 10), { force: true, signal: never }),
  ).rejects.toMatchObject({
    code: 'E_VAULT_DENIED',
    hint: expect.stringContaining('path "sys/storage/raft/snapshot-force" { capabilities = ["update"] }') as unknown,
  });
});

test('an archive of the same cluster is accepted, and brings back what it holds', async () => {
  await bao.call('POST', 'secret/canary', { value: 'before' });
  const bytes = await archive();
  await bao.call('POST', 'secret/canary', { value: 'after' });
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  const outcome = await installSnapshot(node, pieces(bytes, 65_536), {
    bytes: bytes.length,
    force: false,
    signal: never,
  });
  expect(outcome).toEqual({ outcome: 'accepted' });
  await until('the secret is the old one', async () => {
    const read = (await (await cluster.active(never)).read('secret/canary', never)) as {
      data?: { value?: string };
    } | null;
    return read?.data?.value === 'before' ? true : undefined;
  });
});

test('without a known length it works too', async () => {
  const bytes = await archive();
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  expect(await installSnapshot(node, pieces(bytes, 50_000), { force: true, signal: never })).toEqual({
    outcome: 'accepted',
  });
  await until('the node serves again', async () => (await cluster.active(never)).mounts(never));
});

test('an archive of a stranger is refused without force, with the reason', async () => {
  await using other = await startCluster({ version: '2.7.2', idPrefix: 's' });
  const bytes = await archive();
  await using cluster = vaultCluster(other);
  const node = await cluster.active(never);
  await expect(
    installSnapshot(node, pieces(bytes, 65_536), { bytes: bytes.length, force: false, signal: never }),
  ).rejects.toMatchObject({
    code: 'E_INSTALL_REFUSED',
    hint: expect.stringContaining('restore with force') as unknown,
  });
});

test('a damaged archive is refused, with force too', async () => {
  const bytes = (await archive()).slice();
  bytes.fill(7, 100_000, 100_050);
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  await expect(
    installSnapshot(node, pieces(bytes, 65_536), { bytes: bytes.length, force: true, signal: never }),
  ).rejects.toMatchObject({
    code: 'E_INSTALL_REFUSED',
    message: expect.stringContaining('damaged') as unknown,
  });
});

test('an upload slower than http_read_timeout is refused by that name', async () => {
  const bytes = await archive();
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  const readTimeoutMs = await node.listenerReadTimeoutMs(never);
  expect(readTimeoutMs).toBe(2_000);
  const slow = installSnapshot(node, pieces(bytes, 65_536, 120), {
    bytes: bytes.length,
    force: false,
    signal: never,
    readTimeoutMs: readTimeoutMs ?? 0,
  });
  await expect(slow).rejects.toMatchObject({
    code: 'E_INSTALL_REFUSED',
    message: expect.stringContaining('http_read_timeout') as unknown,
  });
});

test('a connection lost in the middle of an upload: nothing was applied, and it says so', async () => {
  // Paced: loopback buffers would swallow the whole archive before the break, and then nobody could know.
  await using proxy = await cuttingProxy(bao.first.url, { upAfter: 1_500_000 });
  const bytes = await archive();
  await using cluster = vaultCluster(bao, { nodes: [proxy.url] });
  const node = await cluster.active(never);
  await expect(
    installSnapshot(node, pieces(bytes, 65_536, 20), { bytes: bytes.length, force: false, signal: never }),
  ).rejects.toMatchObject({
    code: 'E_VAULT_UNREACHABLE',
    message: expect.stringContaining('nothing was applied') as unknown,
  });
});

test('the same near http_read_timeout is told as that: a broken pipe may come before the answer that explains it', async () => {
  await using proxy = await cuttingProxy(bao.first.url, { upAfter: 1_500_000 });
  const bytes = await archive();
  await using cluster = vaultCluster(bao, { nodes: [proxy.url] });
  const node = await cluster.active(never);
  const options = { bytes: bytes.length, force: false, signal: never, readTimeoutMs: 300 };
  await expect(installSnapshot(node, pieces(bytes, 65_536, 20), options)).rejects.toMatchObject({
    code: 'E_INSTALL_REFUSED',
    message: expect.stringContaining('http_read_timeout') as unknown,
  });
});

test('a connection lost after the last byte is unknown, not failed', async () => {
  const bytes = await archive();
  await using direct = vaultCluster(bao);
  const node = await direct.active(never);
  await using proxy = await cuttingProxy(bao.first.url, { upAfter: bytes.length + 100 });
  await using through = vaultCluster(bao, { nodes: [proxy.url] });
  const via = await through.active(never);
  const outcome = await installSnapshot(via, pieces(bytes, 65_536), {
    bytes: bytes.length,
    force: false,
    signal: never,
  });
  expect(outcome).toMatchObject({ outcome: 'unknown' });
  await until('the node serves again', () => node.mounts(never));
});

test('an interruption before the end rejects with its reason', async () => {
  const bytes = await archive();
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  const early = new AbortController();
  async function* interrupted(): Bytes {
    yield bytes.subarray(0, 500_000);
    early.abort(new Error('early'));
    yield bytes.subarray(500_000);
  }
  await expect(
    installSnapshot(node, interrupted(), { bytes: bytes.length, force: false, signal: early.signal }),
  ).rejects.toThrow('early');
});

test('what the source throws is what the upload rejects with', async () => {
  const bytes = await archive();
  await using cluster = vaultCluster(bao);
  const node = await cluster.active(never);
  async function* broken(): Bytes {
    yield bytes.subarray(0, bytes.length - 5);
    throw new Error('does not authenticate');
  }
  await expect(installSnapshot(node, broken(), { force: false, signal: never })).rejects.toThrow(
    'does not authenticate',
  );
});
