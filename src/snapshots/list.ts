/** The snapshots of a cluster, newest first: names from listings, and what only signed objects can tell of those that are shown. */
import type { Catalogue, CatalogueEntry } from '../catalogue/catalogue.ts';
import { readHolds } from '../catalogue/holds.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { readMarks } from '../catalogue/marks.ts';
import type { HoldRecord, MarkRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { eachBounded } from '../core/bounded.ts';
import { isError, type StrongroomError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { Clock } from '../core/units.ts';
import { type CopyProof, newestProofs, type ProofState, proofStateOf } from './proof-state.ts';

export type ListDeps = { catalogue: Catalogue; records: Records; clock: Clock };

export type ListFilter = {
  /** begun at this time or later */
  since?: Date;
  /** begun at this time or earlier */
  until?: Date;
  /** only what one of these has, and only the proofs of their copies */
  destinations?: readonly string[];
  /** only these */
  among?: ReadonlySet<SnapshotId>;
  purpose?: Manifest['purpose'];
  /** `unproven` = everything that is not proven, be it that a copy is bad or that none was read again */
  proof?: 'proven' | 'unproven';
  isHeld?: boolean;
};

export type ListedSnapshot = {
  snapshot: SnapshotId;
  createdAt: Date;
  /** destinations that have its manifest */
  destinations: string[];
  /** null = no destination's manifest is accepted; {@link ListedSnapshot.error} says why */
  purpose: Manifest['purpose'] | null;
  /** of the encrypted archive */
  bytes: number | null;
  error: StrongroomError | null;
  proof: ProofState;
  proofs: CopyProof[];
  hold: HoldRecord | null;
  /** a restore passes it over; null = it does not */
  mark: MarkRecord | null;
};

export type Listing = {
  /** newest first */
  snapshots: ListedSnapshot[];
  /** older names that were not looked at, because there are enough */
  more: number;
  /** what could not be listed or believed; the rest is as it says */
  failures: StrongroomError[];
};

/** What people and prunes said of snapshots. */
type Acts = { holds: ReadonlyMap<SnapshotId, HoldRecord>; marks: ReadonlyMap<SnapshotId, MarkRecord> };

/** Objects that are read at the same time. */
const READS_AT_ONCE = 8;
/** Names whose proofs are listed together where a filter passes most of them over. */
const CHUNK = 200;

/**
 * Names alone: one listing of each destination, and nothing is opened. Newest first. Rejects when no destination answers.
 */
export async function listNames(
  { catalogue }: Pick<ListDeps, 'catalogue'>,
  { since, until, destinations: wantedIn, among }: Pick<ListFilter, 'since' | 'until' | 'destinations' | 'among'>,
  signal: AbortSignal,
): Promise<{ entries: CatalogueEntry[]; failures: StrongroomError[] }> {
  const period = { ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) };
  const { entries, failures } = await catalogue.list(signal, period);
  const wanted = entries.filter(({ snapshot, destinations }) => {
    const time = snapshotTime(snapshot);
    if (since !== undefined && time < since) return false;
    if (until !== undefined && time > until) return false;
    if (among !== undefined && !among.has(snapshot)) return false;
    return wantedIn === undefined || destinations.some((name) => wantedIn.includes(name));
  });
  return { entries: wanted.toReversed(), failures };
}

/**
 * At most `limit` snapshots that `filter` lets pass; null = all. Of each that is looked at its manifest is read, and the newest
 * proof of each copy; behind the last one that is shown nothing is opened. Rejects when no destination answers.
 */
export async function listSnapshots(
  deps: ListDeps,
  filter: ListFilter,
  limit: number | null,
  signal: AbortSignal,
): Promise<Listing> {
  const { entries, failures } = await listNames(deps, filter, signal);
  // One that does not answer would cost a minute for each object: it has been said once.
  const alive = [...new Set(entries.flatMap(({ destinations }) => destinations))];
  const reachable =
    failures.length === 0 ? deps : { catalogue: deps.catalogue.only(...alive), records: deps.records.only(...alive) };
  const [held, marked] = await Promise.all([
    readHolds(reachable.records, deps.clock.now(), signal),
    readMarks(reachable.records, signal),
  ]);
  const acts: Acts = { holds: held.holds, marks: marked.ignored };
  const listing: Listing = { snapshots: [], more: 0, failures: [...failures, ...held.refused] };
  const todo = filter.isHeld === true ? entries.filter(({ snapshot }) => held.holds.has(snapshot)) : entries;
  const isPicky = filter.purpose !== undefined || filter.proof !== undefined;
  const max = limit ?? todo.length;
  let at = 0;
  while (at < todo.length && listing.snapshots.length < max) {
    const chunk = todo.slice(at, at + Math.min(CHUNK, isPicky ? CHUNK : max - listing.snapshots.length));
    const rows = await lookAt(reachable, chunk, filter.destinations, acts, listing.failures, signal);
    for (const row of rows) {
      at += 1;
      if (passes(row, filter)) listing.snapshots.push(row);
      if (listing.snapshots.length === max) break;
    }
  }
  listing.more = todo.length - at;
  return listing;
}

async function lookAt(
  { catalogue, records }: Pick<ListDeps, 'catalogue' | 'records'>,
  chunk: readonly CatalogueEntry[],
  wantedIn: readonly string[] | undefined,
  { holds, marks }: Acts,
  failures: StrongroomError[],
  signal: AbortSignal,
): Promise<ListedSnapshot[]> {
  const [newest, oldest] = [chunk[0], chunk.at(-1)];
  if (newest === undefined || oldest === undefined) return [];
  const period = { since: snapshotTime(oldest.snapshot), until: snapshotTime(newest.snapshot) };
  const { names } = await records.proofs(signal, period);
  const rows: ListedSnapshot[] = [];
  await eachBounded(
    chunk.entries(),
    READS_AT_ONCE,
    async ([i, { snapshot, destinations }]) => {
      const { purpose, bytes, sha256, error } = await readOne(catalogue, snapshot, signal);
      const copies = wantedIn ?? destinations;
      const of = { snapshot, copies, manifestSha256: sha256 };
      const { proofs, refused } = await newestProofs(records, names, of, signal);
      failures.push(...refused);
      const createdAt = snapshotTime(snapshot);
      const acts = { hold: holds.get(snapshot) ?? null, mark: marks.get(snapshot) ?? null };
      const proof = proofStateOf(proofs);
      rows[i] = { snapshot, createdAt, destinations, purpose, bytes, error, proof, proofs, ...acts };
    },
    signal,
  );
  return rows;
}

async function readOne(
  catalogue: Catalogue,
  snapshot: SnapshotId,
  signal: AbortSignal,
): Promise<Pick<ListedSnapshot, 'purpose' | 'bytes' | 'error'> & { sha256: string | null }> {
  try {
    const { manifest, sha256 } = await catalogue.read(snapshot, signal);
    return { purpose: manifest.purpose, bytes: manifest.ciphertext.bytes, sha256, error: null };
  } catch (e) {
    signal.throwIfAborted();
    if (!isError(e)) throw e;
    return { purpose: null, bytes: null, sha256: null, error: e };
  }
}

function passes({ purpose, proof }: ListedSnapshot, filter: ListFilter): boolean {
  if (filter.purpose !== undefined && purpose !== filter.purpose) return false;
  return filter.proof === undefined || (proof === 'good') === (filter.proof === 'proven');
}
