/** A lease that is held: renewed until it is released, and given up the moment that it may be another's. */
import { describeError, isError, StrongroomError } from '../core/errors.ts';
import type { ClusterName, RunId, SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { type Clock, formatDuration } from '../core/units.ts';
import type { Store } from '../store/store.ts';
import { notConfirmed } from './errors.ts';
import { answerFor, type ProcessIdentity } from './holder.ts';
import type { LeaseRecord } from './record.ts';
import type { Slot } from './slot.ts';

/** Without a sign of life for so long, in milliseconds, a holder may be replaced. */
export const LEASE_TTL_MS = 60_000;

/** A publication is write-once, so what stands in its place stops it. Gives the names of the stores where that is settled. */
export type Fence = (snapshot: SnapshotId, stores: readonly Store[], signal: AbortSignal) => Promise<string[]>;

export type LeaseDeps = {
  cluster: ClusterName;
  stores: readonly Store[];
  clock: Clock;
  log: Log;
  ttlMs: number;
  /** default: this process */
  self?: ProcessIdentity;
  /** told how long it took until the lease was had, or was not, in milliseconds */
  onWaited?: (ms: number) => void;
};

export type TakeOptions = {
  /** in how many destinations it must be had: `any` one that answers, or `all` */
  need: 'any' | 'all';
  /** how long to wait for a holder that is alive, in milliseconds; to find out whether it is may take a ttl in any case */
  waitMs: number;
  run: RunId;
  /** the longest wait for a destination to answer at all, in milliseconds; default: as long as the store itself tries */
  answerMs?: number;
  /** by which command this run came in, for whoever finds it locked */
  door: string;
  /** null = this run cannot fence: what is to be fenced stays on record for the next that can */
  fence: Fence | null;
};

/** Whoever took it disposes it: that releases it for the next. Disposing never rejects. */
export interface Lease extends AsyncDisposable {
  /** larger than that of every holder before */
  readonly token: number;
  /** aborts with E_LOCKED when the lease is lost: whatever changes a destination must stop then */
  readonly signal: AbortSignal;
  /** names of the destinations in which it is proven to be held now */
  readonly heldIn: readonly string[];
  /**
   * Puts on record what is about to be published; to be awaited right before the first manifest is sent. Whoever takes the lease
   * over from then on fences `snapshot` first. Gives the names of the destinations where it stands on record; rejects with
   * E_LOCKED when the lease is lost, and with the store's error where `need` is not met.
   */
  willPublish(snapshot: SnapshotId, signal: AbortSignal): Promise<readonly string[]>;
  /**
   * Asks the destinations whether it is still held, by a write that only its holder can make; to be awaited right before what
   * must not happen without it. Rejects as {@link willPublish} does.
   */
  confirm(signal: AbortSignal): Promise<void>;
}

/** Renewals in a ttl. */
const BEATS = 4;
/** The last part of a ttl in which the holder no longer counts on it: its requests on the wire have that long to end. */
const MARGIN = 1 / 6;
/** The longest that a release may hold up the end of a run, in milliseconds. */
const RELEASE_MS = 10_000;

export class HeldLease implements Lease {
  readonly token: number;
  readonly #deps: LeaseDeps;
  readonly #need: TakeOptions['need'];
  readonly #slots: readonly Slot[];
  readonly #lost = new AbortController();
  readonly #closed = new AbortController();
  readonly #unwell = new Set<Slot>();
  readonly #answering: Disposable;
  #record: LeaseRecord;
  #beats: NodeJS.Timeout | undefined;
  #end: NodeJS.Timeout | undefined;
  #lastFailure: unknown;

  /** `slots` hold `record` since they were written; begins to renew them at once. */
  constructor(deps: LeaseDeps, need: TakeOptions['need'], slots: readonly Slot[], record: LeaseRecord) {
    this.token = record.token;
    this.#deps = deps;
    this.#need = need;
    this.#slots = slots;
    this.#record = record;
    this.#answering = answerFor(record.run);
    this.#beats = setInterval(() => this.#renew(), deps.ttlMs / BEATS).unref();
    this.#watchTheEnd();
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  get heldIn(): readonly string[] {
    const now = performance.now();
    return this.#slots.flatMap((slot) => (this.#until(slot) > now ? [slot.store.name] : []));
  }

  async willPublish(snapshot: SnapshotId, signal: AbortSignal): Promise<readonly string[]> {
    return await this.#change({ snapshot }, signal);
  }

  async confirm(signal: AbortSignal): Promise<void> {
    await this.#change({}, signal);
  }

  /** Lets `fence` stop what former holders were about to publish; what could not be fenced everywhere stays on record. */
  async fenceFormer(fence: Fence, signal: AbortSignal): Promise<void> {
    const stores = this.#slots.map(({ store }) => store);
    const left: SnapshotId[] = [];
    for (const snapshot of this.#record.fences) {
      const settled = await fence(snapshot, stores, signal);
      if (settled.length < stores.length) left.push(snapshot);
    }
    if (left.length < this.#record.fences.length) await this.#change({ fences: left }, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#stop();
    const { cluster, log } = this.#deps;
    await Promise.all(
      this.#slots.map(async (slot) => {
        if (slot.taken !== null) return;
        try {
          const change = { state: 'released', snapshot: null } as const;
          await within(RELEASE_MS, slot.store, (signal) => slot.write(() => this.#compose(change), signal));
        } catch (e) {
          log.warn(
            { cluster, store: slot.store.name, err: describeError(e) },
            'the lease could not be released: the next run waits until it has run out',
          );
        }
      }),
    );
    this.#answering[Symbol.dispose]();
  }

  get #validMs(): number {
    return this.#deps.ttlMs * (1 - MARGIN);
  }

  #until(slot: Slot): number {
    return slot.taken === null ? slot.provenAt + this.#validMs : Number.NEGATIVE_INFINITY;
  }

  #provenUntil(): number {
    const ends = this.#slots.map((slot) => this.#until(slot));
    return this.#need === 'all' ? Math.min(...ends) : Math.max(...ends);
  }

  /** Throws when it is lost, also when the timer that would say so has not had its turn: a paused process wakes up anywhere. */
  #check(): void {
    if (!this.#lost.signal.aborted && performance.now() >= this.#provenUntil()) this.#loseToSilence();
    this.#lost.signal.throwIfAborted();
  }

  #compose(change: Partial<LeaseRecord> = {}): LeaseRecord {
    const renewedAt = this.#deps.clock.now().toISOString();
    this.#record = { ...this.#record, ...change, renewedAt, beat: this.#record.beat + 1 };
    return this.#record;
  }

  #renew(): void {
    for (const slot of this.#slots) {
      if (slot.taken !== null) continue;
      // What it means that it failed is settled inside.
      void this.#write(slot, this.#closed.signal).catch(() => undefined);
    }
  }

  async #change(change: Partial<LeaseRecord>, signal: AbortSignal): Promise<readonly string[]> {
    this.#check();
    // Part of every later write, too: of one that is on its way now, and of every renewal.
    this.#record = { ...this.#record, ...change };
    const writes = await Promise.allSettled(this.#slots.map((slot) => this.#write(slot, signal)));
    signal.throwIfAborted();
    this.#check();
    const names = this.#slots.flatMap(({ store }, i) => (writes[i]?.status === 'fulfilled' ? [store.name] : []));
    const failure = writes.find((write) => write.status === 'rejected');
    if (failure !== undefined && (this.#need === 'all' || names.length === 0)) throw failure.reason;
    return names;
  }

  /** One write with a deadline of its own; a failure is noted, and a loss is announced. */
  async #write(slot: Slot, signal: AbortSignal): Promise<void> {
    const { cluster, log, ttlMs } = this.#deps;
    const store = slot.store.name;
    const either = AbortSignal.any([signal, this.#closed.signal]);
    try {
      await within(ttlMs / 3, slot.store, (deadline) => slot.write(() => this.#compose(), deadline), either);
      if (this.#unwell.delete(slot)) log.info({ cluster, store }, 'the lease is renewed there again');
      this.#watchTheEnd();
    } catch (e) {
      if (this.#closed.signal.aborted) throw e;
      this.#lastFailure = e;
      if (slot.taken !== null) this.#lose(slot.taken);
      else if (!signal.aborted && !this.#unwell.has(slot)) {
        this.#unwell.add(slot);
        const err = isError(e) ? e.toJSON() : describeError(e);
        log.warn({ cluster, store, err }, 'the lease could not be renewed there; tried again');
      }
      throw e;
    }
  }

  #watchTheEnd(): void {
    clearTimeout(this.#end);
    if (this.#lost.signal.aborted || this.#closed.signal.aborted) return;
    const leftMs = this.#provenUntil() - performance.now();
    if (leftMs <= 0) this.#loseToSilence();
    else this.#end = setTimeout(() => this.#watchTheEnd(), Math.ceil(leftMs)).unref();
  }

  #loseToSilence(): void {
    this.#lose(notConfirmed(this.#deps.cluster, this.#validMs, this.#lastFailure));
  }

  #lose(error: StrongroomError): void {
    if (this.#lost.signal.aborted) return;
    this.#stop();
    this.#deps.log.warn({ cluster: this.#deps.cluster, err: error.toJSON() }, 'the lease was lost: this run stops');
    this.#lost.abort(error);
  }

  #stop(): void {
    clearInterval(this.#beats);
    clearTimeout(this.#end);
  }
}

/**
 * Rejects after `ms` whatever `act` does, with E_STORE_UNREACHABLE: a store that was asked to stop may take its time, and the next
 * write does not wait for it. What the late one still does is harmless, since each write names the state that it replaces.
 */
async function within(
  ms: number,
  store: Store,
  act: (signal: AbortSignal) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    const message = `the lease in ${store.location} could not be written within ${formatDuration(ms)}`;
    deadline.abort(new StrongroomError('E_STORE_UNREACHABLE', message, { details: { store: store.name } }));
  }, ms);
  const either = signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const onEnd = (): void => reject(either.reason);
  if (either.aborted) onEnd();
  else either.addEventListener('abort', onEnd, { once: true });
  try {
    await Promise.race([act(either), ended]);
  } finally {
    clearTimeout(timer);
    either.removeEventListener('abort', onEnd);
  }
}
