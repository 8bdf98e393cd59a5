/** What an archive tells people, without any key. The names in it are secrets of their own: treat the text so. */
import type { ArchiveReport } from './report.ts';

/** Rows of a list in the text; the report has them all. */
const TOP = 12;

/** Sentences on what this archive does, or needs, when it is restored. Empty for none. */
export function cautions(report: ArchiveReport): string[] {
  const { seal, state } = report;
  return [
    ...sealCautions(report),
    ...leaseCautions(state),
    ...(state.staticRoles === 0
      ? []
      : [
          `${plural(state.staticRoles, 'static role')}: an un-isolated restore rotates the real passwords that are due`,
        ]),
    ...(state.walEntries === 0
      ? []
      : [
          `${plural(state.walEntries, 'WAL entry', 'WAL entries')}: an un-isolated restore rolls those operations back`,
        ]),
    ...(state.namesActiveNode
      ? ['names the node that was active: a restored node that can reach it may forward writes to it']
      : []),
    ...(state.auditDevices === 0
      ? []
      : [
          `${plural(state.auditDevices, 'audit device')}: when none of them opens, the restored cluster has no active node`,
        ]),
    ...termCautions(state.terms),
    ...(seal.sealedSums === 'present'
      ? []
      : [`SHA256SUMS.sealed is ${seal.sealedSums}: only for scratch clusters, by force`]),
    ...(report.product === 'unknown' ? ['neither the mount tables of Vault nor those of OpenBao are recognised'] : []),
  ];
}

function sealCautions({ seal }: ArchiveReport): string[] {
  if (seal.type === 'shamir') {
    return [`opens only with ${seal.threshold} of the ${seal.shares} unseal key shares of the time it was taken`];
  }
  const key = seal.keyIds.length === 0 ? 'its key' : `the key ${seal.keyIds.join(' and ')}`;
  return [`seal ${seal.type}: opens only with ${key}; recovery keys cannot unseal`];
}

function leaseCautions({ leases, leaseCount }: ArchiveReport['state']): string[] {
  if (leaseCount === 0) return [];
  // Leases of tokens end inside the cluster; those of secrets engines end at a database, a cloud, a broker.
  const ofTokens = leases.filter((lease) => isTokenLease(lease.path)).reduce((sum, lease) => sum + lease.count, 0);
  const outside = leaseCount - ofTokens;
  return [
    `${plural(leaseCount, 'lease')} would be revoked by an un-isolated restore as they expire, ${outside} of them of secrets engines`,
  ];
}

function isTokenLease(path: string): boolean {
  return /^(namespaces\/[^/]+\/)?auth\//.test(path);
}

function termCautions(terms: ArchiveReport['state']['terms']): string[] {
  const newest = terms.at(-1);
  if (newest === undefined || terms.length === 1) return [];
  const old = terms.slice(0, -1).reduce((sum, term) => sum + term.records, 0);
  return [
    `${plural(old, 'record')} still encrypted with barrier keys older than term ${newest.term}: rotation does not rewrite`,
  ];
}

/** The report for people: aligned columns, lists cut to their largest rows. No line ends with a space. */
export function renderReport(report: ArchiveReport): string {
  const { raft, seal, state } = report;
  const recovery =
    seal.recovery === null ? '' : `, recovery keys ${seal.recovery.threshold} of ${seal.recovery.shares}`;
  const servers = raft.servers.map((server) => [server.id, server.address, server.suffrage]);
  const sections = [
    columns([
      ['archive', `${number(report.bytes)} bytes, gzip ${report.compression}, written ${report.writtenAt}`],
      ...(report.sha256 === null ? [] : [['sha256', report.sha256]]),
      ['product', `${report.product} ${report.productVersion ?? '(version unknown)'}`],
      ['raft', `index ${raft.index}, term ${raft.term}, configuration of index ${raft.configurationIndex}`],
      ['seal', `${seal.type}, ${seal.threshold} of ${seal.shares}${recovery}`],
      ...seal.keyIds.map((id) => ['seal key', id]),
      ['sealed sums', seal.sealedSums],
      ['state', `${plural(state.records, 'record')}, ${number(state.bytes)} bytes`],
      ['contents', contents(state)],
    ]),
    section(
      'members',
      report.members.map((member) => [member.name, number(member.bytes), member.sha256]),
      [1],
    ),
    section('servers', servers),
    section(
      'areas',
      state.areas.map((area) => sizesRow(area.area, area)),
      [1, 2],
    ),
    section(
      'mounts',
      state.mounts.map((mount) => sizesRow(mountName(mount), mount)),
      [1, 2],
    ),
    section(
      'leases',
      state.leases.map((lease) => [lease.path, number(lease.count)]),
      [1],
    ),
    section(
      'barrier key terms',
      state.terms.map((term) => [`term ${term.term}`, number(term.records)]),
      [1],
    ),
    report.cautions.length === 0
      ? ''
      : ['cautions', ...report.cautions.map((caution) => `  - ${printable(caution)}`)].join('\n'),
  ];
  return `${sections.filter((text) => text !== '').join('\n\n')}\n`;
}

function contents(state: ArchiveReport['state']): string {
  return [
    plural(state.mounts.length, 'mount with data', 'mounts with data'),
    plural(state.policies, 'policy', 'policies'),
    plural(state.tokens, 'token'),
    plural(state.leaseCount, 'lease'),
    plural(state.namespaces, 'namespace'),
  ].join(', ');
}

function sizesRow(name: string, sizes: { records: number; bytes: number }): string[] {
  return [name, plural(sizes.records, 'record'), `${number(sizes.bytes)} bytes`];
}

function mountName(mount: { area: string; namespace: string | null }): string {
  return mount.namespace === null ? mount.area : `${mount.area} (namespace ${mount.namespace})`;
}

function section(title: string, rows: string[][], right: number[] = []): string {
  if (rows.length === 0) return '';
  const rest = rows.length - TOP;
  const shown = rest > 1 ? rows.slice(0, TOP) : rows;
  const body = columns(shown, right).replaceAll(/^/gm, '  ');
  return [title, body, ...(rest > 1 ? [`  … and ${number(rest)} more`] : [])].join('\n');
}

function columns(cells: string[][], right: number[] = []): string {
  const rows = cells.map((row) => row.map(printable));
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  const pad = (cell: string, i: number) =>
    right.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
  return rows.map((row) => row.map(pad).join('  ').trimEnd()).join('\n');
}

// Names come out of a foreign file, and what is shown may be a terminal.
function printable(cell: string): string {
  return cell.replace(/\p{C}/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

function number(n: number): string {
  return n.toLocaleString('en-US');
}
