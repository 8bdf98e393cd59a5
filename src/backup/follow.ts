/** How long a new snapshot is locked where locks follow the retention: by the names of what its destination holds already. */
import type { Manifest } from '../catalogue/manifest.ts';
import { isError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import { factsOfName, type SnapshotFacts } from '../retention/facts.ts';
import { lockUntil } from '../retention/lock-until.ts';
import { dayPrefix, kindPrefix, parseObjectKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import type { BackupDeps, Destination } from './options.ts';

const DAY_MS = 24 * 3_600_000;
/** What is further back than a year and some days stands in no period of the new one. */
const LOOK_BACK_MS = 370 * DAY_MS;

type FollowDeps = Pick<BackupDeps, 'cluster' | 'destinations' | 'clock' | 'log'>;

/**
 * The destinations with the time that `snapshot` is locked in each, as the policy has it now. A lock is never taken back, so where the
 * names cannot be read it is the short one: the next prune makes it longer.
 */
export async function followRetention(
  deps: FollowDeps,
  upload: { snapshot: SnapshotId; purpose: Manifest['purpose'] },
  signal: AbortSignal,
): Promise<Destination[]> {
  return await Promise.all(
    deps.destinations.map(async (destination) => {
      const { store, lock } = destination;
      if (lock?.follow === undefined) return destination;
      const { policy, limits } = lock.follow;
      const now = deps.clock.now();
      try {
        const existing = await namesIn(deps, store, now, signal);
        const createdAt = snapshotTime(upload.snapshot);
        const until = lockUntil({ ...upload, createdAt }, existing, policy, now, limits);
        return { store, lock: { ...lock, keepMs: until.getTime() - now.getTime() } };
      } catch (e) {
        if (!isError(e)) throw e;
        const err = e.toJSON();
        deps.log.warn(
          { cluster: deps.cluster, store: store.name, err },
          'locked for the shortest time: its names cannot be read',
        );
        return destination;
      }
    }),
  );
}

/** Every name counts as a good backup: one that is none makes the lock shorter, and the next prune makes it right. */
async function namesIn(
  { cluster }: FollowDeps,
  store: Store,
  now: Date,
  signal: AbortSignal,
): Promise<SnapshotFacts[]> {
  const day = dayPrefix(cluster, 'manifests', new Date(now.getTime() - LOOK_BACK_MS));
  const found: SnapshotFacts[] = [];
  for await (const { key } of store.list(kindPrefix(cluster, 'manifests'), { signal, after: day })) {
    const snapshot = parseObjectKey(cluster, 'manifests', key);
    if (snapshot !== null) found.push(factsOfName(snapshot));
  }
  return found;
}
