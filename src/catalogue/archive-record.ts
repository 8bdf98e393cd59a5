/** What of an archive's report a manifest keeps: all but the names that would tell a reader of the bucket too much. */
import type { ArchiveReport } from '../archive/report.ts';
import { StrongroomError } from '../core/errors.ts';
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

/**
 * The signed manifest says what the archive must be: what was read is compared with it, not only with itself. Throws
 * E_MANIFEST when size, raft index or members are others.
 */
export function checkArchive(report: ArchiveReport, manifest: Manifest): void {
  const now = archiveRecord(report);
  const same =
    now.bytes === manifest.archive.bytes &&
    now.raft.index === manifest.archive.raft.index &&
    JSON.stringify(now.members) === JSON.stringify(manifest.archive.members);
  if (same) return;
  throw new StrongroomError(
    'E_MANIFEST',
    `the archive is not the one that the manifest of ${manifest.snapshot} describes`,
    { hint: 'data and manifest of two snapshots were mixed: use another snapshot' },
  );
}
