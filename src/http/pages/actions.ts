/** Forms of operators, and what is said behind them: never more than what has happened. */
import type { SnapshotId } from '../../core/ids.ts';
import { type Html, html, url } from '../html.ts';
import { clusterTrail, note, type Page } from '../layout.ts';
import type { Held } from '../source.ts';
import type { Visitor } from '../visitor.ts';

const NAMES: Readonly<Record<string, string>> = { backup: 'Back up now', verify: 'Verify now' };
export const ASKABLE = Object.keys(NAMES);

/** `jobs` = what the queue takes for this cluster; null = there is no queue. */
export function askForms(cluster: string, { csrf }: Visitor, jobs: readonly string[] | null): Html {
  if (jobs === null)
    return html`<h2>Actions</h2><p>Runs are asked for in the queue, and there is none in the config.</p>`;
  const forms = ASKABLE.filter((job) => jobs.includes(job)).map(
    (job) =>
      html`<form method="post" action="${url`/clusters/${cluster}/ask`}"><input type="hidden" name="csrf" value="${csrf}"><input type="hidden" name="job" value="${job}"><button>${NAMES[job] ?? job}</button></form>`,
  );
  if (forms.length === 0)
    return html`<h2>Actions</h2><p>A worker takes only jobs that are scheduled: set schedule.backup or schedule.verify.</p>`;
  return html`<h2>Actions</h2><div class="act">${forms}</div>`;
}

/** The form of a hold, and behind one that of its release. */
export function holdForms(cluster: string, snapshot: string, { csrf }: Visitor, isHeld: boolean): Html {
  const release =
    isHeld &&
    html`<form class="act" method="post" action="${url`/clusters/${cluster}/snapshots/${snapshot}/release`}">
<input type="hidden" name="csrf" value="${csrf}">
<label>Why it need not be kept any more <input name="why" required maxlength="500"></label>
<button class="quiet">Release</button>
</form>`;
  return html`<form class="act" method="post" action="${url`/clusters/${cluster}/snapshots/${snapshot}/hold`}">
<input type="hidden" name="csrf" value="${csrf}">
<label>Why it must be kept <input name="why" required maxlength="500"></label>
<label>Until (UTC; empty = until it is released) <input name="until" type="date"></label>
<button>${isHeld ? 'Hold anew' : 'Hold'}</button>
</form>${release}`;
}

/** The run is asked for; whether it will be good, nobody knows yet. */
export function askedPage(cluster: string, job: string, id: string): Page {
  return {
    title: `Asked for: ${job}`,
    trail: clusterTrail(cluster),
    body: html`<p>A ${job} of ${cluster} stands in the queue as <span class="id">${id}</span>. It is not done yet: a worker takes it when one is free.</p><p><a href="/runs">See what runs</a></p>`,
  };
}

export function heldPage(cluster: string, snapshot: SnapshotId, act: 'hold' | 'release', done: Held): Page {
  const { stored, failed, warnings } = done;
  const isWhole = failed.length === 0;
  const missing =
    !isWhole &&
    html`<p class="note critical" role="alert">Not done in ${failed.join(' and ')}: ${act === 'hold' ? 'what prunes there may not know of it. Hold it again when that answers.' : 'there it may still be kept. Release it again when that answers.'}</p>`;
  const link = html`<a class="id" href="${url`/clusters/${cluster}/snapshots/${snapshot}`}">${snapshot}</a>`;
  const where =
    stored.length > 0
      ? html`<p>The ${act} of ${link} is stored in ${stored.join(' and ')}.</p>`
      : html`<p>${link} was released before; now its legal holds were lifted.</p>`;
  const title = act === 'hold' ? 'Held' : 'Released';
  return {
    title: isWhole ? title : `${title} in part`,
    trail: clusterTrail(cluster),
    body: html`${missing}${where}${warnings.map((warning) => note(warning))}`,
  };
}
