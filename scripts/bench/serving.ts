/** When does a node serve what was restored? A 204 says only that the archive was unpacked. */
import { setTimeout as delay } from 'node:timers/promises';
import type { BaoCluster } from '../../test/support/bao-cluster.ts';
import type { BaoNode } from '../../test/support/bao-node.ts';
import { put, textAt } from '../../test/support/seed-part.ts';

const MOUNT = 'bench-marker';
const PATH = `${MOUNT}/state`;
const POLL_MS = 50;
const DEADLINE_MS = 600_000;
/**
 * So long every answer must be the right one before the first of them counts. The server waits 5 s between applying a
 * snapshot and loading its keys, and then stops answering for a moment.
 */
const STEADY_MS = 7_000;

export type MarkerValue = 'in the snapshot' | 'written later';

/** Writes the record that tells the restored state from the one before. */
export async function mark(cluster: BaoCluster, value: MarkerValue): Promise<void> {
  const context = { node: cluster.first, token: cluster.rootToken, leaseTtl: '1h', signal: undefined };
  const mounts = await cluster.call('GET', 'sys/mounts');
  if (!mounts.body.includes(`"${MOUNT}/"`)) {
    await put(context, `sys/mounts/${MOUNT}`, { type: 'kv', options: { version: '1' } });
  }
  await put(context, PATH, { value });
}

/**
 * Asks until the marker reads as in the snapshot, and has done so for {@link STEADY_MS} without any other answer or
 * none. Gives how long after `begin` (performance.now()) the first of these answers came, in milliseconds.
 */
export async function serving(node: BaoNode, token: string, begin: number, signal: AbortSignal): Promise<number> {
  let since: number | undefined;
  while (performance.now() - begin < DEADLINE_MS) {
    const isRestored = await reads(node, token);
    const now = performance.now();
    if (!isRestored) since = undefined;
    else since ??= now;
    if (since !== undefined && now - since >= STEADY_MS) return since - begin;
    await delay(POLL_MS, undefined, { signal });
  }
  throw new Error(`${node.url} does not serve the restored state after ${DEADLINE_MS / 1000} s`);
}

async function reads(node: BaoNode, token: string): Promise<boolean> {
  try {
    const answer = await node.request('GET', PATH, { token, timeoutMs: 2_000 });
    const wanted: MarkerValue = 'in the snapshot';
    return answer.status === 200 && textAt(answer, 'data', 'value') === wanted;
  } catch {
    // A node that loads its keys anew refuses connections, or cuts them.
    return false;
  }
}
