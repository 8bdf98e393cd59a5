/** Does a snapshot continue the one before? Pure decisions, each with its reason. */
import type { ArchiveReport } from '../archive/report.ts';
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
