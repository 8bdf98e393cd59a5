/** What prune would do now, destination by destination. Nothing is removed by looking. */
import { type Html, html, url } from '../html.ts';
import { clusterTrail, note, type Page, table } from '../layout.ts';
import type { RetentionPreview, RetentionRow } from '../source.ts';
import { timeIn } from '../text.ts';

export function retentionPage(cluster: string, previews: readonly RetentionPreview[] | string, zone: string): Page {
  const body =
    typeof previews === 'string'
      ? note(`It cannot be said: ${previews}`)
      : previews.map((preview) => html`<h2>${preview.destination}</h2>${one(cluster, preview, zone)}`);
  return {
    title: 'Retention preview',
    trail: clusterTrail(cluster),
    body: html`<p>What the policy says of each snapshot now. This page removes nothing; <code>strongroom prune</code> looks again, at locks too, before it does.</p>${body}`,
  };
}

function one(cluster: string, { destination, rows, problem, unopened }: RetentionPreview, zone: string): Html {
  if (problem !== null) return note(`It cannot be said: ${problem.message}`);
  if (rows === null) return note('No retention is configured: everything is kept, and nothing is ever pruned.');
  if (rows.length === 0) return note('There is no snapshot.');
  const count = (action: RetentionRow['action']): number => rows.filter((row) => row.action === action).length;
  const guessed =
    unopened > 0 &&
    note(`${unopened} older manifests were not opened for this page, and are taken for those of good backups.`);
  const shown = rows.map(
    ({ snapshot, at, action, reasons, deferUntil }) =>
      html`<tr><th scope="row"><a class="id" href="${url`/clusters/${cluster}/snapshots/${snapshot}`}">${snapshot}</a></th><td>${timeIn(zone, at)}</td><td><strong>${action}</strong></td><td class="wrap">${reasons.map((reason) => html`<div>${reason}</div>`)}</td><td>${deferUntil !== null && timeIn(zone, deferUntil)}</td></tr>`,
  );
  return html`<p>${count('keep')} kept, ${count('remove')} to be removed, ${count('defer')} to be removed when their lock ends.</p>${guessed}${table(`Decisions for ${destination}, newest snapshot first`, ['Snapshot', 'Began', 'Decision', 'Why', 'Locked until'], shown)}`;
}
