/** What the retention policy says of each snapshot of a cluster now, in each destination. Reads, and removes nothing. */
import type { ClusterConfig } from '../config/cluster-config.ts';
import { retentionOf } from '../config/retention.ts';
import { isError } from '../core/errors.ts';
import { type SnapshotId, snapshotTime } from '../core/ids.ts';
import type { RetentionPreview } from '../http/source.ts';
import type { StatusDeps } from '../observe/cluster-status.ts';
import type { SnapshotFacts } from '../retention/facts.ts';
import { decide } from '../retention/policy.ts';
import { proofTime } from '../snapshots/choose-copies.ts';
import type { HoldName, ProofName } from '../store/record-layout.ts';
import { mapFew, newestHolds, type SnapshotMemory } from './snapshot-facts.ts';

/** A page that opens more manifests than that keeps somebody waiting; the names of older ones are enough for a look. */
const MAX_OPENED = 500;

type Names = { proofs: readonly ProofName[]; holds: readonly HoldName[] };

/** One preview for each destination, in the order of the config. A destination that does not answer says so. */
export async function previewRetention(
  deps: StatusDeps,
  config: ClusterConfig,
  memory: SnapshotMemory,
  how: { lastRunFailed: boolean; now: Date },
  signal: AbortSignal,
): Promise<RetentionPreview[]> {
  const [{ names: proofs }, { names: holds }] = await Promise.all([
    deps.records.proofs(signal),
    deps.records.holds(signal),
  ]);
  const previews: RetentionPreview[] = [];
  for (const { name: destination } of config.destinations) {
    const policy = retentionOf(config.retention, destination);
    if (policy === null) {
      previews.push({ destination, rows: null, problem: null, unopened: 0 });
      continue;
    }
    try {
      const { facts, unopened } = await readFacts(deps, destination, { proofs, holds }, memory, signal);
      const times = new Map(facts.map(({ snapshot, createdAt }) => [snapshot, createdAt]));
      const decided = decide(facts, policy, how.now, how);
      const rows = decided.map((one) => ({ ...one, at: times.get(one.snapshot) ?? snapshotTime(one.snapshot) }));
      previews.push({ destination, rows, problem: null, unopened });
    } catch (e) {
      signal.throwIfAborted();
      if (!isError(e)) throw e;
      previews.push({ destination, rows: [], problem: e, unopened: 0 });
    }
  }
  return previews;
}

async function readFacts(
  { catalogue, records }: StatusDeps,
  destination: string,
  names: Names,
  memory: SnapshotMemory,
  signal: AbortSignal,
): Promise<{ facts: SnapshotFacts[]; unopened: number }> {
  const own = catalogue.only(destination);
  const { entries } = await own.list(signal);
  const newestFirst = entries.map(({ snapshot }) => snapshot).toReversed();
  const holds = await newestHolds(records, names.holds, new Set(newestFirst), signal);
  const known = memory.records.over(records);
  const verifiedAt = async (snapshot: SnapshotId): Promise<Date | null> => {
    const good = names.proofs.filter((name) => name.snapshot === snapshot && name.destination === destination);
    const [newest] = good.toSorted((a, b) => (a.proof < b.proof ? 1 : -1));
    // The last reading counts: one that was good before a bad one says nothing of now.
    if (newest?.verdict !== 'good' || (await known.proof(newest, signal)) === null) return null;
    return proofTime(newest.proof);
  };
  const facts = await mapFew([...newestFirst.entries()], async ([i, snapshot]): Promise<SnapshotFacts> => {
    const found = i < MAX_OPENED ? await memory.facts(own, destination, snapshot, signal) : null;
    const said = found === null || isError(found) ? null : found;
    const hold = holds.get(snapshot);
    return {
      snapshot,
      createdAt: said?.createdAt ?? snapshotTime(snapshot),
      purpose: said?.purpose ?? 'backup',
      isGood: !isError(found),
      verifiedAt: await verifiedAt(snapshot),
      drilledAt: null,
      hold:
        hold?.act === 'hold'
          ? { who: hold.who, why: hold.why, until: hold.until === null ? null : new Date(hold.until) }
          : null,
      lockedUntil: said?.locks[destination] ?? null,
      bytes: said?.bytes ?? 0,
      isIgnored: false,
    };
  });
  return { facts, unopened: Math.max(0, newestFirst.length - MAX_OPENED) };
}
