/** Object keys: the only file that knows them. Write-once; the version of the layout is in the prefix. */
import type { ClusterName, SnapshotId } from '../core/ids.ts';
import { parseSnapshotId, snapshotTime } from '../core/ids.ts';

export type ObjectKey = string & { readonly __brand: 'ObjectKey' };

export const LAYOUT_VERSION = 'v1';

const SUFFIX = { keys: '.keys.json', data: '.snap.age', sigs: '.json.sig', manifests: '.json' } as const;

/** `keys` is written first, then `data`, then `sigs`; `manifests` last: it is the commit. */
export type ObjectKind = keyof typeof SUFFIX;

/**
 * `v1/<cluster>/<kind>/2026/11/22/20261122T013000Z-<ulid><suffix>`, all of it derived from cluster and id:
 * a key can be computed without a listing, and shows no more than cluster, time and id.
 */
export function objectKey(cluster: ClusterName, kind: ObjectKind, id: SnapshotId): ObjectKey {
  const stamp = compactTime(snapshotTime(id));
  const day = `${stamp.slice(0, 4)}/${stamp.slice(4, 6)}/${stamp.slice(6, 8)}`;
  return `${kindPrefix(cluster, kind)}${day}/${stamp}-${id}${SUFFIX[kind]}` as ObjectKey;
}

/** `v1/<cluster>/` */
export function clusterPrefix(cluster: ClusterName): string {
  return `${LAYOUT_VERSION}/${cluster}/`;
}

/** `v1/<cluster>/<kind>/` */
export function kindPrefix(cluster: ClusterName, kind: ObjectKind): string {
  return `${clusterPrefix(cluster)}${kind}/`;
}

/** Where the objects of a time may be, from its own day to everything: its day, its month, its year, the kind. */
export function periodPrefixes(cluster: ClusterName, kind: ObjectKind, time: Date): string[] {
  const all = kindPrefix(cluster, kind);
  const [year = '', month = '', day = ''] = time.toISOString().slice(0, 10).split('-');
  return [`${all}${year}/${month}/${day}/`, `${all}${year}/${month}/`, `${all}${year}/`, all];
}

/** The advisory pointer to the newest good manifest. A cache: deleting it loses nothing. */
export function latestKey(cluster: ClusterName): ObjectKey {
  return `${clusterPrefix(cluster)}latest.json` as ObjectKey;
}

/** Who is at work on this cluster now. The one object that is replaced all the time; deleting it ends whoever holds it. */
export function leaseKey(cluster: ClusterName): ObjectKey {
  return `${clusterPrefix(cluster)}lease.json` as ObjectKey;
}

/** The recovery commands for whoever finds the bucket, written once. */
export const README_KEY = `${LAYOUT_VERSION}/README.md` as ObjectKey;

/** How the name of an object begins that proves the right to write, and is removed again at once. */
export const PROBE = '.probe';

/** Is it one that a killed run left behind? Whoever made it no longer needs it, so anybody may remove it. */
export function isProbe(key: string): boolean {
  return key.slice(key.lastIndexOf('/') + 1).startsWith(PROBE);
}

/** The id in a key of this layout, or null when the key is not exactly the one that {@link objectKey} gives. */
export function parseObjectKey(cluster: ClusterName, kind: ObjectKind, key: string): SnapshotId | null {
  const suffix = SUFFIX[kind];
  if (!key.endsWith(suffix)) return null;
  const id = parseSnapshotId(key.slice(0, -suffix.length).slice(-26));
  return id !== null && objectKey(cluster, kind, id) === key ? id : null;
}

/** 2026-11-22T01:30:00.000Z to 20261122T013000Z */
function compactTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
}
