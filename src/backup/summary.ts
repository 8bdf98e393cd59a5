/** A backup's result in lines for people. */
import { formatBytes, formatDuration } from '../core/units.ts';
import type { BackupResult } from './backup.ts';

/** First line: the verdict. Then what, where, how it was proven, and what to look at. */
export function summariseBackup(result: BackupResult): string[] {
  const { manifest, missing, timings } = result;
  const { archive } = manifest;
  const rate = timings.snapshot === 0 ? 0 : (archive.bytes / timings.snapshot) * 1000;
  return [
    `${result.complete ? 'stored and proven' : 'stored in part'}: snapshot ${manifest.snapshot} of ${manifest.cluster}`,
    `  source      ${manifest.source.node}, ${archive.product} ${archive.productVersion ?? '(version unknown)'}, seal ${archive.seal.type}`,
    `  raft        index ${archive.raft.index}, term ${archive.raft.term}, ${archive.raft.servers.length} member(s)`,
    `  state       ${archive.state.records} records, ${formatBytes(archive.state.bytes)}, ${archive.state.leaseCount} lease(s)`,
    `  archive     ${formatBytes(archive.bytes)}, ${formatBytes(Math.round(rate))}/s while verifying and encrypting`,
    ...manifest.destinations.map((copy) =>
      copy.status === 'stored'
        ? `  copy        ${copy.location}: proven by ${copy.proof === 'read' ? 'reading every byte back' : "the store's own checksum"}`
        : `  MISSING     ${copy.location}: ${copy.message}`,
    ),
    `  opens with  ${[...manifest.keys.kms, ...manifest.keys.recipients].join(', ')}`,
    ...missing.map(({ what, message }) => `  missing     ${what}: ${message}`),
    ...manifest.warnings.map((warning) => `  warning     ${warning}`),
    `  took        ${formatDuration(timings.total)} (snapshot ${formatDuration(timings.snapshot)}, upload ${formatDuration(timings.upload)})`,
  ];
}
