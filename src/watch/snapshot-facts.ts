/** What is read of snapshots for the pages, and kept: under its name a manifest or record never becomes another one. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { HoldRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import type { SnapshotId } from '../core/ids.ts';
import { RecordMemory } from '../observe/record-memory.ts';
import type { HoldName } from '../store/record-layout.ts';

export type ManifestFacts = {
  bytes: number;
  records: number;
  purpose: 'backup' | 'safety';
  warnings: number;
  createdAt: Date;
  /** lock of the copy, by destination, as it was set at the upload */
  locks: Readonly<Record<string, Date>>;
};

const MAX_KEPT = 5_000;
const AT_ONCE = 8;
/** What these say does not pass: the object is there and is no good, or it is gone. */
const REFUSALS: readonly string[] = ['E_SIGNATURE', 'E_MANIFEST', 'E_NOT_FOUND'];

/** Of one cluster. */
export class SnapshotMemory {
  readonly records = new RecordMemory();
  readonly #kept = new Map<string, ManifestFacts>();

  /**
   * What the manifest of `snapshot` says, as `catalogue` has it; an error = it is not believed. `of` names the destinations
   * of `catalogue`. Rejects when no destination answers.
   */
  async facts(
    catalogue: Catalogue,
    of: string,
    snapshot: SnapshotId,
    signal: AbortSignal,
  ): Promise<ManifestFacts | StrongroomError> {
    const key = `${of} ${snapshot}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    try {
      const { manifest } = await catalogue.read(snapshot, signal);
      const locks = manifest.destinations.flatMap((copy): [string, Date][] =>
        copy.status === 'stored' && copy.lock !== undefined ? [[copy.name, new Date(copy.lock.until)]] : [],
      );
      const facts: ManifestFacts = {
        bytes: manifest.archive.bytes,
        records: manifest.archive.state.records,
        purpose: manifest.purpose,
        warnings: manifest.warnings.length + manifest.archive.cautions.length,
        createdAt: new Date(manifest.createdAt),
        locks: Object.fromEntries(locks),
      };
      const oldest = this.#kept.keys().next();
      if (this.#kept.size >= MAX_KEPT && oldest.done !== true) this.#kept.delete(oldest.value);
      this.#kept.set(key, facts);
      return facts;
    } catch (e) {
      signal.throwIfAborted();
      if (isError(e) && REFUSALS.includes(e.code)) return e;
      throw e;
    }
  }
}

/**
 * The record that counts for each of `snapshots` that was ever held: the newest that is believed. A name alone counts for
 * nothing; one that cannot be asked for rejects.
 */
export async function newestHolds(
  records: Records,
  names: readonly HoldName[],
  snapshots: ReadonlySet<SnapshotId>,
  signal: AbortSignal,
): Promise<Map<SnapshotId, HoldRecord>> {
  const found = new Map<SnapshotId, HoldRecord>();
  const newestFirst = names
    .filter(({ snapshot }) => snapshots.has(snapshot))
    .toSorted((a, b) => (a.id < b.id ? 1 : -1));
  for (const name of newestFirst) {
    if (found.has(name.snapshot)) continue;
    const record = await believed(() => records.readHold(name, signal), signal);
    if (record !== null) found.set(name.snapshot, record);
  }
  return found;
}

/** null = there is one, and it is not believed. */
export async function believed<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
  try {
    return await read();
  } catch (e) {
    signal.throwIfAborted();
    if (isError(e) && REFUSALS.includes(e.code)) return null;
    throw e;
  }
}

/** `work` on each of `items`, a few at once; results in their order. */
export async function mapFew<T, U>(items: readonly T[], work: (item: T) => Promise<U>): Promise<U[]> {
  const results: U[] = [];
  const todo = [...items.entries()];
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let next = todo.shift(); next !== undefined; next = todo.shift()) results[next[0]] = await work(next[1]);
  });
  await Promise.all(workers);
  return results;
}
