/** What retention removed, by the records that can be believed: what is gone for that reason was not taken away. */

import type { Records } from '../catalogue/records.ts';
import { allRemovals } from '../catalogue/removals.ts';
import type { SnapshotId } from '../core/ids.ts';

/** Reads the records once, when they are asked for the first time. */
export class AuditRemovals {
  readonly #records: Records;
  /** by destination, the oldest snapshot that anything there speaks of */
  readonly #oldest = new Map<string, SnapshotId>();
  #removed: Promise<Map<string, Set<SnapshotId>>> | null = null;

  constructor(records: Records) {
    this.#records = records;
  }

  /** `destination` has something of `snapshot`: it was one of the cluster's then. */
  saw(destination: string, snapshot: SnapshotId): void {
    const oldest = this.#oldest.get(destination);
    if (oldest === undefined || snapshot < oldest) this.#oldest.set(destination, snapshot);
  }

  /** Rejects as the destinations do. */
  async isRemovedFrom(snapshot: SnapshotId, destination: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#read(signal)).get(destination)?.has(snapshot) === true;
  }

  /**
   * Is nobody to have it any more? A removal from one destination does not explain why another one has it not: each has to have
   * a record of its own, but for those that came later than the snapshot.
   */
  async isRemovedFromAll(snapshot: SnapshotId, destinations: readonly string[], signal: AbortSignal): Promise<boolean> {
    const removed = await this.#read(signal);
    const isRemoved = (destination: string): boolean => removed.get(destination)?.has(snapshot) === true;
    return (
      destinations.some(isRemoved) &&
      destinations.every((destination) => isRemoved(destination) || this.#cameLater(destination, snapshot))
    );
  }

  #cameLater(destination: string, snapshot: SnapshotId): boolean {
    const oldest = this.#oldest.get(destination);
    return oldest === undefined || oldest > snapshot;
  }

  async #read(signal: AbortSignal): Promise<Map<string, Set<SnapshotId>>> {
    this.#removed ??= this.#readOnce(signal);
    return await this.#removed;
  }

  async #readOnce(signal: AbortSignal): Promise<Map<string, Set<SnapshotId>>> {
    const removed = new Map<string, Set<SnapshotId>>();
    for (const { snapshot, destination } of await allRemovals(this.#records, signal)) {
      removed.set(destination, (removed.get(destination) ?? new Set()).add(snapshot));
      this.saw(destination, snapshot);
    }
    return removed;
  }
}
