/** What ran: signed records; and what runs, where there is a queue. */
import { formatDuration } from '../../core/units.ts';
import { type Html, html, url } from '../html.ts';
import { note, type Page, table } from '../layout.ts';
import type { QueuedRun, RunRow, Runs } from '../source.ts';
import { outcomeBadge, timeIn } from '../text.ts';

/** `current`: what the queue has now; a text = why that is not known; null = there is no queue. */
export function runsPage(
  last: readonly RunRow[],
  current: readonly QueuedRun[] | string | null,
  zoneOf: (cluster: string) => string,
): Page {
  const all = last.toSorted((a, b) => (a.record.startedAt < b.record.startedAt ? 1 : -1));
  const rows = all.slice(0, MAX_SHOWN);
  return {
    title: 'Runs',
    isLive: current !== null,
    body: html`<h2>Now</h2>${now(current)}<h2>Last run of each job</h2>${
      rows.length === 0
        ? note('No run is known.')
        : runsTable('The last run of each job of each cluster', { rows, refused: 0, failures: [] }, zoneOf, {
            withCluster: true,
          })
    }${all.length > rows.length && note(`${all.length - rows.length} that are older are not shown: the page of each cluster has its own.`)}`,
  };
}

function now(current: readonly QueuedRun[] | string | null): Html {
  if (current === null) {
    return note(
      html`Live progress needs the queue: set <code>queue</code> in the config, and run <code>strongroom worker</code>.`,
    );
  }
  if (typeof current === 'string') return html`${note(`What runs now is not known: ${current}`)}${live()}`;
  const rows = current.map(
    ({ id, cluster, job, state, progress }) =>
      html`<tr><th scope="row"><a href="${url`/clusters/${cluster}`}">${cluster}</a></th><td>${job}</td><td>${state}</td><td class="wrap">${progress}</td><td class="id">${id}</td></tr>`,
  );
  const columns = ['Cluster', 'Job', 'State', 'Progress', 'In the queue as'];
  return html`${rows.length === 0 ? note('Nothing is at work, and nothing waits.') : table('At work and waiting', columns, rows)}${live()}`;
}

function live(): Html {
  return html`<p id="live-state" role="status" class="zone">Without JavaScript, reload to see what has changed.</p>
<ul id="live" class="live" aria-live="polite" aria-label="What happens now"></ul>`;
}

/** Runs with their errors. */
export function runsTable(
  caption: string,
  { rows, refused, failures }: Runs,
  zoneOf: (cluster: string) => string,
  { withCluster }: { withCluster: boolean },
): Html {
  const troubles = [
    ...failures.map(({ message }) => note(`Not every destination was asked: ${message}`)),
    ...(refused === 0 ? [] : [note(`${refused} records cannot be believed, and are not shown.`)]),
  ];
  if (rows.length === 0) return html`${troubles}${note('No run is known.')}`;
  const columns = [
    ...(withCluster ? ['Cluster'] : []),
    'Job',
    'Outcome',
    'Started',
    'Took',
    'Why',
    'What was wrong',
    'Run',
  ];
  return html`${troubles}${table(
    caption,
    columns,
    rows.map((one) => row(one, zoneOf(one.cluster), withCluster)),
  )}`;
}

/** A page of thousands of rows is read by nobody. */
const MAX_SHOWN = 200;

const DOORS = { schedule: 'schedule', 'catch-up': 'missed, made up for', command: 'asked for' } as const;

function row({ cluster, record }: RunRow, zone: string, withCluster: boolean): Html {
  const { job, outcome, startedAt, endedAt, door, askedBy, error, missing, snapshot, run } = record;
  const took = new Date(endedAt).getTime() - new Date(startedAt).getTime();
  const made =
    snapshot === null ? null : html`<a href="${url`/clusters/${cluster}/snapshots/${snapshot}`}">snapshot</a>`;
  return html`<tr>
${withCluster && html`<th scope="row"><a href="${url`/clusters/${cluster}`}">${cluster}</a></th>`}
${withCluster ? html`<td>${job}</td>` : html`<th scope="row">${job}</th>`}
<td>${outcomeBadge(outcome)}</td>
<td>${timeIn(zone, new Date(startedAt))}</td>
<td class="number">${formatDuration(took)}</td>
<td>${DOORS[door]}${askedBy !== undefined && html` by ${askedBy}`}</td>
<td class="wrap">${error !== null && html`<div><code>${error.code}</code> ${error.message}</div>${error.hint !== undefined && html`<div class="zone">${error.hint}</div>`}`}${missing.map((what) => html`<div>lacks ${what}</div>`)}${made}</td>
<td class="id">${run}</td>
</tr>`;
}
