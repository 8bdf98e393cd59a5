/** The fleet: worst first, a page at a time. Made of what is known already; no destination is asked. */
import { formatDuration } from '../../core/units.ts';
import { judge, LEVELS, type Level, type Verdict } from '../../observe/verdict.ts';
import type { WatchedStatus } from '../../observe/watch.ts';
import { type Content, type Html, html, type LocalUrl, url } from '../html.ts';
import { note, type Page, table } from '../layout.ts';
import { badge, timeIn } from '../text.ts';

type Judged = { watched: WatchedStatus; verdict: Verdict };

/** What of the fleet is asked for. */
export type OverviewQuery = {
  /** only clusters in this state; null = in any */
  level: Level | null;
  /** only names that have this in them */
  name: string;
  /** from 1 on */
  page: number;
};

const REASONS_SHOWN = 3;
const PER_PAGE = 100;
/** Fewer than that are seen at one look. */
const FILTER_FROM = 10;
const MAX_NAME = 64;

/** The query of an address, whatever somebody wrote into it. */
export function overviewQuery(query: unknown): OverviewQuery {
  const { state, name, page } = (query ?? {}) as Record<string, unknown>;
  const level = LEVELS.find((one) => one === state) ?? null;
  const number = typeof page === 'string' && /^\d{1,6}$/.test(page) ? Number(page) : 1;
  return { level, name: typeof name === 'string' ? name.trim().slice(0, MAX_NAME) : '', page: Math.max(1, number) };
}

/** `zoneOf` = the zone of a cluster's schedule. */
export function overviewPage(
  fleet: readonly WatchedStatus[],
  zoneOf: (cluster: string) => string,
  now: Date,
  query: OverviewQuery = overviewQuery({}),
): Page {
  const judged = fleet.map((watched) => ({ watched, verdict: judge(watched.status, watched.limits, now) }));
  const wanted = judged.filter(
    ({ watched, verdict }) =>
      (query.level === null || verdict.level === query.level) && watched.status.cluster.includes(query.name),
  );
  wanted.sort(worstFirst);
  const pages = Math.max(1, Math.ceil(wanted.length / PER_PAGE));
  const page = Math.min(query.page, pages);
  const shown = wanted.slice((page - 1) * PER_PAGE, page * PER_PAGE);
  const rows = shown.map((one) => row(one, zoneOf(one.watched.status.cluster), now));
  const columns = ['Cluster', 'State', 'Newest whole backup', 'Age, limit', 'Oldest last proof', 'Why'];
  const first = (page - 1) * PER_PAGE + 1;
  const caption =
    pages === 1
      ? 'Clusters, worst first'
      : `Clusters ${first} to ${first + shown.length - 1} of ${wanted.length}, worst first`;
  return {
    title: 'Fleet',
    body: html`${tally(judged, query)}${fleet.length >= FILTER_FROM && filter(query)}${
      rows.length > 0
        ? table(caption, columns, rows)
        : note(
            fleet.length === 0 ? 'No cluster is configured.' : html`No cluster is like that. <a href="/">Show all</a>`,
          )
    }${pages > 1 && pager(query, page, pages)}`,
  };
}

/** Of two in one state the older backup comes first, and before it one that has none. */
function worstFirst(a: Judged, b: Judged): number {
  const age = ({ verdict: { ageMs } }: Judged): number => ageMs ?? Number.MAX_SAFE_INTEGER;
  const level = LEVELS.indexOf(b.verdict.level) - LEVELS.indexOf(a.verdict.level);
  return level || age(b) - age(a) || (a.watched.status.cluster < b.watched.status.cluster ? -1 : 1);
}

function tally(judged: readonly Judged[], query: OverviewQuery): Html {
  const items = LEVELS.toReversed().map((level) => {
    const n = judged.filter(({ verdict }) => verdict.level === level).length;
    const text = html`${badge(level)} ${n}`;
    if (judged.length < FILTER_FROM) return html`<li>${text}</li>`;
    const isOn = query.level === level;
    const to = addressOf({ ...query, level: isOn ? null : level, page: 1 });
    return html`<li><a href="${to}" aria-label="${isOn ? 'All states' : `Only ${level}, ${n}`}" aria-current="${isOn ? 'true' : 'false'}">${text}</a></li>`;
  });
  return html`<ul class="tally" aria-label="Clusters by state">${items}</ul>`;
}

function filter({ level, name }: OverviewQuery): Html {
  return html`<form class="act" method="get" action="/" role="search">
${level !== null && html`<input type="hidden" name="state" value="${level}">`}
<label>Name <input name="name" type="search" value="${name}" maxlength="64"></label>
<button class="quiet">Find</button>
${(level !== null || name !== '') && html`<a href="/">Show all</a>`}
</form>`;
}

function pager(query: OverviewQuery, page: number, pages: number): Html {
  const step = (to: number, text: string, rel: string): Content =>
    to >= 1 && to <= pages && html`<a href="${addressOf({ ...query, page: to })}" rel="${rel}">${text}</a>`;
  return html`<nav class="pager" aria-label="Pages of the list">${step(page - 1, 'Worse', 'prev')}<span>Page ${page} of ${pages}</span>${step(page + 1, 'Better', 'next')}</nav>`;
}

function addressOf({ level, name, page }: OverviewQuery): LocalUrl {
  return url`/?state=${level ?? ''}&name=${name}&page=${String(page)}`;
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
