/** What stands in a lease object, and how it is read. */
import { z } from 'zod';
import { isError } from '../core/errors.ts';
import { collect } from '../core/flow.ts';
import { type ClusterName, parseSnapshotId, type SnapshotId } from '../core/ids.ts';
import { leaseKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';

const snapshotId = z
  .string()
  .refine((text) => parseSnapshotId(text) === text)
  .transform((text) => text as SnapshotId);

const leaseSchema = z.object({
  schema: z.literal('1'),
  cluster: z.string(),
  /** grows by one or more each time that somebody takes it */
  token: z.number().int().positive(),
  run: z.string(),
  state: z.enum(['held', 'released']),
  /** what the run is about to publish; null = it has not come so far */
  snapshot: snapshotId.nullable(),
  /** what former holders were about to publish and may still try; to be fenced by whoever can */
  fences: z.array(snapshotId),
  holder: z.object({
    host: z.string(),
    pid: z.number().int(),
    /** in clock ticks since boot; null where it cannot be known */
    startTime: z.string().nullable(),
    /** boot and pid namespace: only within one of them a pid says anything; null where it cannot be known */
    space: z.string().nullable(),
    /** by which command it came in, for people */
    door: z.string(),
  }),
  /** without a sign of life for so long it may be taken over, in milliseconds */
  ttlMs: z.number().int().positive(),
  /** counts the writes, so that no two have the same bytes and no two the same ETag */
  beat: z.number().int().nonnegative(),
  /** by the clock of the holder: for people. It decides no takeover, only how soon a run on the same machine is refused */
  since: z.iso.datetime(),
  renewedAt: z.iso.datetime(),
});

export type LeaseRecord = z.infer<typeof leaseSchema>;

/** A lease object as it was found; `record: null` = it cannot be read, so that only its ETag tells whether somebody lives. */
export type Sighting = { etag: string; record: LeaseRecord | null };

const MAX_LEASE_BYTES = 16_384;

/** The bytes to be stored. */
export function serialiseLease(record: LeaseRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(record, null, 2)}\n`);
}

/**
 * The lease object of `cluster` in `store`, or null when there is none. `known` is returned itself while its ETag stands:
 * a look at what did not change is one request. Rejects with the store's error.
 */
export async function lookAtLease(
  store: Store,
  cluster: ClusterName,
  known: Sighting | null,
  signal: AbortSignal,
): Promise<Sighting | null> {
  const key = leaseKey(cluster);
  const head = await store.head(key, { signal });
  if (head === null) return null;
  if (head.etag === known?.etag) return known;
  // Changed between the two requests: then the ETag is older than what is read, and a write on it is refused.
  try {
    return { etag: head.etag, record: parseLease(await collect(store.get(key, { signal }), MAX_LEASE_BYTES), cluster) };
  } catch (e) {
    if (isError(e, 'E_NOT_FOUND')) return null;
    if (e instanceof RangeError) return { etag: head.etag, record: null };
    throw e;
  }
}

function parseLease(bytes: Uint8Array, cluster: ClusterName): LeaseRecord | null {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return null;
  }
  const parsed = leaseSchema.safeParse(json);
  return parsed.success && parsed.data.cluster === cluster ? parsed.data : null;
}
