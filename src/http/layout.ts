/** The frame of every page. */
import { type Content, Html, html, type LocalUrl, url } from './html.ts';
import type { Visitor } from './visitor.ts';

export type Page = {
  title: string;
  /** where the page stands, outermost first, without itself */
  trail?: readonly { name: string; to: LocalUrl }[];
  body: Content;
  /** follows runs while they go on, with JavaScript */
  isLive?: boolean;
};

export type Frame = {
  /** null = nobody is signed in */
  visitor: Visitor | null;
  assets: { style: LocalUrl; script: LocalUrl; icon: LocalUrl };
  now: Date;
};

/** The whole document. */
export function renderPage(page: Page, { visitor, assets, now }: Frame): string {
  const clock = `${now.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  const document = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${page.title} · strongroom</title>
<link rel="icon" href="${assets.icon}" type="image/svg+xml">
<link rel="stylesheet" href="${assets.style}">
${page.isLive === true && html`<script src="${assets.script}" defer></script>`}
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header>
<a class="brand" href="/">strongroom</a>
${visitor !== null && navigation()}
${visitor === null ? null : who(visitor)}
</header>
<main id="main" tabindex="-1">
${trail(page)}
<h1>${page.title}</h1>
${page.body}
</main>
<footer>As of ${clock}. Reload for newer.</footer>
</body>
</html>
`;
  return document.toString();
}

function navigation(): Html {
  return html`<nav aria-label="Pages"><a href="/">Fleet</a> <a href="/runs">Runs</a> <a href="/queues">Queues</a></nav>`;
}

function who({ name, role, via, csrf }: Visitor): Html {
  const leave =
    via === 'session' &&
    html`<form method="post" action="/logout"><input type="hidden" name="csrf" value="${csrf}"><button class="quiet">Sign out</button></form>`;
  return html`<div class="who"><span>${name} <span class="zone">${role}</span></span>${leave}</div>`;
}

function trail({ trail: steps = [], title }: Page): Content {
  if (steps.length === 0) return null;
  const links = steps.map(({ name, to }) => html`<li><a href="${to}">${name}</a></li>`);
  return html`<nav aria-label="Breadcrumb"><ol class="trail">${links}<li aria-current="page">${title}</li></ol></nav>`;
}

/** The way to a cluster's page. */
export function clusterTrail(cluster: string): NonNullable<Page['trail']> {
  return [
    { name: 'Fleet', to: url`/` },
    { name: cluster, to: url`/clusters/${cluster}` },
  ];
}

/**
 * A table that scrolls by itself where it is wider than the screen; on a phone each row becomes a list of what it says.
 * `headings` are those of the columns; a row has a cell for each.
 */
export function table(caption: string, headings: readonly string[], rows: readonly Html[]): Html {
  const head = headings.map((heading) => html`<th scope="col" role="columnheader">${heading}</th>`);
  const labels = headings.map((heading) => html`data-label="${heading}"`.toString());
  return html`<div class="scroll" role="group" tabindex="0" aria-label="${caption}"><table role="table"><caption>${caption}</caption><thead role="rowgroup"><tr role="row">${head}</tr></thead><tbody role="rowgroup">${rows.map((row) => labelled(row, labels))}</tbody></table></div>`;
}

/** A row laid out as a list is no row to a screen reader, unless it says so. What was put in has no tags: they are all ours. */
function labelled(row: Html, labels: readonly string[]): Html {
  let column = 0;
  const markup = row.toString().replace(/<(tr|td|th)(?=[ >])/g, (tag, name: string) => {
    if (name === 'tr') return `${tag} role="row"`;
    const label = labels[column] ?? '';
    column += 1;
    return `${tag} role="${name === 'th' ? 'rowheader' : 'cell'}" ${label}`;
  });
  return Html.join([markup], []);
}

/** A paragraph that stands out, such as for what could not be read. */
export function note(text: Content): Html {
  return html`<p class="note">${text}</p>`;
}
