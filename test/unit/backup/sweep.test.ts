/** What a killed run leaves beside a snapshot that it did publish: temporary files in directories. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { note, noted } from '../../../src/backup/journal.ts';
import { sweepAfterCrash, sweepAgain } from '../../../src/backup/sweep.ts';
import { newRunId, type SnapshotId } from '../../../src/core/ids.ts';
import { openTmp } from '../../../src/store/file-write.ts';
import { leaseKey, type ObjectKey, type ObjectKind, objectKey } from '../../../src/store/layout.ts';
import { filesIn } from '../../support/backup-trial.ts';
import { Shelf } from '../../support/shelf.ts';

const never = new AbortController().signal;

let shelf: Shelf;
beforeAll(async () => {
  shelf = await Shelf.open({ a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } });
});
afterAll(() => shelf?.[Symbol.asyncDispose]());

/** As `kill -9` leaves it: written, and not linked or not removed yet. */
async function leaveTmp(where: 'a' | 'b', key: ObjectKey): Promise<void> {
  const { handle } = await openTmp(join(shelf.world.directory, where, '.strongroom', 'tmp', key));
  await handle.writeFile('half of it');
  await handle.close();
}

const keyOf = (kind: ObjectKind, snapshot: SnapshotId): ObjectKey => objectKey(shelf.deps.cluster, kind, snapshot);

const left = async (): Promise<string[]> => {
  const files = await Promise.all(['a', 'b'].map((name) => filesIn(join(shelf.world.directory, name))));
  return files.flat().filter((path) => path.includes('/.strongroom/tmp/'));
};

describe('the run after one that was killed', () => {
  it.each([
    { moment: 'in both', manifestIn: ['a', 'b'] },
    { moment: 'in one of two', manifestIn: ['a'] },
  ])('completes what was published $moment, and leaves no temporary file of it', async ({ manifestIn }) => {
    const { snapshot } = await shelf.publish();
    const manifest = objectKey(shelf.deps.cluster, 'manifests', snapshot);
    if (!manifestIn.includes('b')) await rm(join(shelf.world.directory, 'b', manifest));
    await leaveTmp('a', keyOf('manifests', snapshot));
    await leaveTmp('b', keyOf('sigs', snapshot));
    // Of somebody else, perhaps at work: not ours to remove.
    const other = await shelf.publish();
    await leaveTmp('b', keyOf('keys', other.snapshot));
    const folder = join(shelf.world.directory, 'notes');
    await note(folder, newRunId(new Date()), snapshot);
    await writeFile(join(folder, 'x.spool'), 'half of it');

    const killed = await sweepAfterCrash(shelf.deps, folder, never);
    expect(killed).toEqual([snapshot]);
    expect(await noted(folder)).toEqual([snapshot]);
    await sweepAgain(shelf.deps, folder, killed, never);

    expect(await noted(folder)).toEqual([]);
    expect(await left()).toEqual([expect.stringContaining(other.snapshot)]);
    const { entries } = await shelf.deps.catalogue.list(never);
    expect(entries.find((entry) => entry.snapshot === snapshot)?.destinations).toEqual(['a', 'b']);
    await rm(join(shelf.world.directory, 'b', '.strongroom', 'tmp'), { recursive: true });
  });

  it('removes after a day what was killed while it wrote the lease, or keys anew; until then somebody may be at work', async () => {
    const { snapshot } = await shelf.publish();
    await leaveTmp('a', leaseKey(shelf.deps.cluster));
    await leaveTmp('b', keyOf('keys', snapshot));
    const sweepAt = async (hours: number): Promise<string[]> => {
      const clock = { now: () => new Date(Date.now() + hours * 3_600_000) };
      await sweepAfterCrash({ ...shelf.deps, clock }, join(shelf.world.directory, 'notes'), never);
      return await left();
    };
    expect(await sweepAt(23)).toHaveLength(2);
    expect(await sweepAt(25)).toEqual([]);
  });
});
