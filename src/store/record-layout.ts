/**
 * Keys of the records beside the snapshots: what ran, what was proven, what is held, what was removed. Write-once like everything else; what
 * a listing must tell without opening ten thousand objects is in the name, and counts for nothing until the object says it too.
 */
import type { ClusterName, RunId, SnapshotId } from '../core/ids.ts';
import { parseSnapshotId, snapshotTime } from '../core/ids.ts';
import { LAYOUT_VERSION, type ObjectKey } from './layout.ts';

export type RecordKind = 'runs' | 'proofs' | 'holds' | 'prunes' | 'marks';

/** `v1/<cluster>/<kind>/` */
export function recordPrefix(cluster: ClusterName, kind: RecordKind): string {
  return `${LAYOUT_VERSION}/${cluster}/${kind}/`;
}

/** `…/runs/2026/11/22/<run>-<job>.json` */
export function runKey(cluster: ClusterName, run: RunId, job: string): ObjectKey {
  return `${recordPrefix(cluster, 'runs')}${dayOf(run)}/${run}-${job}.json` as ObjectKey;
}

/** The smallest key that a run of `time` or later can have: everything before it need not be listed. */
export function runsFrom(cluster: ClusterName, time: Date): string {
  return `${recordPrefix(cluster, 'runs')}${time.toISOString().slice(0, 10).replaceAll('-', '/')}/`;
}

export function parseRunKey(cluster: ClusterName, key: string): { run: RunId; job: string } | null {
  const match = /\/([0-9A-Z]{26})-([a-z]+)\.json$/.exec(key);
  const run = match?.[1] === undefined ? null : (parseSnapshotId(match[1]) as string | null);
  if (run === null || match?.[2] === undefined) return null;
  return runKey(cluster, run as RunId, match[2]) === key ? { run: run as RunId, job: match[2] } : null;
}

export type ProofName = { snapshot: SnapshotId; destination: string; proof: RunId; verdict: 'good' | 'bad' };

/** `…/proofs/2026/11/22/<snapshot>/<proof>-good-<destination>.json`; the day is that of the snapshot */
export function proofKey(cluster: ClusterName, { snapshot, destination, proof, verdict }: ProofName): ObjectKey {
  const folder = `${recordPrefix(cluster, 'proofs')}${dayOf(snapshot)}/${snapshot}`;
  return `${folder}/${proof}-${verdict}-${destination}.json` as ObjectKey;
}

export function parseProofKey(cluster: ClusterName, key: string): ProofName | null {
  const match = /\/([0-9A-Z]{26})\/([0-9A-Z]{26})-(good|bad)-([a-z0-9-]+)\.json$/.exec(key);
  const snapshot = parseSnapshotId(match?.[1] ?? '');
  const proof = parseSnapshotId(match?.[2] ?? '') as RunId | null;
  const destination = match?.[4];
  if (snapshot === null || proof === null || destination === undefined) return null;
  const name = { snapshot, proof, destination, verdict: match?.[3] === 'good' ? 'good' : 'bad' } as const;
  return proofKey(cluster, name) === key ? name : null;
}

/** Between which keys the proofs of snapshots of those days stand. */
export function proofsOf(
  cluster: ClusterName,
  { since, until }: { since?: Date; until?: Date },
): { after?: string; upTo?: string } {
  const folder = (time: Date): string =>
    `${recordPrefix(cluster, 'proofs')}${time.toISOString().slice(0, 10).replaceAll('-', '/')}/`;
  return {
    ...(since === undefined ? {} : { after: folder(since) }),
    // Behind everything in the folder of that day.
    ...(until === undefined ? {} : { upTo: `${folder(until)}~` }),
  };
}

export type HoldName = { snapshot: SnapshotId; act: 'hold' | 'release'; id: RunId };

/** `…/holds/<snapshot>/<id>-hold.json`; the newest of a snapshot counts */
export function holdKey(cluster: ClusterName, { snapshot, act, id }: HoldName): ObjectKey {
  return `${recordPrefix(cluster, 'holds')}${snapshot}/${id}-${act}.json` as ObjectKey;
}

export function parseHoldKey(cluster: ClusterName, key: string): HoldName | null {
  const match = /\/([0-9A-Z]{26})\/([0-9A-Z]{26})-(hold|release)\.json$/.exec(key);
  const snapshot = parseSnapshotId(match?.[1] ?? '');
  const id = parseSnapshotId(match?.[2] ?? '') as RunId | null;
  if (snapshot === null || id === null) return null;
  const name = { snapshot, id, act: match?.[3] === 'hold' ? 'hold' : 'release' } as const;
  return holdKey(cluster, name) === key ? name : null;
}

/** What a run was about to remove from one destination; `part` counts from 1, for a record is never long. */
export type PruneName = { run: RunId; destination: string; part: number };

/** `…/prunes/2026/11/22/<run>-0001-<destination>.json` */
export function pruneKey(cluster: ClusterName, { run, destination, part }: PruneName): ObjectKey {
  const name = `${run}-${String(part).padStart(4, '0')}-${destination}`;
  return `${recordPrefix(cluster, 'prunes')}${dayOf(run)}/${name}.json` as ObjectKey;
}

export function parsePruneKey(cluster: ClusterName, key: string): PruneName | null {
  const match = /\/([0-9A-Z]{26})-(\d{4,})-([a-z0-9-]+)\.json$/.exec(key);
  const run = parseSnapshotId(match?.[1] ?? '') as RunId | null;
  const destination = match?.[3];
  if (run === null || destination === undefined) return null;
  const name = { run, destination, part: Number(match?.[2]) };
  return pruneKey(cluster, name) === key ? name : null;
}

export type MarkName = { snapshot: SnapshotId; act: 'ignore' | 'lift'; id: RunId };

/** `…/marks/<snapshot>/<id>-ignore.json`; the newest of a snapshot counts */
export function markKey(cluster: ClusterName, { snapshot, act, id }: MarkName): ObjectKey {
  return `${recordPrefix(cluster, 'marks')}${snapshot}/${id}-${act}.json` as ObjectKey;
}

export function parseMarkKey(cluster: ClusterName, key: string): MarkName | null {
  const match = /\/([0-9A-Z]{26})\/([0-9A-Z]{26})-(ignore|lift)\.json$/.exec(key);
  const snapshot = parseSnapshotId(match?.[1] ?? '');
  const id = parseSnapshotId(match?.[2] ?? '') as RunId | null;
  if (snapshot === null || id === null) return null;
  const name = { snapshot, id, act: match?.[3] === 'ignore' ? 'ignore' : 'lift' } as const;
  return markKey(cluster, name) === key ? name : null;
}

/** 2026/11/22 */
function dayOf(id: SnapshotId | RunId): string {
  return snapshotTime(id as SnapshotId)
    .toISOString()
    .slice(0, 10)
    .replaceAll('-', '/');
}
