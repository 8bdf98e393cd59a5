/** What a bucket with versions hides: only a signed journal makes it ours to remove. */
import { expect, it } from 'vitest';
import { newSnapshotId, parseClusterName } from '../../../src/core/ids.ts';
import type { Objects } from '../../../src/retention/inventory.ts';
import { findOrphans, type OrphanContext } from '../../../src/retention/orphans.ts';
import { type ObjectKind, objectKey } from '../../../src/store/layout.ts';
import type { StoredVersion } from '../../../src/store/store.ts';
import { DAY } from './series.ts';

const now = new Date('2026-11-22T06:00:00Z');
const old = new Date(now.getTime() - 30 * DAY);
const snapshot = newSnapshotId(old);
const key = (kind: ObjectKind) => objectKey(parseClusterName('prod'), kind, snapshot);

const shown = (kind: ObjectKind): StoredVersion[] => [
  { key: key(kind), versionId: 'v1', isCurrent: true, isDeleteMarker: false, bytes: 5, modifiedAt: old },
];
const hidden = (kind: ObjectKind): StoredVersion[] => [
  { key: key(kind), versionId: 'v2', isCurrent: true, isDeleteMarker: true, bytes: 0, modifiedAt: old },
  { key: key(kind), versionId: 'v1', isCurrent: false, isDeleteMarker: false, bytes: 5, modifiedAt: old },
];

function judged(objects: Objects, change: Partial<OrphanContext> = {}): string[] {
  const inventory = { snapshots: new Map([[snapshot, objects]]), rewritten: [], unseen: null };
  const context: OrphanContext = {
    now,
    tombstones: new Set(),
    journaled: new Set(),
    elsewhere: () => [],
    evidence: () => null,
    uploads: [],
    ...change,
  };
  return findOrphans(inventory, context).map(({ action, reason }) => `${action}: ${reason}`);
}

const manifestHidden = {
  manifests: hidden('manifests'),
  sigs: shown('sigs'),
  data: shown('data'),
  keys: shown('keys'),
};
const allHidden = { manifests: [], sigs: [], data: hidden('data'), keys: hidden('keys') };

it('is left alone where only the manifest is hidden, however old', () => {
  expect(judged(manifestHidden)).toEqual(['keep: its manifest was hidden by somebody else than a prune']);
});

it('is left alone where nothing is shown at all', () => {
  expect(judged(allHidden)).toEqual([
    'keep: hidden by somebody else than a prune: bring its versions back, or remove them by hand',
  ]);
});

it('goes when the journal of a prune names it, whatever hides it and wherever else it is', () => {
  for (const objects of [manifestHidden, allHidden]) {
    expect(judged(objects, { journaled: new Set([snapshot]), elsewhere: () => ['b'] })).toEqual([
      'remove: left by a prune that did not end',
    ]);
  }
});

it('keeps a tombstone for a day, and one of what was published elsewhere', () => {
  const buriedAt = (daysAgo: number): Objects => {
    const modifiedAt = new Date(now.getTime() - daysAgo * DAY);
    return { manifests: shown('manifests').map((one) => ({ ...one, modifiedAt })), sigs: [], data: [], keys: [] };
  };
  const tombstones = new Set([snapshot]);
  expect(judged(buriedAt(0.9), { tombstones })).toEqual(['keep: tombstone: its run may still wake up and publish']);
  expect(judged(buriedAt(1.1), { tombstones })).toEqual([
    'remove: tombstone of a run that lost its lease over a day ago',
  ]);
  expect(judged(buriedAt(1.1), { tombstones, elsewhere: () => ['b'] })).toEqual(['keep: its manifest is in b']);
});
