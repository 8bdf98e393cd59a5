/**
 * One run at a time changes a cluster's destinations, wherever it was started: worker, CronJob or by hand. What they share is
 * the destinations, so the lease is an object there, written only on the condition that it is still what was read.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isError, type StrongroomError } from '../core/errors.ts';
import { askAll, askBriefly } from '../store/patience.ts';
import { type Taking, takeAll, tellLeftOut } from './acquire.ts';
import { heldByOther } from './errors.ts';
import { answerFor, thisProcess } from './holder.ts';
import type { Lease, LeaseDeps, TakeOptions } from './lease.ts';
import type { LeaseRecord } from './record.ts';
import { Watch } from './watch.ts';

/** Looks in a ttl while somebody else holds it. */
const LOOKS = 12;
/** How long a destination may hold up the others, in milliseconds. */
const GRACE_MS = 15_000;
/** Between two tries when somebody was quicker, in milliseconds. */
const RACE_PAUSE_MS = 50;

/**
 * Takes the lease of `deps.cluster`, in every destination that answers. A holder that is gone is replaced: at once where its
 * process shares our process table and is dead, else when it gave no sign of life for a ttl; then what it was about to publish
 * is fenced first.
 *
 * Rejects with E_LOCKED naming the holder when it lives and `waitMs` are over; with `waitMs: 0` also when it ended its work
 * meanwhile, so that of runs that begin together one is made and not all in turn. With a store's error where `need` is not
 * met, or with the abort reason.
 */
export async function takeLease(deps: LeaseDeps, options: TakeOptions, signal: AbortSignal): Promise<Lease> {
  const begun = performance.now();
  try {
    return await take(deps, options, begun, signal);
  } finally {
    deps.onWaited?.(performance.now() - begun);
  }
}

async function take(deps: LeaseDeps, options: TakeOptions, begun: number, signal: AbortSignal): Promise<Lease> {
  const graceMs = Math.min(GRACE_MS, deps.ttlMs / 2);
  const taking: Taking = { deps, options, self: deps.self ?? thisProcess(), graceMs };
  using _ = answerFor(options.run);
  // Everybody in the same order: of two that want the same, the first destination decides.
  let watches = deps.stores
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((store) => new Watch(store, deps.cluster));
  let holder: { store: string; record: LeaseRecord | null } | null = null;
  let isTold = false;
  for (;;) {
    watches = await lookAtAll(watches, taking, signal);
    const busy = watches.find((watch) => watch.judge(options.run, taking.self, deps.ttlMs).state === 'busy');
    holder = holderOf(busy ?? watches.find(({ sawLife }) => sawLife)) ?? holder;
    const now = deps.clock.now();
    const lives = watches.some((watch) => watch.sawLife || watch.holderLives(taking.self, now, deps.ttlMs));
    const waitedMs = performance.now() - begun;
    if (holder !== null && lives && waitedMs >= options.waitMs && (busy !== undefined || options.waitMs === 0)) {
      throw heldByOther(deps.cluster, { ...holder, ttlMs: deps.ttlMs });
    }
    if (busy === undefined) {
      const taken = await takeAll(watches, taking, signal);
      if (!isError(taken)) return taken;
      // Mostly somebody was quicker, as the next look shows. A store that refuses without a reason is not asked for ever.
      if (waitedMs > options.waitMs + 2 * deps.ttlMs) throw taken;
    }
    if (busy !== undefined && !isTold) {
      isTold = true;
      const { cluster, log } = deps;
      log.info(
        { cluster, run: options.run, store: busy.store.name },
        'another run holds the lease: watching whether it lives',
      );
    }
    await pause(busy === undefined ? RACE_PAUSE_MS : deps.ttlMs / LOOKS, signal);
  }
}

function holderOf(watch: Watch | undefined): { store: string; record: LeaseRecord | null } | null {
  if (watch === undefined || watch.sighting === null) return null;
  return { store: watch.store.name, record: watch.sighting.record };
}

/** Those that answered; one that did not is not asked again. */
async function lookAtAll(
  watches: readonly Watch[],
  { deps, options, graceMs }: Taking,
  signal: AbortSignal,
): Promise<Watch[]> {
  const byStore = new Map(watches.map((watch) => [watch.store, watch]));
  const results = await askAll(
    watches.map(({ store }) => store),
    async (store, either) => {
      const look = async (abort: AbortSignal): Promise<void> => await byStore.get(store)?.look(abort);
      if (options.answerMs === undefined) await look(either);
      else await askBriefly(store, look, either, options.answerMs);
    },
    signal,
    graceMs,
  );
  signal.throwIfAborted();
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [ours(result.reason)] : []));
  const [first] = failures;
  if (first !== undefined && (options.need === 'all' || failures.length === watches.length)) throw first;
  return watches.filter((watch, i) => {
    const result = results[i];
    if (result?.status === 'fulfilled') return true;
    tellLeftOut(deps, watch, result?.reason);
    return false;
  });
}

function ours(e: unknown): StrongroomError {
  if (!isError(e)) throw e;
  return e;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}
