/** The queues, in numbers. */
import { type Html, html, type LocalUrl } from '../html.ts';
import { note, type Page, table } from '../layout.ts';

type Counts = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** `counts`: a text = why they are not known; null = there is no queue. `board` = where bull-board is; null = not installed. */
export function queuesPage(counts: Counts | string | null, board: LocalUrl | null): Page {
  return { title: 'Queues', body: html`${numbers(counts)}${counts !== null && boardLine(board)}` };
}

function numbers(counts: Counts | string | null): Html {
  if (counts === null) {
    return note(
      html`There is no queue in the config. Set <code>queue</code> for <code>strongroom worker</code>; without it a timer runs <code>strongroom job run</code>.`,
    );
  }
  if (typeof counts === 'string') return note(`The queues cannot be read: ${counts}`);
  const states = [...new Set(Object.values(counts).flatMap((one) => Object.keys(one)))];
  const rows = Object.entries(counts).map(
    ([queue, one]) =>
      html`<tr><th scope="row">${queue}</th>${states.map((state) => html`<td class="number">${one[state] ?? 0}</td>`)}</tr>`,
  );
  return html`${table('Jobs by queue and state', ['Queue', ...states], rows)}<p>“Delayed” counts the next run of each schedule too. What is in the queue is only what will run: what ran is in the destinations.</p>`;
}

function boardLine(board: LocalUrl | null): Html {
  if (board !== null) return html`<p><a href="${board}">Open bull-board</a>, read-only.</p>`;
  return note(
    html`Single jobs are shown by bull-board where it is installed: <code>npm install @bull-board/fastify @bull-board/api</code> beside strongroom, then start it again.`,
  );
}
