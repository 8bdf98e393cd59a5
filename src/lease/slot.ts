/** The lease object of one destination, held by this run. */
import { isError, type StrongroomError } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import { leaseKey } from '../store/layout.ts';
import type { Store } from '../store/store.ts';
import { takenAway } from './errors.ts';
import { type LeaseRecord, lookAtLease, serialiseLease } from './record.ts';

/** A write that finds its own former one in its place goes on from there; more often than this it does not. */
const MAX_TRIES = 5;

export class Slot {
  readonly store: Store;
  readonly #cluster: ClusterName;
  #etag: string;
  #provenAt: number;
  #taken: StrongroomError | null = null;

  /** `provenAt` = when the write was sent that made it ours (performance.now()) */
  constructor(store: Store, cluster: ClusterName, held: { etag: string; provenAt: number }) {
    this.store = store;
    this.#cluster = cluster;
    this.#etag = held.etag;
    this.#provenAt = held.provenAt;
  }

  get etag(): string {
    return this.#etag;
  }

  /** When the newest write was sent that arrived, as performance.now(): nobody can have seen an older state since. */
  get provenAt(): number {
    return this.#provenAt;
  }

  /** Why it will never be ours again, or null. */
  get taken(): StrongroomError | null {
    return this.#taken;
  }

  /**
   * Replaces the object that this run wrote last. Writes may overlap, and one whose answer was lost may have arrived all
   * the same: what counts is that the object names this run, so `compose` is asked again on top of that.
   *
   * Rejects with E_LOCKED when somebody else's object is there, with the store's error, or with the abort reason.
   */
  async write(compose: () => LeaseRecord, signal: AbortSignal): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      if (this.#taken !== null) throw this.#taken;
      const record = compose();
      const sentAt = performance.now();
      try {
        const options = { signal, condition: { etag: this.#etag }, contentType: 'application/json' } as const;
        const { etag } = await this.store.put(leaseKey(this.#cluster), serialiseLease(record), options);
        this.#etag = etag;
        this.#provenAt = Math.max(this.#provenAt, sentAt);
        return;
      } catch (e) {
        if (!isError(e, 'E_STORE_CONFLICT')) throw e;
        const found = await lookAtLease(this.store, this.#cluster, null, signal);
        if (found === null || found.record === null || !isSameHold(found.record, record)) {
          this.#taken = takenAway(this.#cluster, this.store.name, found?.record ?? null);
          throw this.#taken;
        }
        this.#etag = found.etag;
        if (tries >= MAX_TRIES) throw e;
      }
    }
  }
}

/** Nobody but one process ever writes a run and a token together. */
export function isSameHold(a: LeaseRecord, b: LeaseRecord): boolean {
  return a.run === b.run && a.token === b.token && a.state === 'held';
}
