/** What a prune is about to remove, signed and stored before the first object goes: what is left of it belongs to nobody else. */
import { hostname } from 'node:os';
import type { PruneRecord } from '../catalogue/record-types.ts';
import type { Records } from '../catalogue/records.ts';
import { isError } from '../core/errors.ts';
import type { RunId, SnapshotId } from '../core/ids.ts';
import { TOOL_VERSION } from '../version.ts';

export type Removal = PruneRecord['removals'][number];

/** So many fit into a record with room to spare. */
const PER_RECORD = 500;

/**
 * Writes what `run` removes from `destination`. Rejects unless every destination has it and it can be
 * believed: a crash may leave any one of them alone.
 */
export async function writeJournal(
  records: Records,
  what: { run: RunId; destination: string; at: Date; removals: readonly Removal[] },
  signal: AbortSignal,
): Promise<void> {
  for (let from = 0; from < what.removals.length; from += PER_RECORD) {
    const name = { run: what.run, destination: what.destination, part: from / PER_RECORD + 1 };
    const { failures } = await records.writePrune(
      {
        schema: '1',
        cluster: records.cluster,
        ...name,
        at: what.at.toISOString(),
        removals: what.removals.slice(from, from + PER_RECORD),
        host: hostname(),
        tool: TOOL_VERSION,
      },
      signal,
    );
    for (const { error } of failures) throw error;
    // Signed by a key that `trusted` forgot, it would explain nothing to the next run.
    await records.readPrune(name, signal);
  }
}

/**
 * Those of `wanted` that a prune was about to remove from `destination`, by the records that can be believed. Reads from the newest
 * on, and no more than it takes; nothing at all for nothing wanted. Rejects where a destination does not answer.
 */
export async function readJournaled(
  records: Records,
  destination: string,
  wanted: readonly SnapshotId[],
  signal: AbortSignal,
): Promise<Set<SnapshotId>> {
  const open = new Set<string>(wanted);
  const found = new Set<SnapshotId>();
  if (open.size === 0) return found;
  const { names, failures } = await records.prunes(signal);
  for (const failure of failures) throw failure;
  for (const name of names.filter((one) => one.destination === destination).toReversed()) {
    if (open.size === 0) break;
    try {
      const { removals } = await records.readPrune(name, signal);
      for (const { snapshot } of removals) if (open.delete(snapshot)) found.add(snapshot as SnapshotId);
    } catch (e) {
      if (!isError(e, 'E_NOT_FOUND') && !isError(e, 'E_SIGNATURE') && !isError(e, 'E_MANIFEST')) throw e;
    }
  }
  return found;
}
