/**
 * A run's own traces: written before its first byte, removed when it ends. After a kill -9 the next run reads what is
 * left and removes what nobody else can know of: spool files, unfinished uploads, objects without a manifest.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isError } from '../core/errors.ts';
import { type ClusterName, parseSnapshotId, type RunId, type SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { kindPrefix, type ObjectKey, objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';

/** An upload that nobody journaled here may belong to a live run elsewhere; after a day it does not. */
const FOREIGN_UPLOAD_AGE_MS = 24 * 3_600_000;

/** Where the files of one cluster's runs live. The cluster's lock must be held for everything in this file. */
export function runFolder(spoolDirectory: string, cluster: ClusterName): string {
  return join(spoolDirectory, cluster);
}

/** Notes that `run` is about to make `snapshot`. Disposing removes the note: only what was cleaned up may be forgotten. */
export async function openJournal(
  folder: string,
  run: RunId,
  snapshot: SnapshotId,
): Promise<{ close(): Promise<void> }> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${snapshot}.run.json`);
  await writeFile(path, JSON.stringify({ run, snapshot, pid: process.pid }), { mode: 0o600, flush: true });
  return { close: () => rm(path, { force: true }) };
}

export type SweepResult = { snapshot: SnapshotId; removed: string[]; published: boolean; incomplete: boolean };

/**
 * Removes what earlier runs of this cluster left behind. A snapshot whose manifest exists anywhere was published and
 * stays. A destination that does not answer keeps the note, so that the run after this one tries again.
 */
export async function sweepAfterCrash(
  folder: string,
  cluster: ClusterName,
  stores: readonly Store[],
  now: Date,
  log: Log,
  signal: AbortSignal,
): Promise<SweepResult[]> {
  const results: SweepResult[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    if (name.endsWith('.spool')) await rm(join(folder, name), { force: true });
    const snapshot = name.endsWith('.run.json') ? parseSnapshotId(name.slice(0, 26)) : null;
    if (snapshot === null) continue;
    const text = await readFile(join(folder, name), 'utf8').catch(() => '');
    const result = await removeTraces(cluster, snapshot, stores, log, signal);
    log.warn({ cluster, ...result, journal: text.length }, 'cleaned up after a run that was killed');
    if (!result.incomplete) await rm(join(folder, name), { force: true });
    results.push(result);
  }
  for (const store of stores) {
    try {
      for await (const upload of store.listUnfinished(kindPrefix(cluster, 'data'), { signal })) {
        if (now.getTime() - upload.startedAt.getTime() < FOREIGN_UPLOAD_AGE_MS) continue;
        await store.abortUnfinished(upload, { signal });
        log.warn({ cluster, store: store.name, key: upload.key }, 'aborted an unfinished upload older than a day');
      }
    } catch (e) {
      if (!isError(e)) throw e;
      log.warn({ cluster, store: store.name, err: e.toJSON() }, 'unfinished uploads could not be looked for');
    }
  }
  return results;
}

/** Removes every object and upload of a snapshot that was never published. Best effort: what stays is never visible. */
export async function removeTraces(
  cluster: ClusterName,
  snapshot: SnapshotId,
  stores: readonly Store[],
  log: Log,
  signal: AbortSignal,
): Promise<SweepResult> {
  const result: SweepResult = { snapshot, removed: [], published: false, incomplete: false };
  const manifest = objectKey(cluster, 'manifests', snapshot);
  for (const store of stores) {
    try {
      if ((await store.head(manifest, { signal })) !== null) result.published = true;
    } catch (e) {
      if (!isError(e)) throw e;
      // Not knowing whether it was published, nothing may be removed.
      result.incomplete = true;
    }
  }
  if (result.published || result.incomplete) return result;
  for (const store of stores) {
    try {
      const data = objectKey(cluster, 'data', snapshot);
      for await (const upload of store.listUnfinished(data, { signal })) {
        await store.abortUnfinished(upload, { signal });
        result.removed.push(`${store.name}: unfinished upload ${upload.key}`);
      }
      for (const key of [data, objectKey(cluster, 'sigs', snapshot), objectKey(cluster, 'keys', snapshot)]) {
        await removeObject(store, key, result, signal);
      }
    } catch (e) {
      if (!isError(e)) throw e;
      // Without delete rights, or under an object lock, an orphan without manifest stays: never listed, never restored.
      if (e.retryable) result.incomplete = true;
      log.warn({ cluster, snapshot, store: store.name, err: e.toJSON() }, 'an orphan could not be removed');
    }
  }
  return result;
}

async function removeObject(store: Store, key: ObjectKey, result: SweepResult, signal: AbortSignal): Promise<void> {
  const head = await store.head(key, { signal });
  if (head === null) return;
  await store.delete(key, { signal, ...(head.versionId === undefined ? {} : { versionId: head.versionId }) });
  result.removed.push(`${store.name}: ${key}`);
}
