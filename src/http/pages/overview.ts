/** The fleet: worst first. Made of what is known already; no destination is asked. */
import { formatDuration } from '../../core/units.ts';
import { judge, LEVELS, type Level, type Verdict } from '../../observe/verdict.ts';
import type { WatchedStatus } from '../../observe/watch.ts';
import { type Html, html, url } from '../html.ts';
import { note, type Page, table } from '../layout.ts';
import { badge, timeIn } from '../text.ts';

type Judged = { watched: WatchedStatus; verdict: Verdict };

const REASONS_SHOWN = 3;

/** `zoneOf` = the zone of a cluster's schedule. */
export function overviewPage(fleet: readonly WatchedStatus[], zoneOf: (cluster: string) => string, now: Date): Page {
  const judged = fleet.map((watched) => ({ watched, verdict: judge(watched.status, watched.limits, now) }));
  judged.sort((a, b) => badness(b) - badness(a) || (b.verdict.ageMs ?? 0) - (a.verdict.ageMs ?? 0));
  const rows = judged.map((one) => row(one, zoneOf(one.watched.status.cluster), now));
  const columns = ['Cluster', 'State', 'Newest whole backup', 'Age, limit', 'Oldest last proof', 'Why'];
  return {
    title: 'Fleet',
    body: html`${tally(judged)}${rows.length === 0 ? note('No cluster is configured.') : table('Clusters, worst first', columns, rows)}`,
  };
}

function badness({ verdict }: Judged): number {
  return LEVELS.indexOf(verdict.level);
}

function tally(judged: readonly Judged[]): Html {
  const counts = LEVELS.toReversed().map((level): [Level, number] => [
    level,
    judged.filter(({ verdict }) => verdict.level === level).length,
  ]);
  return html`<ul class="tally" aria-label="Clusters by state">${counts.map(([level, n]) => html`<li>${badge(level)} ${n}</li>`)}</ul>`;
}

function row({ watched: { status, limits }, verdict }: Judged, zone: string, now: Date): Html {
  const { cluster, newestWhole, readAt } = status;
  const age = verdict.ageMs === null ? 'unknown' : formatDuration(verdict.ageMs);
  const limit = limits.maxAgeMs === null ? 'no limit set' : `${formatDuration(limits.maxAgeMs)} at most`;
  return html`<tr>
<th scope="row"><a href="${url`/clusters/${cluster}`}">${cluster}</a></th>
<td>${readAt === null ? html`${badge(verdict.level)}<br><span class="zone">not read yet</span>` : badge(verdict.level)}</td>
<td>${newestWhole === null ? 'none is known' : timeIn(zone, newestWhole.at)}</td>
<td>${age}<br><span class="zone">${limit}</span></td>
<td>${oldestProof(status.destinations, now)}</td>
<td class="wrap">${reasons(verdict)}</td>
</tr>`;
}

function oldestProof(destinations: WatchedStatus['status']['destinations'], now: Date): string {
  if (destinations.length === 0 || destinations.some(({ badCopies }) => badCopies === null)) return 'unknown';
  const times = destinations.map(({ lastProofAt }) => lastProofAt?.getTime() ?? null);
  if (times.includes(null)) return 'not in every destination';
  return `${formatDuration(now.getTime() - Math.min(...times.filter((time) => time !== null)))} ago`;
}

function reasons({ reasons: all }: Verdict): Html {
  if (all.length === 0) return html`All promises are kept.`;
  const more = all.length - REASONS_SHOWN;
  const shown = all.slice(0, REASONS_SHOWN).map(({ text }) => html`<li>${text}</li>`);
  return html`<ul>${shown}${more > 0 && html`<li>and ${more} more</li>`}</ul>`;
}
