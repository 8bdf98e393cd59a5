/** A destination where a prune may remove nothing: it is refused with its reason, and the others are pruned. */
import { expect, it } from 'vitest';
import { pruneRefusal } from '../../../src/app-secrets.ts';
import { newRunId } from '../../../src/core/ids.ts';
import { prune } from '../../../src/retention/prune.ts';
import { PruneScene } from '../../support/prune-scene.ts';

// Each test encrypts and signs several snapshots, on machines that do other things, too.
const never = new AbortController().signal;

it('keeps everything there', async () => {
  const two = { a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } } as const;
  await using scene = await PruneScene.open(two, { keepLast: 1 });
  for (const daysAgo of [2, 1]) await scene.publish(daysAgo);
  const { refusal } = pruneRefusal('b', { type: 's3', conditionalWrites: false } as Parameters<typeof pruneRefusal>[1]);
  expect(refusal).toMatchObject({ code: 'E_PRECONDITION' });
  const deps = await scene.deps();
  const destinations = deps.destinations.map((one) =>
    one.store.name === 'b' && refusal !== undefined ? { ...one, refusal } : one,
  );
  const result = await prune({ ...deps, destinations }, { run: newRunId(new Date()) }, never);
  expect(result.destinations).toMatchObject([
    { destination: 'a', removed: [{}], error: null },
    { destination: 'b', removed: [], error: { code: 'E_PRECONDITION' } },
  ]);
  expect((await scene.shelf.deps.catalogue.only('b').list(never)).entries).toHaveLength(2);
});
