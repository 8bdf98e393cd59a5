/** Stopping what a former holder of the lease was about to publish: its manifest is written once, so whoever comes first decides. */
import { commitIn, makeTombstone } from '../catalogue/tombstone.ts';
import { isError, StrongroomError } from '../core/errors.ts';
import type { RunId, SnapshotId } from '../core/ids.ts';
import type { Fence } from '../lease/lease.ts';
import { objectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import type { BackupDeps } from './options.ts';

type FenceDeps = Pick<BackupDeps, 'cluster' | 'catalogue' | 'signer' | 'clock' | 'log'>;

/**
 * A {@link Fence} that puts a tombstone where the manifest would come, unless a manifest is there: then it was published, and
 * is left to be completed. A store that does not take it is logged, and not settled.
 */
export function tombstones(deps: FenceDeps, run: RunId): Fence {
  const { cluster, catalogue, log } = deps;
  return async (snapshot, stores, signal) => {
    const settled: string[] = [];
    const failed = (store: Store, e: unknown): void => {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      log.warn(
        { cluster, snapshot, store: store.name, err: e.toJSON() },
        'a run that lost its lease is not fenced there',
      );
    };
    for (const store of stores) {
      try {
        const { kind } = await commitIn(catalogue, store, snapshot, signal);
        if (kind === 'manifest') return stores.map(({ name }) => name);
        if (kind === 'tombstone') settled.push(store.name);
      } catch (e) {
        failed(store, e);
      }
    }
    const bytes = await makeTombstone(deps, { snapshot, by: run, at: deps.clock.now() }, signal);
    for (const store of stores) {
      if (settled.includes(store.name)) continue;
      try {
        await store.put(objectKey(cluster, 'manifests', snapshot), bytes, {
          signal,
          condition: 'absent',
          contentType: 'application/json',
        });
        settled.push(store.name);
        log.warn(
          { cluster, snapshot, store: store.name },
          'fenced what a run that lost its lease was about to publish',
        );
      } catch (e) {
        // Its manifest came first, this very moment.
        if (isError(e, 'E_STORE_CONFLICT')) return stores.map(({ name }) => name);
        failed(store, e);
      }
    }
    return settled;
  };
}

/** What a refused manifest means: our own tombstoned snapshot, or null where it is something else. */
export async function fencedBy(
  deps: FenceDeps,
  store: Store,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<StrongroomError | null> {
  const { kind } = await commitIn(deps.catalogue, store, snapshot, signal);
  if (kind !== 'tombstone') return null;
  return new StrongroomError(
    'E_LOCKED',
    `snapshot ${snapshot} may not be published in ${store.location}: another run took over the lease and fenced it`,
    {
      hint: 'this process or its machine was paused for longer than its lease; the run that took over makes its own backup',
      details: { cluster: deps.cluster, store: store.name, snapshot, lost: 'fenced' },
    },
  );
}
