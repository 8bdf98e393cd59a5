/** Watching the lease object of one destination: is it free, and if not, does its holder live? */
import type { ClusterName, RunId } from '../core/ids.ts';
import type { Store } from '../store/store.ts';
import { lifeOf, type ProcessIdentity } from './holder.ts';
import { type LeaseRecord, lookAtLease, type Sighting } from './record.ts';

/** A holder may ask for more patience than ours, up to so many milliseconds: what stands in a bucket must not lock it for ever. */
const MAX_TTL_MS = 600_000;

export type Verdict = {
  /** `busy`: it is another's, who lives or may live */
  state: 'free' | 'busy';
  /** its holder gave no sign of life for a ttl: it may be paused, and wake up */
  isExpired: boolean;
};

export class Watch {
  readonly store: Store;
  readonly #cluster: ClusterName;
  #sighting: Sighting | null = null;
  /** when a look ended that showed this ETag for the first time */
  #since = 0;
  /** when the last look began */
  #lookedAt = 0;
  #hasLooked = false;
  #sawLife = false;

  constructor(store: Store, cluster: ClusterName) {
    this.store = store;
    this.#cluster = cluster;
  }

  get sighting(): Sighting | null {
    return this.#sighting;
  }

  /** Somebody else wrote it since the first look. */
  get sawLife(): boolean {
    return this.#sawLife;
  }

  /** Rejects with the store's error. */
  async look(signal: AbortSignal): Promise<void> {
    const begun = performance.now();
    const found = await lookAtLease(this.store, this.#cluster, this.#sighting, signal);
    if (!this.#hasLooked || found?.etag !== this.#sighting?.etag) {
      this.#sawLife ||= this.#hasLooked;
      this.#since = performance.now();
    }
    this.#hasLooked = true;
    this.#sighting = found;
    this.#lookedAt = begun;
  }

  /** What we wrote there ourselves is no sign of life. */
  wroteOurselves(etag: string, record: LeaseRecord): void {
    this.#sighting = { etag, record };
    this.#since = performance.now();
  }

  /** Nobody's clock is compared: what counts is how long the ETag has stood still before our own, monotonic one. */
  judge(run: RunId, self: ProcessIdentity, ttlMs: number): Verdict {
    const free: Verdict = { state: 'free', isExpired: false };
    if (this.#sighting === null) return free;
    const { record } = this.#sighting;
    if (record !== null) {
      if (record.state === 'released' || record.run === run) return free;
      if (lifeOf(record, self) === 'dead') return free;
    }
    const patienceMs = Math.max(ttlMs, Math.min(record?.ttlMs ?? 0, MAX_TTL_MS));
    const isExpired = this.#lookedAt - this.#since >= patienceMs;
    return { state: isExpired ? 'free' : 'busy', isExpired };
  }

  /**
   * Is the holder proven to live, without waiting for its next sign of life? A process that is there and has renewed nothing for
   * a ttl is stopped, or hangs: then only watching tells. On one machine both go by the same clock.
   */
  holderLives(self: ProcessIdentity, now: Date, ttlMs: number): boolean {
    const record = this.#sighting?.record ?? null;
    if (record === null || record.state !== 'held' || lifeOf(record, self) !== 'alive') return false;
    return Math.abs(now.getTime() - Date.parse(record.renewedAt)) < Math.max(ttlMs, record.ttlMs);
  }
}
