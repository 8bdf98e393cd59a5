/** Prune, replicate and runs beside them, on a bucket and a directory: what one took away on purpose the other leaves alone. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newRunId, type SnapshotId } from '../../src/core/ids.ts';
import { silentLog } from '../../src/core/log.ts';
import { removeSnapshot } from '../../src/retention/remove.ts';
import { type ReplicateDeps, type ReplicateResult, replicate } from '../../src/snapshots/replicate.ts';
import type { Store } from '../../src/store/store.ts';
import { leaseTaker } from '../support/leases.ts';
import { baseEnv } from '../support/process.ts';
import { PruneScene } from '../support/prune-scene.ts';
import { sharedServer } from '../support/shared-servers.ts';
import { worldEnv } from '../support/world.ts';

const CHILD = fileURLToPath(new URL('../support/replicate-child.ts', import.meta.url));
// Several snapshots are encrypted and signed in each, on machines that do other things, too.
const never = new AbortController().signal;
const TTL_MS = 2_000;

let scene: PruneScene;
let env: Record<string, string>;
beforeEach(async () => {
  const server = await sharedServer('versitygw');
  const bucket = `data-jobs-${randomUUID()}`;
  await server.createBucket(bucket, { versioning: true });
  env = worldEnv(server);
  scene = await PruneScene.open(
    { a: { type: 'directory', path: 'a' }, b: { type: 's3', server, bucket } },
    { keepLast: 5, destinations: { b: { keepLast: 2 } } },
    env,
  );
});
afterEach(() => scene?.[Symbol.asyncDispose]());

async function mend(change: Partial<ReplicateDeps> = {}): Promise<ReplicateResult> {
  const { destinations, catalogue, records, cluster } = await scene.deps();
  const deps: ReplicateDeps = {
    cluster,
    catalogue,
    records,
    destinations: scene.shelf.deps.destinations,
    policies: new Map(destinations.map(({ store, policy }) => [store.name, policy])),
    takeLease: leaseTaker(cluster, scene.stores),
    clock: { now: () => scene.now },
    log: silentLog,
    onProgress: () => undefined,
    ...change,
  };
  return await replicate(deps, { run: newRunId(scene.now), prove: 'checksum' }, never);
}

const bucketStore = (): Store => {
  const found = scene.stores.find(({ name }) => name === 'b');
  if (found === undefined) throw new Error('there is a bucket');
  return found;
};
const namesIn = async (name: string): Promise<string[]> => {
  const { entries } = await scene.shelf.deps.catalogue.only(name).list(never);
  return entries.map(({ snapshot }) => snapshot);
};

it('what a prune removed from the bucket stays away, and what vanished there is made again', async () => {
  const ids: SnapshotId[] = [];
  for (const daysAgo of [4, 3, 2, 1]) ids.push((await scene.publish(daysAgo)).snapshot);
  const [first, second, third, fourth] = ids;
  expect((await scene.prune()).destinations.map(({ removed }) => removed.length)).toEqual([0, 2]);
  expect(await mend()).toMatchObject({ repaired: [], leftAlone: 2, unmended: [] });
  expect(await namesIn('b')).toEqual([third, fourth]);
  // Somebody else removes one, with every version, and writes nothing down.
  await removeSnapshot(bucketStore(), scene.shelf.deps.cluster, third ?? never_(), never);
  expect(await mend()).toMatchObject({ repaired: [{ snapshot: third, destination: 'b' }], leftAlone: 2, unmended: [] });
  expect(await namesIn('b')).toEqual([third, fourth]);
  // A policy that grew does not bring back either what was removed on purpose.
  const everything = new Map<string, never>();
  expect(await mend({ policies: everything })).toMatchObject({ repaired: [], leftAlone: 2 });
  expect(await namesIn('a')).toEqual([first, second, third, fourth]);
  expect((await scene.prune()).destinations.map(({ removed }) => removed.length)).toEqual([0, 0]);
});

it('a destination that came later gets what its policy keeps, and no more', async () => {
  for (const daysAgo of [4, 3, 2, 1]) await scene.publish(daysAgo, ['a']);
  const [, , third, fourth] = await namesIn('a');
  expect(await mend()).toMatchObject({ repaired: [{ snapshot: fourth }, { snapshot: third }], leftAlone: 2 });
  expect(await namesIn('b')).toEqual([third, fourth]);
  expect((await scene.prune()).destinations.map(({ removed }) => removed.length)).toEqual([0, 0]);
});

it('stopped by SIGSTOP for longer than its lease it publishes nothing, and the next one does', async () => {
  const { snapshot } = await scene.publish(1, ['a']);
  const { cluster } = scene.shelf.deps;
  const order = JSON.stringify({ configFile: scene.shelf.app.configFile, ttlMs: TTL_MS });
  const child = spawn(process.execPath, [CHILD, order], {
    env: { ...baseEnv(), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    expect(await lines.next()).toMatchObject({ value: 'stopping' });
    // Its process is there, and gives no sign of life.
    const options = { ttlMs: TTL_MS, waitMs: 60_000 };
    {
      await using _lease = await leaseTaker(cluster, scene.stores, options)(newRunId(new Date()), never);
      child.kill('SIGCONT');
      expect(await lines.next()).toMatchObject({ value: 'E_LOCKED' });
    }
    expect(await namesIn('b')).toEqual([]);
    expect(await mend()).toMatchObject({ repaired: [{ snapshot, destination: 'b' }], unmended: [] });
  } finally {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
});

it('beside a backup that is at work it changes nothing, and finds its work when that has ended', async () => {
  const { snapshot } = await scene.publish(1, ['a']);
  const { lease, cluster } = scene.shelf.deps;
  {
    // As a backup holds it, in any destination.
    const backup = { ...lease, door: 'strongroom backup' };
    await using _held = await leaseTaker(cluster, scene.stores, backup)(newRunId(new Date()), never);
    await expect(mend()).rejects.toMatchObject({ code: 'E_LOCKED' });
    expect(await namesIn('b')).toEqual([]);
  }
  expect(await mend()).toMatchObject({ repaired: [{ snapshot }] });
});

function never_(): never {
  throw new Error('four were published');
}
