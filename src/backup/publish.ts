/** The commit: signature, then manifest, in every destination that holds a proven copy. Then the cache and the README. */

import { type Manifest, serialiseManifest } from '../catalogue/manifest.ts';
import { commitIn } from '../catalogue/tombstone.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import { parseSnapshotId, type SnapshotId } from '../core/ids.ts';
import { latestKey, objectKey, README_KEY } from '../store/layout.ts';
import type { Store, WriteCondition } from '../store/store.ts';
import { fencedBy } from './fence.ts';
import type { BackupDeps, Destination } from './options.ts';
import { lockOf } from './upload.ts';

const MAX_POINTER_BYTES = 4096;

export type Published = { published: string[]; failures: { store: string; error: StrongroomError }[] };

/**
 * Signs `manifest` and writes it to `holders`. A holder that fails now has data without a manifest: it is returned in
 * `failures`, never taken for a copy. Rejects when no holder took it: with a failure that leaves in doubt whether the
 * manifest is there ({@link mayBeStored}), if there is one, else with the first. Without doubt nothing is published.
 *
 * `onRecord` = names of the destinations where a lease says that it comes: whoever took that lease over has put a fence there.
 * They are written first, and where a fence is met in any of them the others get nothing.
 */
export async function publish(
  deps: BackupDeps,
  manifest: Manifest,
  { holders, onRecord }: { holders: readonly Destination[]; onRecord: readonly string[] },
  signal: AbortSignal,
): Promise<Published> {
  const bytes = serialiseManifest(manifest);
  const signature = await deps.signer.sign(bytes, signal);
  // What a restore would refuse is not worth publishing: a signer that `trusted` forgot, a key service that erred.
  deps.catalogue.checkSignature(bytes, signature);
  const snapshot = manifest.snapshot as SnapshotId;
  const published: string[] = [];
  const failures: Published['failures'] = [];
  const write = async (to: readonly Destination[]): Promise<unknown> =>
    await Promise.all(to.map(async (holder) => await writeTo(holder)));
  const writeTo = async (holder: Destination): Promise<void> => {
    const put = { signal, condition: 'absent', ...lockOf(holder, deps.clock.now()) } as const;
    try {
      await holder.store.put(objectKey(deps.cluster, 'sigs', snapshot), signature, {
        ...put,
        contentType: 'application/octet-stream',
      });
      await holder.store.put(objectKey(deps.cluster, 'manifests', snapshot), bytes, {
        ...put,
        contentType: 'application/json',
      });
      published.push(holder.store.name);
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      failures.push({ store: holder.store.name, error: (await fence(deps, holder.store, snapshot, e, signal)) ?? e });
    }
  };
  const isOnRecord = ({ store }: Destination): boolean => onRecord.includes(store.name);
  await write(holders.filter(isOnRecord));
  const fenced = failures.find(({ error }) => error.code === 'E_LOCKED');
  const others = holders.filter((holder) => !isOnRecord(holder));
  if (fenced === undefined) await write(others);
  else failures.push(...others.map(({ store }) => ({ store: store.name, error: fenced.error })));
  if (published.length === 0) {
    const worst = failures.find(({ error }) => mayBeStored(error)) ?? fenced ?? failures[0];
    throw worst?.error ?? new StrongroomError('E_BUG', 'a snapshot was to be published nowhere');
  }
  await Promise.all(
    holders
      .filter(({ store }) => published.includes(store.name))
      .map(async ({ store }) => {
        await refreshCaches(deps, store, manifest, signal);
      }),
  );
  return { published, failures };
}

/** The refusal of a write-once manifest, when a fence is the reason. */
async function fence(
  deps: BackupDeps,
  store: Store,
  snapshot: SnapshotId,
  refusal: StrongroomError,
  signal: AbortSignal,
): Promise<StrongroomError | null> {
  if (refusal.code !== 'E_STORE_CONFLICT') return null;
  try {
    return await fencedBy(deps, store, snapshot, signal);
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return null;
  }
}

/** A destination that took an object and does not show it, or that went silent over it, may show it later. */
export function mayBeStored(e: unknown): boolean {
  return isError(e) && e.details['mayBeStored'] === true;
}

/** The latest pointer and the README are conveniences: a failure here is logged and costs a longer listing. */
async function refreshCaches(
  deps: BackupDeps,
  store: Store,
  { purpose, snapshot: id }: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const snapshot = id as SnapshotId;
  try {
    if (purpose === 'backup') await movePointer(deps, store, snapshot, signal);
    await writeReadme(deps, store, signal);
  } catch (e) {
    if (!isError(e)) throw e;
    deps.log.warn(
      { cluster: deps.cluster, store: store.name, err: e.toJSON() },
      'latest pointer or README not written',
    );
  }
}

async function movePointer(deps: BackupDeps, store: Store, snapshot: SnapshotId, signal: AbortSignal): Promise<void> {
  const key = latestKey(deps.cluster);
  const head = await store.head(key, { signal });
  let condition: WriteCondition = 'absent';
  if (head !== null) {
    condition = { etag: head.etag };
    const text = Buffer.from(await collect(store.get(key, { signal }), MAX_POINTER_BYTES)).toString('utf8');
    const current = /"snapshot": "([0-9A-Z]{26})"/.exec(text)?.[1];
    // Another run was later: its pointer stays, but not one to a manifest that nobody finds there.
    const later = current !== undefined && current > snapshot ? parseSnapshotId(current) : null;
    if (later !== null && (await commitIn(deps.catalogue, store, later, signal)).kind === 'manifest') return;
  }
  const pointer = { snapshot, manifest: objectKey(deps.cluster, 'manifests', snapshot) };
  await store.put(key, Buffer.from(`${JSON.stringify(pointer, null, 2)}\n`), {
    signal,
    condition,
    contentType: 'application/json',
  });
}

async function writeReadme(deps: BackupDeps, store: Store, signal: AbortSignal): Promise<void> {
  const text = deps.readmeOf(store.name);
  if (text === null || (await store.head(README_KEY, { signal })) !== null) return;
  try {
    await store.put(README_KEY, Buffer.from(text), {
      signal,
      condition: 'absent',
      contentType: 'text/markdown; charset=utf-8',
    });
  } catch (e) {
    if (!isError(e, 'E_STORE_CONFLICT')) throw e;
  }
}
