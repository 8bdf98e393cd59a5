/** What of an archive's report a manifest keeps: all but the names that would tell a reader of the bucket too much. */
import type { ArchiveReport } from '../archive/report.ts';
import type { Manifest } from './manifest.ts';

/**
 * Lease paths name roles and sometimes people; the manifest keeps their first part (the mount) and the counts.
 * The same report always gives the same record, so a restore can compare what it reads with what was signed.
 */
export function archiveRecord(report: ArchiveReport): Manifest['archive'] {
  const byMount = new Map<string, number>();
  for (const { path, count } of report.state.leases) {
    const mount = `${path.split('/')[0] ?? ''}/`;
    byMount.set(mount, (byMount.get(mount) ?? 0) + count);
  }
  const { leases: _paths, ...state } = report.state;
  return {
    bytes: report.bytes,
    members: report.members,
    compression: report.compression,
    product: report.product,
    productVersion: report.productVersion,
    raft: { index: report.raft.index, term: report.raft.term, servers: report.raft.servers },
    seal: report.seal,
    state: { ...state, leases: [...byMount].map(([mount, count]) => ({ mount, count })) },
    cautions: report.cautions,
  };
}
