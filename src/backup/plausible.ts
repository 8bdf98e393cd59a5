/** Does a snapshot continue the one before? Pure decisions, each with its reason. */
import type { ArchiveReport, RaftServer } from '../archive/report.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { type ErrorCode, StrongroomError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';

export type Finding = { code: ErrorCode; message: string };

/**
 * Compares with the last good snapshot: index and term never fall, records and bytes do not collapse.
 * `warnFall` and `maxFall` are shares from 0 to 1.
 */
export function compareWithPrevious(
  now: Pick<ArchiveReport, 'raft' | 'state'>,
  previous: Manifest | null,
  limits: { warnFall: number; maxFall: number },
): { failures: Finding[]; warnings: string[] } {
  const failures: Finding[] = [];
  const warnings: string[] = [];
  if (previous === null) return { failures, warnings };
  const before = previous.archive;
  if (now.raft.index < before.raft.index) {
    failures.push({
      code: 'E_SNAPSHOT_STALE',
      message: `raft index ${now.raft.index} is below ${before.raft.index} of snapshot ${previous.snapshot}`,
    });
  }
  const measures = [
    { name: 'records', now: now.state.records, before: before.state.records, show: String },
    { name: 'state', now: now.state.bytes, before: before.state.bytes, show: formatBytes },
  ];
  for (const { name, now: value, before: was, show } of measures) {
    const fall = was === 0 ? 0 : 1 - value / was;
    const message = `${name} fell by ${Math.round(fall * 100)} % since snapshot ${previous.snapshot} (${show(was)} to ${show(value)})`;
    if (fall > limits.maxFall) failures.push({ code: 'E_SNAPSHOT_IMPLAUSIBLE', message });
    else if (fall > limits.warnFall) warnings.push(message);
  }
  return { failures, warnings };
}

/** The error of the first finding, with the way out for a change that was meant. */
export function implausible(findings: readonly Finding[]): StrongroomError | null {
  const [first] = findings;
  if (first === undefined) return null;
  return new StrongroomError(first.code, findings.map((finding) => finding.message).join('; '), {
    hint: 'if the cluster was restored or emptied on purpose, run the backup once with --new-lineage',
    retryable: false,
  });
}

/**
 * Members that the inventory does not know, or knows under another address, and those that changed since the last
 * snapshot. A scratch node that joined production shows nowhere else: health and autopilot stay green.
 */
export function compareMembers(
  servers: readonly Pick<RaftServer, 'id' | 'address'>[],
  inventory: readonly { id: string; address: string }[],
  previous: readonly Pick<RaftServer, 'id' | 'address'>[] | null,
): string[] {
  const warnings: string[] = [];
  const known = new Map(inventory.map(({ id, address }) => [id, address]));
  if (inventory.length > 0) {
    for (const { id, address } of servers) {
      const expected = known.get(id);
      if (expected === undefined) warnings.push(`raft member ${id} at ${address} is a stranger to the inventory`);
      else if (expected !== address) {
        warnings.push(`raft member ${id} is at ${address}, but the inventory says ${expected}`);
      }
    }
    const present = new Set(servers.map(({ id }) => id));
    for (const { id } of inventory) if (!present.has(id)) warnings.push(`raft member ${id} of the inventory is absent`);
  }
  if (previous !== null) {
    const before = new Map(previous.map(({ id, address }) => [id, address]));
    for (const { id, address } of servers) {
      const was = before.get(id);
      if (was === undefined) warnings.push(`raft member ${id} at ${address} is new since the last snapshot`);
      else if (was !== address)
        warnings.push(`raft member ${id} moved from ${was} to ${address} since the last snapshot`);
    }
  }
  return warnings;
}
