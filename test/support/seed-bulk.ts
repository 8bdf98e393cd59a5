/** A state of a wanted size: for benchmarks, and for faults that need a snapshot longer than a buffer. */
import { createHash, randomBytes } from 'node:crypto';
import type { BaoCluster } from './bao-cluster.ts';
import type { BaoNode } from './bao-node.ts';
import { put, type SeedContext, textAt } from './seed-part.ts';

export type Bulk = { mount: string; entries: number; sha256: string };

// Below 512 KiB raft puts an entry into one log record; above it cuts it into chunks and keeps the pieces.
const ENTRY_BYTES = 480 * 1024;
const WRITERS = 4;

/**
 * Fills a new KV v1 mount until the state has grown by at least `bytes` (more than zero; whole entries of 480 KiB). The
 * server encrypts, so that the content does not compress however simple it is. Each call takes another mount.
 */
export async function grow(
  cluster: BaoCluster,
  bytes: number,
  options: { mount?: string; signal?: AbortSignal } = {},
): Promise<Bulk> {
  const { mount = 'seed-bulk', signal } = options;
  const node = await cluster.waitActive({ signal });
  const context: SeedContext = { node, token: cluster.rootToken, leaseTtl: '1h', signal };
  const entries = Math.ceil(bytes / ENTRY_BYTES);
  const value = randomBytes((ENTRY_BYTES * 3) / 4).toString('base64');
  await put(context, `sys/mounts/${mount}`, { type: 'kv', options: { version: '1' } });
  let next = 0;
  const writer = async () => {
    while (next < entries) {
      const index = next;
      next += 1;
      signal?.throwIfAborted();
      await put(context, `${mount}/${index}`, { value: valueOf(index, value) }, { timeoutMs: 60_000 });
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  return { mount, entries, sha256: createHash('sha256').update(value).digest('hex') };
}

/** Counts the entries and reads the first and the last. One line per difference. */
export async function verifyBulk(node: BaoNode, token: string, bulk: Bulk): Promise<string[]> {
  const found: string[] = [];
  const list = await node.request('LIST', bulk.mount, { token, timeoutMs: 60_000 });
  const count = list.body.toString('utf8').match(/"\d+"/g)?.length ?? 0;
  if (count !== bulk.entries) found.push(`${bulk.mount} has ${count} entries of ${bulk.entries}`);
  for (const index of [0, bulk.entries - 1]) {
    const answer = await node.request('GET', `${bulk.mount}/${index}`, { token, timeoutMs: 60_000 });
    if (answer.status !== 200) {
      found.push(`${bulk.mount}/${index} answers ${answer.status}`);
      continue;
    }
    const [head, value] = textAt(answer, 'data', 'value').split(':', 2);
    const sha256 = createHash('sha256')
      .update(value ?? '')
      .digest('hex');
    if (head !== String(index) || sha256 !== bulk.sha256) found.push(`${bulk.mount}/${index} differs`);
  }
  return found;
}

function valueOf(index: number, value: string): string {
  return `${index}:${value}`;
}
