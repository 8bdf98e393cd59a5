/** One cluster: how safe it is and why, its snapshots, what runs next, what ran last. */
import { formatBytes, formatDuration } from '../../core/units.ts';
import { judge } from '../../observe/verdict.ts';
import type { WatchedStatus } from '../../observe/watch.ts';
import { type Content, type Html, html, url } from '../html.ts';
import { note, type Page, table } from '../layout.ts';
import type { PlannedJob, Runs, SnapshotRow, Timeline } from '../source.ts';
import { ago, badge, timeIn } from '../text.ts';
import { runsTable } from './runs.ts';
import { sizeChart } from './size-chart.ts';

export type ClusterView = {
  watched: WatchedStatus;
  zone: string;
  /** null, with the words why, where it could not be read */
  timeline: Timeline | string;
  runs: Runs | string;
  planned: readonly PlannedJob[];
  /** forms of whoever may act; null for a reader */
  actions: Html | null;
  now: Date;
};

export function clusterPage(view: ClusterView): Page {
  const { watched, zone, planned, now } = view;
  const { cluster } = watched.status;
  const verdict = judge(watched.status, watched.limits, now);
  const reasons = verdict.reasons.map(({ level, text }) => html`<li>${badge(level)} ${text}</li>`);
  return {
    title: cluster,
    trail: [{ name: 'Fleet', to: url`/` }],
    body: html`
<p>${badge(verdict.level)} ${reasons.length === 0 && 'All promises are kept.'}</p>
${reasons.length > 0 && html`<ul>${reasons}</ul>`}
<dl>
<dt>Newest whole backup</dt><dd>${newest(view)}</dd>
<dt>Oldest it may be</dt><dd>${watched.limits.maxAgeMs === null ? 'nobody said: set limits.maxAge' : formatDuration(watched.limits.maxAgeMs)}</dd>
<dt>Last looked at</dt><dd>${watched.status.readAt === null ? 'not yet' : timeIn(zone, watched.status.readAt)}</dd>
<dt>Retention</dt><dd><a href="${url`/clusters/${cluster}/retention`}">What prune would do now</a></dd>
</dl>
${view.actions}
<h2>Destinations</h2>
${destinations(view)}
<h2>Snapshots</h2>
${timeline(view)}
<h2>Next runs</h2>
${
  planned.length === 0
    ? note('Nothing is scheduled: set schedule in the config of this cluster.')
    : table(
        'Next runs by the schedule',
        ['Job', 'Starts', 'In', 'Schedule'],
        planned.map((job) => plannedRow(job, zone, now)),
      )
}
<h2>Last runs</h2>
${typeof view.runs === 'string' ? note(`Runs cannot be read: ${view.runs}`) : runsTable('Last runs, newest first', view.runs, () => zone, { withCluster: false })}
`,
  };
}

function newest({ watched: { status }, zone, now }: ClusterView): Content {
  const { newestWhole } = status;
  if (newestWhole === null) return 'none is known';
  const link = url`/clusters/${status.cluster}/snapshots/${newestWhole.snapshot}`;
  return html`<a href="${link}">${timeIn(zone, newestWhole.at)}</a>, ${ago(newestWhole.at, now)}`;
}

function destinations({ watched, zone }: ClusterView): Html {
  const rows = watched.status.destinations.map(
    (one) => html`<tr>
<th scope="row">${one.name}</th>
<td>${badge(one.away === null && one.problems.length === 0 && one.badCopies === 0 ? 'ok' : one.away === null && one.problems.length === 0 && one.badCopies === null ? 'unknown' : 'critical')}</td>
<td>${one.newest === null ? 'none is known' : timeIn(zone, one.newest.at)}</td>
<td class="number">${one.copiesMissing ?? 'unknown'}</td>
<td class="number">${one.badCopies ?? 'unknown'}</td>
<td>${one.lastProofAt === null ? (one.badCopies === null ? 'unknown' : 'never') : timeIn(zone, one.lastProofAt)}</td>
<td class="wrap">${[...(one.away === null ? [] : [one.away]), ...one.problems].map(({ message }) => html`<div>${message}</div>`)}</td>
</tr>`,
  );
  if (rows.length === 0) return note('Not read yet.');
  return table(
    'Each destination, by what it holds itself',
    ['Destination', 'State', 'Newest backup', 'Missing', 'Bad', 'Last proof', 'Trouble'],
    rows,
  );
}

function timeline({ watched, timeline: found, zone, now }: ClusterView): Html {
  if (typeof found === 'string') return note(`Snapshots cannot be listed: ${found}`);
  const { cluster } = watched.status;
  const failures = found.failures.map(({ message }) => note(`Not every destination was listed: ${message}`));
  if (found.rows.length === 0) return html`${failures}${note('There is no snapshot.')}`;
  const names = watched.status.destinations.map(({ name }) => name);
  const rows = found.rows.map((one) => snapshotRow(one, cluster, names, zone, now));
  const older =
    found.older > 0 && note(`${found.older} older ones are not shown: strongroom snapshots list --cluster ${cluster}`);
  const columns = ['Snapshot', 'Began', 'Size', 'Records', 'Copies and last proof', 'Notes'];
  return html`${failures}${sizeChart(found.rows)}${table('Snapshots, newest first', columns, rows)}${older}`;
}

function snapshotRow(
  { snapshot, at, destinations: holders, facts, refused, proofs, isHeld }: SnapshotRow,
  cluster: string,
  names: readonly string[],
  zone: string,
  now: Date,
): Html {
  const all = [...new Set([...names, ...holders])];
  const copies = all.map((name) => {
    if (!holders.includes(name)) return html`<div>${name}: ${badge('warning')} no manifest here</div>`;
    const proof = proofs[name];
    if (proof === undefined) return html`<div>${name}: not proven since the backup</div>`;
    if (proof.verdict === 'bad')
      return html`<div>${name}: ${badge('critical')} read as bad ${ago(proof.at, now)}</div>`;
    return html`<div>${name}: proven ${ago(proof.at, now)}</div>`;
  });
  const remarks = [
    ...(refused === null ? [] : [`refused: ${refused.message}`]),
    ...(facts?.purpose === 'safety' ? ['made before a restore'] : []),
    ...(isHeld ? ['held'] : []),
    ...(facts !== null && facts.warnings > 0
      ? [facts.warnings === 1 ? '1 warning' : `${facts.warnings} warnings`]
      : []),
  ];
  return html`<tr>
<th scope="row"><a class="id" href="${url`/clusters/${cluster}/snapshots/${snapshot}`}">${snapshot}</a></th>
<td>${timeIn(zone, at)}</td>
<td class="number">${facts === null ? 'unknown' : formatBytes(facts.bytes)}</td>
<td class="number">${facts?.records ?? 'unknown'}</td>
<td>${copies}</td>
<td>${remarks.map((remark) => html`<div>${remark}</div>`)}</td>
</tr>`;
}

function plannedRow({ job, cron, start }: PlannedJob, zone: string, now: Date): Html {
  return html`<tr><th scope="row">${job}</th><td>${timeIn(zone, start)}</td><td>${formatDuration(start.getTime() - now.getTime())}</td><td><code>${cron}</code> ${zone}</td></tr>`;
}
