/** What a destination holds, by kind of object: from the keys that it lists. */
import type { ClusterName, SnapshotId } from '../../src/core/ids.ts';
import { latestKey, leaseKey, type ObjectKind, parseObjectKey, README_KEY } from '../../src/store/layout.ts';

export const KINDS = ['keys', 'data', 'sigs', 'manifests'] as const satisfies readonly ObjectKind[];

export type Objects = Record<ObjectKind, Set<SnapshotId>>;

/** Throws for an object that the layout does not know. */
export function sortObjects(cluster: ClusterName, keys: readonly string[]): Objects {
  const held: Objects = { keys: new Set(), data: new Set(), sigs: new Set(), manifests: new Set() };
  for (const key of keys) {
    const kind = KINDS.find((candidate) => parseObjectKey(cluster, candidate, key) !== null);
    if (kind !== undefined) held[kind].add(parseObjectKey(cluster, kind, key) as SnapshotId);
    else if (!isOfNoSnapshot(cluster, key)) throw new Error(`a stray object ${key}`);
  }
  return held;
}

function isOfNoSnapshot(cluster: ClusterName, key: string): boolean {
  return key === README_KEY || key === latestKey(cluster) || key === leaseKey(cluster);
}

/** One line for every object of a snapshot that has no manifest. */
export function orphans(held: Objects): string[] {
  return KINDS.flatMap((kind) =>
    [...held[kind]].flatMap((id) => (held.manifests.has(id) ? [] : [`${kind} of ${id} without manifest`])),
  );
}
