/** How much of a bucket is locked, as the store itself says it: what was asked for at the upload is not believed. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { clusterSamples } from '../../src/observe/cluster-metrics.ts';
import { readStatus } from '../../src/observe/status.ts';
import { never } from '../support/faulty-store.ts';
import { type OpenedS3Store, openS3Store } from '../support/s3-store.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { HOUR, Scene } from '../unit/observe/scene.ts';

let opened: OpenedS3Store;
let scene: Scene;
const limits = { maxAgeMs: null, maxProofAgeMs: null, maxStatusAgeMs: null };

beforeEach(async () => {
  opened = await openS3Store(await sharedServer('versitygw'), { objectLock: true });
  scene = await Scene.create([opened.store]);
});
afterEach(async () => {
  await scene[Symbol.asyncDispose]();
  await opened[Symbol.asyncDispose]();
});

async function coverage(locked: readonly string[], now: Date): Promise<number | undefined> {
  const status = await readStatus({ ...scene.deps, locked }, now, never);
  const samples = clusterSamples({ status, since: now }, limits, now);
  return samples.find(({ name }) => name === 'strongroom_lock_coverage_ratio')?.value;
}

it('is the share of the newest copies whose lock outlives now, and absent where none is asked for', async () => {
  const now = new Date();
  const ago = (hours: number): Date => new Date(now.getTime() - hours * HOUR);
  const name = opened.store.name;
  expect(await coverage([name], now)).toBeUndefined();
  const soon = new Date(now.getTime() + HOUR);
  const late = new Date(now.getTime() + 48 * HOUR);
  // Too old to be looked at.
  await scene.backup(ago(8 * 24));
  await scene.backup(ago(3), { lock: soon });
  await scene.backup(ago(2));
  await scene.backup(ago(1), { lock: late });
  expect(await coverage([], now)).toBeUndefined();
  expect(await coverage([name], now)).toBeCloseTo(2 / 3);
  expect(await coverage([name], new Date(now.getTime() + 2 * HOUR))).toBeCloseTo(1 / 3);
});
