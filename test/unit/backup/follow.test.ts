/** How long a new snapshot is locked: by what its destination holds, on real directories. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { followRetention } from '../../../src/backup/follow.ts';
import type { Destination } from '../../../src/backup/options.ts';
import { newSnapshotId, parseClusterName } from '../../../src/core/ids.ts';
import { silentLog } from '../../../src/core/log.ts';
import { FileStore } from '../../../src/store/file.ts';
import { objectKey } from '../../../src/store/layout.ts';
import { DAY, HOUR, NOTHING } from '../retention/series.ts';

const never = new AbortController().signal;
const cluster = parseClusterName('prod');
const now = new Date('2026-11-22T06:00:00Z');
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'strongroom-follow-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function there(at: string): Promise<void> {
  const path = join(root, objectKey(cluster, 'manifests', newSnapshotId(new Date(at))));
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, 'x');
}

async function keptFor(purpose: 'backup' | 'safety' = 'backup', directory = root): Promise<number | undefined> {
  const policy = { ...NOTHING, keepDaily: 7, keepMonthly: 3 };
  const follow = { policy, limits: { slackMs: 2 * DAY, maxMs: 60 * DAY } };
  const lock: Destination['lock'] = { mode: 'governance', keepMs: 2 * DAY, follow };
  const destinations = [{ store: new FileStore({ name: 'a', directory }), lock }];
  const snapshot = newSnapshotId(now);
  const deps = { cluster, destinations, clock: { now: () => now }, log: silentLog };
  const [found] = await followRetention(deps, { snapshot, purpose }, never);
  expect(found?.lock).toMatchObject({ mode: 'governance' });
  return found?.lock?.keepMs;
}

it('the first of a month is locked for the months, and no longer than the cap', async () => {
  await there('2026-10-31T06:00:00Z');
  expect(await keptFor()).toBe(60 * DAY);
});

it('the first of a day until its day is the eighth, with the slack', async () => {
  await there('2026-11-01T06:00:00Z');
  await there('2026-11-21T06:00:00Z');
  expect(await keptFor()).toBe(7 * DAY - 6 * HOUR + 2 * DAY);
});

it('a later one of a day for the slack alone', async () => {
  await there('2026-11-01T06:00:00Z');
  await there('2026-11-22T05:00:00Z');
  expect(await keptFor()).toBe(2 * DAY);
});

it('a safety snapshot for as long as those are kept', async () => {
  await there('2026-11-22T05:00:00Z');
  expect(await keptFor('safety')).toBe(32 * DAY);
});

it('for the slack alone where nobody can say what is there: a lock is never taken back', async () => {
  await there('2026-10-31T06:00:00Z');
  expect(await keptFor('backup', join(root, 'gone'))).toBe(2 * DAY);
});

it('leaves a fixed time as it is', async () => {
  const store = new FileStore({ name: 'a', directory: root });
  const destinations: Destination[] = [
    { store, lock: { mode: 'governance', keepMs: HOUR } },
    { store, lock: null },
  ];
  const deps = { cluster, destinations, clock: { now: () => now }, log: silentLog };
  expect(await followRetention(deps, { snapshot: newSnapshotId(now), purpose: 'backup' }, never)).toEqual(destinations);
});
