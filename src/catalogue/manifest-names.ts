/**
 * The manifests that a store names, quickly. A store gives a thousand names a page, and one page after the other; but every key
 * begins with its day, so that what lies behind the first page is asked for in a few parts at once.
 */
import { eachBounded } from '../core/bounded.ts';
import { type ClusterName, snapshotTime } from '../core/ids.ts';
import { dayPrefix, kindPrefix, parseObjectKey } from '../store/layout.ts';
import type { Store, StoredObject } from '../store/store.ts';

/** Snapshots that were begun on the days from `since` to `until`, both included; without one of them there is no such limit. */
export type Period = { since?: Date; until?: Date };

type Visit = (object: StoredObject) => void | Promise<void>;

/** As many as S3 gives at once: whatever fits into it is one request. */
const FIRST_PAGE = 1000;
const PARTS = 4;
const DAY_MS = 86_400_000;

/**
 * Calls `visit` once for every object below the manifests of `cluster` whose day is in `period`, in no order; foreign objects are
 * among them. Requests: one for each thousand, and at most {@link PARTS} more. Rejects as the store does, and as `visit` does.
 */
export async function visitManifests(
  store: Store,
  cluster: ClusterName,
  { since, until }: Period,
  visit: Visit,
  signal: AbortSignal,
): Promise<void> {
  const end = until === undefined ? undefined : endOfDay(cluster, until);
  const begin = since === undefined ? undefined : dayPrefix(cluster, 'manifests', since);
  const list = async (after: string | undefined, upTo: string | undefined, limit: number): Promise<string | null> => {
    let seen = 0;
    const from = after === undefined ? {} : { after };
    for await (const object of store.list(kindPrefix(cluster, 'manifests'), { signal, ...from })) {
      if (upTo !== undefined && object.key > upTo) return null;
      await visit(object);
      seen += 1;
      if (seen === limit) return object.key;
    }
    return null;
  };
  const last = await list(begin, end, FIRST_PAGE);
  if (last === null) return;
  const cuts = cutsBehind(cluster, last, until ?? new Date());
  const parts = [last, ...cuts].map((after, i) => ({ after, upTo: cuts[i] ?? end }));
  await eachBounded(
    parts,
    PARTS,
    async ({ after, upTo }) => {
      await list(after, upTo, Number.POSITIVE_INFINITY);
    },
    signal,
  );
}

/**
 * Where to look for the newest snapshot up to `time`: its last day, and then further and further back, the last one everything
 * else. By the calendar it would be the whole year on the first of January.
 */
export function periodsUpTo(time: Date): Period[] {
  const back = (days: number): Date => new Date(Math.max(0, time.getTime() - days * DAY_MS));
  return [
    { since: back(1), until: time },
    { since: back(8), until: back(1) },
    { since: back(64), until: back(8) },
    { since: back(512), until: back(64) },
    { until: back(512) },
  ];
}

/** Keys that cut what lies between `last` and `now` into parts of the same time. None behind a foreign key, or in the future. */
function cutsBehind(cluster: ClusterName, last: string, now: Date): string[] {
  const id = parseObjectKey(cluster, 'manifests', last);
  if (id === null) return [];
  const begin = snapshotTime(id).getTime();
  const cuts = Array.from({ length: PARTS - 1 }, (_, i) => begin + ((now.getTime() - begin) * (i + 1)) / PARTS)
    .map((time) => dayPrefix(cluster, 'manifests', new Date(time)))
    .filter((cut) => cut > last);
  return [...new Set(cuts)].sort();
}

/** Behind every key of that day. */
function endOfDay(cluster: ClusterName, time: Date): string {
  return `${dayPrefix(cluster, 'manifests', time)}~`;
}
