/** A restore's result in lines for people. */
import { formatDuration } from '../core/units.ts';
import type { RestoreResult } from './restore.ts';

/** First line: the verdict. Then what was proven, and what is still to be done. */
export function summariseRestore(result: RestoreResult): string[] {
  const { proof, timings } = result;
  return [
    `restored and proven: ${result.label}`,
    `  node        ${proof.node}`,
    `  raft index  ${result.raftIndex} of the snapshot`,
    `  opened      with ${result.openedWith}`,
    `  proof       ${proof.identical} records are byte for byte those of the snapshot`,
    ...(proof.explainedCount === 0
      ? []
      : [`              ${proof.explainedCount} differ for known reasons (restore, logins, leases)`]),
    ...result.warnings.map((warning) => `  to do       ${warning}`),
    `  took        ${formatDuration(timings.total)} (fetch and verify ${formatDuration(timings.fetch)}, install ${formatDuration(timings.install)}, serving again ${formatDuration(timings.settle)}, proof ${formatDuration(timings.prove)})`,
  ];
}
