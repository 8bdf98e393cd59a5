/** A restore's result in lines for people. */
import { formatDuration } from '../core/units.ts';
import type { RestoreResult } from './result.ts';

/** First line: the verdict. Then what was proven, and what is still to be done. */
export function summariseRestore(result: RestoreResult): string[] {
  const { proof, timings, voters } = result;
  const proven = voters.filter((voter) => voter.proven);
  return [
    result.complete
      ? `restored and proven: ${result.label}`
      : `restored, and proven on ${proven.length} of ${voters.length + result.unasked} nodes: ${result.label}`,
    `  node        ${proof.node}`,
    `  raft index  ${result.raftIndex} of the snapshot`,
    `  opened      with ${result.openedWith}`,
    `  proof       ${proof.identical} records are byte for byte those of the snapshot`,
    ...(proof.explainedCount === 0
      ? []
      : [`              ${proof.explainedCount} differ for known reasons (restore, logins, leases)`]),
    ...proven.map(({ node, state, raftIndex, mountsAgree }) => {
      const mounts = mountsAgree === true ? ', mounts as on the active node' : '';
      return `  proven on   ${node}, ${state} at index ${raftIndex ?? 'unknown'}${mounts}`;
    }),
    ...voters.flatMap(({ node, problem }) => (problem === null ? [] : [`  not proven  ${node}: ${problem}`])),
    ...(result.unasked === 0
      ? []
      : [`  not asked   ${result.unasked} member(s) of the cluster that the config does not name`]),
    ...(result.safety === null
      ? []
      : [`  before      kept as ${result.safety}: restore --snapshot ${result.safety} goes back to it`]),
    ...result.warnings.map((warning) => `  to do       ${warning}`),
    `  took        ${formatDuration(timings.total)} (fetch and verify ${formatDuration(timings.fetch)}, safety ${formatDuration(timings.safety)}, install ${formatDuration(timings.install)}, serving again ${formatDuration(timings.settle)}, proof ${formatDuration(timings.prove)})`,
  ];
}
