/** A cluster to which nothing must happen. */
import { expect } from 'vitest';
import type { BaoCluster } from './bao-cluster.ts';
import { sealStatus } from './bao-status.ts';
import { installsOn, valueAt } from './restore-trial.ts';

/** Written after the snapshot that a test might restore; the mount is of the test's making. */
export const CANARY = { path: 'kv/canary', value: 'written since' } as const;

/** Runs what must install nothing on any node, and make no standby seal itself. */
export async function unchanged<T>(cluster: BaoCluster, run: () => Promise<T>): Promise<T> {
  const before = await Promise.all(cluster.nodes.map(installsOn));
  const result = await run();
  expect(await valueAt(await cluster.waitActive(), cluster.rootToken, CANARY.path)).toBe(CANARY.value);
  expect(await Promise.all(cluster.nodes.map(installsOn))).toEqual(before);
  for (const node of cluster.nodes) expect(await sealStatus(node)).toMatchObject({ sealed: false });
  return result;
}
