/**
 * What was taken away. Each manifest links to the one before it, and runs, proofs and holds name snapshots; who removes one of
 * them from every destination leaves those that speak of it.
 */
import type { SnapshotId } from '../core/ids.ts';
import type { Report } from './audit-findings.ts';

type Link = { from: SnapshotId; to: SnapshotId; sha256: string };

/** A few words for each snapshot: tens of thousands of them fit into memory. */
export class Chain {
  /** SHA-256 of the accepted manifest; null = there is one, and it is refused */
  readonly #known = new Map<SnapshotId, string | null>();
  readonly #links: Link[] = [];
  readonly #witnesses = new Map<SnapshotId, string>();

  get size(): number {
    return this.#known.size;
  }

  /** Ids of snapshots with an accepted manifest, oldest first. */
  get accepted(): SnapshotId[] {
    return [...this.#known].flatMap(([id, sha256]) => (sha256 === null ? [] : [id])).sort();
  }

  has(snapshot: SnapshotId): boolean {
    return this.#known.has(snapshot);
  }

  add(snapshot: SnapshotId, sha256: string | null): void {
    this.#known.set(snapshot, sha256);
  }

  /** The signed manifest of `from` says that `to` was the newest good one when its run began. */
  link(from: SnapshotId, to: SnapshotId, sha256: string): void {
    this.#links.push({ from, to, sha256 });
  }

  /** A signed record says that there is a snapshot, or was one. */
  witness(snapshot: SnapshotId, words: string): void {
    if (!this.#witnesses.has(snapshot)) this.#witnesses.set(snapshot, words);
  }

  /** Reports what is gone, unless `isRemoved` knows that retention did it, and links to another manifest than the one there. */
  async judge(isRemoved: (snapshot: SnapshotId) => Promise<boolean>, report: Report): Promise<void> {
    for (const { from, to, sha256 } of this.#links) {
      const found = this.#known.get(to);
      if (found === undefined) this.witness(to, `the manifest of ${from} links to it`);
      else if (found !== null && found !== sha256) {
        report('chain-broken', `the manifest of ${from} links to another manifest of it`, { snapshot: to });
      }
    }
    for (const [snapshot, words] of [...this.#witnesses].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (this.#known.has(snapshot) || (await isRemoved(snapshot))) continue;
      report('taken-away', `no destination has its manifest, and ${words}`, { snapshot });
    }
  }
}
