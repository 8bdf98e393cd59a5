/** One snapshot: everything that its signed manifest says, its proofs and its holds. */
import { formatBytes } from '../../core/units.ts';
import { type Content, type Html, html } from '../html.ts';
import { clusterTrail, note, type Page, table } from '../layout.ts';
import type { SnapshotDetail } from '../source.ts';
import { ago, badge, timeIn } from '../text.ts';

export type SnapshotView = { detail: SnapshotDetail; zone: string; actions: Html | null; now: Date };

type Manifest = SnapshotDetail['found']['manifest'];

export function snapshotPage({ detail, zone, actions, now }: SnapshotView): Page {
  const { found, failures } = detail;
  const { manifest } = found;
  const { archive, ciphertext, keys, source, state } = { ...manifest, state: manifest.archive.state };
  const refused = found.refused.map(({ destination, error }) =>
    note(`${destination} does not give its manifest: ${error.message}`),
  );
  return {
    title: manifest.snapshot,
    trail: clusterTrail(manifest.cluster),
    body: html`${refused}${failures.map(({ message }) => note(`Not everything could be read: ${message}`))}
${manifest.purpose === 'safety' && note('Made by a restore, of what it overwrote. It is never taken as the newest backup.')}
${list([
  ['Began', html`${timeIn(zone, new Date(manifest.createdAt))}, ${ago(new Date(manifest.createdAt), now)}`],
  ['Complete', timeIn(zone, new Date(manifest.finishedAt))],
  ['Taken from', `${source.node}, ${source.product} ${source.productVersion ?? ''}`],
  ['Cluster id', source.clusterId ?? 'not said'],
  ['Run', html`<span class="id">${manifest.run}</span>`],
  ['Manifest', html`read from ${found.readFrom}; SHA-256 <span class="id">${found.sha256}</span>`],
  ['Signed by', html`<span class="id">${manifest.signer.keyId}</span> (${manifest.signer.alg})`],
  ['Made with', `${manifest.tool.name} ${manifest.tool.version}`],
  [
    'Before it',
    manifest.previous === null
      ? 'none'
      : html`<span class="id">${manifest.previous.snapshot}</span>, raft index ${manifest.previous.index}`,
  ],
])}
<h2>Warnings</h2>
${bullets([...manifest.warnings, ...archive.cautions], 'None.')}
<h2>Copies</h2>
${copies(manifest, zone)}
<h2>Proofs</h2>
${proofs(detail, zone)}
<h2>Holds</h2>
${holds(detail, zone)}
${actions}
<h2>Archive</h2>
${list([
  ['Size', `${formatBytes(archive.bytes)} (${archive.bytes} bytes), ${archive.compression}`],
  ['Product', `${archive.product} ${archive.productVersion ?? ''}`],
  ['Raft', `index ${archive.raft.index}, term ${archive.raft.term}`],
  [
    'Seal',
    `${archive.seal.type}, ${archive.seal.threshold} of ${archive.seal.shares} shares; sealed sums ${archive.seal.sealedSums}`,
  ],
  [
    'Recovery keys',
    archive.seal.recovery === null ? 'none' : `${archive.seal.recovery.threshold} of ${archive.seal.recovery.shares}`,
  ],
  ['Seal keys', bullets(archive.seal.keyIds, 'none named')],
  ['Records', `${state.records}, ${formatBytes(state.bytes)}`],
  [
    'Inside',
    `${state.leaseCount} leases, ${state.tokens} tokens, ${state.policies} policies, ${state.staticRoles} static roles, ${state.namespaces} namespaces, ${state.auditDevices} audit devices, ${state.walEntries} WAL entries`,
  ],
])}
${tables(archive)}
<h2>Encryption</h2>
${list([
  ['Format', ciphertext.format],
  [
    'Encrypted size',
    `${formatBytes(ciphertext.bytes)} in ${ciphertext.parts} parts of ${formatBytes(ciphertext.partSize)}`,
  ],
  ['Checksum', html`<span class="id">${ciphertext.sha256Composite}</span>`],
  ['Header SHA-256', html`<span class="id">${ciphertext.headerSha256}</span>`],
  ['Snapshot key', html`<span class="id">${keys.recipient}</span>`],
  ['Break-glass', bullets(keys.recipients, 'none')],
  ['KMS keys', bullets(keys.kms, 'none')],
  ['Key object', html`<span class="id">${keys.object}</span>`],
])}
<details><summary>SHA-256 of each part</summary><ol>${ciphertext.partSha256.map((hash) => html`<li class="id">${hash}</li>`)}</ol></details>
`,
  };
}

function list(entries: readonly (readonly [string, Content])[]): Html {
  return html`<dl>${entries.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

function bullets(texts: readonly string[], none: string): Html {
  return texts.length === 0 ? html`${none}` : html`<ul>${texts.map((text) => html`<li>${text}</li>`)}</ul>`;
}

function copies(manifest: Manifest, zone: string): Html {
  const rows = manifest.destinations.map((copy) =>
    copy.status === 'stored'
      ? html`<tr><th scope="row">${copy.name}</th><td>${badge('ok')} stored</td><td class="wrap">${copy.location}</td><td>${copy.proof === 'read' ? 'read back after the upload' : 'checksum of the upload'}</td><td>${copy.lock === undefined ? 'none' : html`${copy.lock.mode} until ${timeIn(zone, new Date(copy.lock.until))}`}</td><td class="id">${copy.versionId ?? ''}</td></tr>`
      : html`<tr><th scope="row">${copy.name}</th><td>${badge('critical')} missing</td><td class="wrap">${copy.location}</td><td class="wrap"><code>${copy.code}</code> ${copy.message}</td><td></td><td></td></tr>`,
  );
  return table('As the run left them', ['Destination', 'State', 'Where', 'Proof', 'Lock', 'Version'], rows);
}

function proofs({ proofs: all, refusedProofs }: SnapshotDetail, zone: string): Html {
  const refused = refusedProofs > 0 && note(`${refusedProofs} records cannot be believed, and are not shown.`);
  if (all.length === 0) return html`${refused}${note('No copy was read again since the backup.')}`;
  const rows = all.map(
    (proof) =>
      html`<tr><th scope="row">${proof.destination}</th><td>${badge(proof.verdict === 'good' ? 'ok' : 'critical')}</td><td>${timeIn(zone, new Date(proof.provenAt))}</td><td>${proof.level}</td><td>${proof.openedWith ?? 'not opened'}</td><td class="number">${formatBytes(proof.bytes)}</td><td class="wrap">${proof.error !== null && html`<code>${proof.error.code}</code> ${proof.error.message}`}</td></tr>`,
  );
  const columns = ['Destination', 'Verdict', 'When', 'Level', 'Opened with', 'Read', 'Error'];
  return html`${refused}${table('Readings of the stored copies, newest first', columns, rows)}`;
}

function holds({ holds: all }: SnapshotDetail, zone: string): Html {
  if (all.length === 0) return note('Never held.');
  const rows = all.map(
    ({ act, who, why, at, until, id }) =>
      html`<tr><th scope="row">${act}</th><td>${timeIn(zone, new Date(at))}</td><td class="wrap">${who}</td><td class="wrap">${why}</td><td>${act === 'release' ? '' : until === null ? 'until it is released' : timeIn(zone, new Date(until))}</td><td class="id">${id}</td></tr>`,
  );
  return table(
    'Holds and releases, newest first; the newest counts',
    ['Act', 'When', 'Who', 'Why', 'Until', 'Record'],
    rows,
  );
}

function tables({ members, raft, state }: Manifest['archive']): Html {
  const number = (n: number): Html => html`<td class="number">${n}</td>`;
  const parts = [
    raft.servers.length > 0 &&
      table(
        'Raft servers',
        ['Id', 'Address', 'Suffrage'],
        raft.servers.map(
          ({ id, address, suffrage }) =>
            html`<tr><th scope="row">${id}</th><td class="wrap">${address}</td><td>${suffrage}</td></tr>`,
        ),
      ),
    table(
      'Members of the archive',
      ['Name', 'Bytes', 'SHA-256'],
      members.map(
        ({ name, bytes, sha256 }) =>
          html`<tr><th scope="row">${name}</th>${number(bytes)}<td class="id">${sha256}</td></tr>`,
      ),
    ),
    table(
      'Areas of the state',
      ['Area', 'Records', 'Bytes'],
      state.areas.map(
        ({ area, records, bytes }) => html`<tr><th scope="row">${area}</th>${number(records)}${number(bytes)}</tr>`,
      ),
    ),
    state.mounts.length > 0 &&
      table(
        'Mounts',
        ['Area', 'Namespace', 'Records', 'Bytes'],
        state.mounts.map(
          ({ area, namespace, records, bytes }) =>
            html`<tr><th scope="row">${area}</th><td>${namespace ?? 'root'}</td>${number(records)}${number(bytes)}</tr>`,
        ),
      ),
    state.leases.length > 0 &&
      table(
        'Leases',
        ['Mount', 'Count'],
        state.leases.map(({ mount, count }) => html`<tr><th scope="row">${mount}</th>${number(count)}</tr>`),
      ),
    state.terms.length > 0 &&
      table(
        'Key terms',
        ['Term', 'Records'],
        state.terms.map(({ term, records }) => html`<tr><th scope="row">${term}</th>${number(records)}</tr>`),
      ),
  ];
  return html`<details><summary>What is in the archive, in detail</summary>${parts}</details>`;
}
