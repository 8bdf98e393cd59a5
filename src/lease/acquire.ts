/** The writes that make a lease ours, in one destination after the other. */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import { leaseKey } from '../store/layout.ts';
import { askBriefly } from '../store/patience.ts';
import type { ProcessIdentity } from './holder.ts';
import { HeldLease, type Lease, type LeaseDeps, type TakeOptions } from './lease.ts';
import { type LeaseRecord, serialiseLease } from './record.ts';
import { isSameHold, Slot } from './slot.ts';
import type { Watch } from './watch.ts';

export type Taking = {
  deps: LeaseDeps;
  options: TakeOptions;
  self: ProcessIdentity;
  /** how long one of several destinations may take to answer, in milliseconds */
  graceMs: number;
};

/**
 * Takes what every watch has judged to be free, and fences what a paused holder might still publish. Resolves to the conflict
 * when somebody was quicker: what was taken until then is released again. Rejects with a store's error where `need` is not
 * met, or with the abort reason; nothing is held then.
 */
export async function takeAll(
  watches: readonly Watch[],
  taking: Taking,
  signal: AbortSignal,
): Promise<Lease | StrongroomError> {
  const { deps, options } = taking;
  const record = firstRecord(watches, taking);
  const replaced = watches.flatMap(({ store, sighting }) =>
    sighting?.record?.state === 'held' ? [{ store: store.name, run: sighting.record.run }] : [],
  );
  const slots: Slot[] = [];
  const failures: StrongroomError[] = [];
  for (const watch of watches) {
    try {
      slots.push(await takeOne(watch, record, watches.length, taking, signal));
    } catch (e) {
      const isOurs = isError(e);
      if (!signal.aborted && isOurs && e.code !== 'E_STORE_CONFLICT' && options.need === 'any') {
        failures.push(e);
        tellLeftOut(deps, watch, e);
        continue;
      }
      await giveBack(deps, slots, watches, record, AbortSignal.timeout(taking.graceMs));
      signal.throwIfAborted();
      if (isOurs && e.code === 'E_STORE_CONFLICT') return e;
      throw e;
    }
  }
  if (slots.length === 0 && failures[0] !== undefined) throw failures[0];
  const { cluster, log } = deps;
  const { run, token, fences } = record;
  if (replaced.length > 0)
    log.warn({ cluster, run, token, replaced, fences }, 'took over the lease of a run that is gone');
  const lease = new HeldLease(deps, options.need, slots, record);
  try {
    if (options.fence !== null && fences.length > 0) await lease.fenceFormer(options.fence, signal);
    return lease;
  } catch (e) {
    await lease[Symbol.asyncDispose]();
    throw e;
  }
}

async function takeOne(
  watch: Watch,
  record: LeaseRecord,
  count: number,
  { deps, graceMs }: Taking,
  signal: AbortSignal,
): Promise<Slot> {
  const { store, sighting } = watch;
  const provenAt = performance.now();
  const put = async (either: AbortSignal): Promise<string> => {
    const condition = sighting === null ? 'absent' : { etag: sighting.etag };
    const options = { signal: either, condition, contentType: 'application/json' } as const;
    return (await store.put(leaseKey(deps.cluster), serialiseLease(record), options)).etag;
  };
  try {
    // The only one is given all the time that a store takes for its tries.
    const etag = count === 1 ? await put(signal) : await askBriefly(store, put, signal, graceMs);
    watch.wroteOurselves(etag, record);
    return new Slot(store, deps.cluster, { etag, provenAt });
  } catch (e) {
    if (!isError(e, 'E_STORE_CONFLICT')) throw e;
    await watch.look(signal);
    const found = watch.sighting;
    // A proxy between may have sent it twice.
    if (found === null || found.record === null || !isSameHold(found.record, record)) throw e;
    return new Slot(store, deps.cluster, { etag: found.etag, provenAt });
  }
}

function firstRecord(watches: readonly Watch[], { deps, options, self }: Taking): LeaseRecord {
  const records = watches.flatMap(({ sighting }) => sighting?.record ?? []);
  const fences = new Set<SnapshotId>(records.flatMap((record) => record.fences));
  for (const watch of watches) {
    const pending = watch.sighting?.record?.snapshot ?? null;
    // A dead process does not wake up: what it had sent already is the sweep's business, which keeps the data for it.
    if (pending !== null && watch.judge(options.run, self, deps.ttlMs).isExpired) fences.add(pending);
  }
  const now = deps.clock.now().toISOString();
  return {
    schema: '1',
    cluster: deps.cluster,
    token: Math.max(0, ...records.map(({ token }) => token)) + 1,
    run: options.run,
    state: 'held',
    snapshot: null,
    fences: [...fences],
    holder: { ...self, door: options.door },
    ttlMs: deps.ttlMs,
    beat: 0,
    since: now,
    renewedAt: now,
  };
}

async function giveBack(
  { cluster, clock, log }: LeaseDeps,
  slots: readonly Slot[],
  watches: readonly Watch[],
  record: LeaseRecord,
  signal: AbortSignal,
): Promise<void> {
  const released = { ...record, state: 'released', beat: 1, renewedAt: clock.now().toISOString() } as const;
  for (const slot of slots) {
    try {
      await slot.write(() => released, signal);
      watches.find(({ store }) => store === slot.store)?.wroteOurselves(slot.etag, released);
    } catch (e) {
      log.warn({ cluster, store: slot.store.name, err: String(e) }, 'a lease that was taken could not be given back');
    }
  }
}

/** One destination less keeps others out: worth a line in the log, and no reason to make no backup. */
export function tellLeftOut({ cluster, log }: LeaseDeps, { store }: Watch, e: unknown): void {
  const err = isError(e) ? e.toJSON() : String(e);
  log.warn(
    { cluster, store: store.name, err },
    'the lease cannot be had there: a run that sees only that one is not kept out',
  );
}
