/** The style of all pages: light and dark, from a phone on, and nothing but what the pages use. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --back: light-dark(#ffffff, #14171c);
  --panel: light-dark(#f4f6f8, #1d222a);
  --ink: light-dark(#16202c, #e6eaf0);
  --soft: light-dark(#4c5a69, #a8b3c1);
  --line: light-dark(#cdd5de, #38414d);
  --link: light-dark(#0b57a4, #84bdff);
  --ok: light-dark(#1a6b35, #62cf86);
  --warning: light-dark(#8a5300, #f0b24e);
  --unknown: light-dark(#5b4a9c, #b9a8ff);
  --critical: light-dark(#ad1f1f, #ff8a80);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -100vw; top: 0; padding: .5rem 1rem; background: var(--back); z-index: 1; }
.skip:focus { left: 0; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; align-items: center; padding: .6rem 1.25rem; border-bottom: 1px solid var(--line); background: var(--panel); }
.brand { font-weight: 700; color: var(--ink); text-decoration: none; letter-spacing: .01em; }
header nav { display: flex; gap: 1rem; }
header a, .trail a, button { min-height: 1.75rem; display: inline-flex; align-items: center; }
.who { margin-left: auto; display: flex; gap: .75rem; align-items: center; overflow-wrap: anywhere; }
main { overflow-wrap: anywhere; max-width: 78rem; margin: 0 auto; padding: 1rem 1.25rem 2rem; }
footer { max-width: 78rem; margin: 0 auto; padding: .75rem 1.25rem 2rem; color: var(--soft); font-size: .875rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.trail { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem .5rem; padding: 0; margin: 0; font-size: .9rem; align-items: center; }
.trail li { overflow-wrap: anywhere; }
.trail li + li::before { content: "/"; color: var(--soft); margin-right: .5rem; }
.zone { color: var(--soft); font-size: .9em; }
time, .zone { white-space: nowrap; }
.note { border-left: 4px solid var(--line); background: var(--panel); padding: .5rem .75rem; margin: .75rem 0; overflow-wrap: anywhere; }
.note.critical { border-color: var(--critical); }
.badge { display: inline-flex; align-items: center; vertical-align: top; gap: .4em; font-weight: 600; white-space: nowrap; }
.badge svg { width: 1em; height: 1em; flex: none; fill: currentColor; }
.badge .sign { fill: none; stroke: var(--back); stroke-width: 2; }
.ok { color: var(--ok); } .warning { color: var(--warning); } .unknown { color: var(--unknown); } .critical { color: var(--critical); }
.note.critical { color: inherit; }
.tally { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; padding: 0; list-style: none; margin: 0 0 1rem; }
.tally a { text-decoration: none; color: inherit; border: 1px solid var(--line); border-radius: 999px; padding: .15rem .75rem; display: inline-flex; gap: .4em; align-items: center; }
.tally a:hover { border-color: var(--link); } .tally a[aria-current="true"] { border-color: var(--link); border-width: 2px; }
.pager { display: flex; gap: 1rem; align-items: center; margin: .75rem 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { overflow-wrap: break-word; border-collapse: collapse; width: 100%; font-size: .925rem; }
caption { text-align: left; padding: .5rem .75rem; color: var(--soft); }
th, td { text-align: left; vertical-align: top; padding: .45rem .75rem; border-top: 1px solid var(--line); }
thead th { background: var(--panel); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td ul, dd ul { margin: 0; padding-left: 1.1rem; }
.wrap { min-width: 14rem; overflow-wrap: anywhere; }
code, .id { font: .92em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
td.id, th .id { white-space: nowrap; }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .3rem 1.25rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.bar { fill: var(--link); } .bar.unread { fill: none; stroke: var(--soft); stroke-dasharray: 2 2; } .bar.safety { fill: var(--unknown); }
.axis { stroke: var(--line); } .chart { width: 100%; height: auto; max-height: 12rem; display: block; color: var(--soft); }
.chart text { fill: currentColor; font-size: 11px; }
figure { margin: .5rem 0 1rem; } figcaption { color: var(--soft); font-size: .9rem; }
.act { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: end; margin: .5rem 0; }
form.stack { display: grid; gap: .8rem; max-width: 26rem; }
label { display: grid; gap: .2rem; font-size: .925rem; }
input, button { font: inherit; color: inherit; }
input { padding: .4rem .5rem; border: 1px solid var(--soft); border-radius: 4px; background: var(--back); max-width: 100%; min-width: 0; }
button { padding: .35rem .9rem; border: 1px solid var(--link); border-radius: 4px; background: var(--link); color: var(--back); font-weight: 600; cursor: pointer; }
button.quiet { background: none; color: var(--link); font-weight: 400; }
.live { min-height: 1.5rem; }
details { margin: .75rem 0; } summary { cursor: pointer; padding: .25rem 0; } details .scroll { margin: .5rem 0; }
@media (max-width: 40rem) {
  header, main, footer { padding-left: .9rem; padding-right: .9rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  .who { margin-left: 0; }
  .scroll { overflow: visible; border: 0; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, caption, tbody, tbody tr, tbody th, tbody td { display: block; }
  caption { padding: .25rem 0; }
  tbody tr { border: 1px solid var(--line); border-radius: 6px; margin-bottom: .6rem; padding: .3rem 0; }
  tbody th { border: 0; padding: .2rem .75rem; }
  tbody td { display: flow-root; border: 0; padding: .2rem .75rem .2rem 8rem; }
  tbody td::before { content: attr(data-label); float: left; width: 6.75rem; margin-left: -7.25rem; color: var(--soft); white-space: normal; overflow-wrap: normal; font: .85rem/1.6 system-ui, sans-serif; text-align: left; }
  tbody td:empty { display: none; }
  td.number { text-align: left; } td.id, th .id, time, .zone { white-space: normal; } .wrap { min-width: 0; }
}
@media print { header, .skip, form { display: none; } .scroll { overflow: visible; } }
`;

export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#0b57a4" d="M1 1h14v14H1z"/><circle cx="8" cy="8" r="4" fill="none" stroke="#fff" stroke-width="2"/></svg>`;

/** Follows runs: adds lines as text, and never anything that could be markup. */
export const SCRIPT = `'use strict';
const list = document.getElementById('live');
if (list !== null) {
  const state = document.getElementById('live-state');
  const lines = new Map();
  const events = new EventSource('/events');
  events.onopen = () => {
    state.textContent = 'Connected: what happens from now on is shown here.';
    state.className = 'zone';
  };
  events.onerror = () => {
    state.textContent = events.readyState === EventSource.CLOSED
      ? 'Not connected, and not allowed to be: reload to sign in again.'
      : 'Not connected. Trying again; reload to see what is known.';
    state.className = 'note critical';
  };
  events.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.kind === 'queue-away' || event.kind === 'queue-back') {
      state.textContent = event.at.slice(11, 19) + ' UTC ' + event.text;
      state.className = event.kind === 'queue-away' ? 'note critical' : 'note';
      return;
    }
    let line = lines.get(event.id);
    if (line === undefined) {
      line = document.createElement('li');
      lines.set(event.id, line);
      list.prepend(line);
      while (list.children.length > 50) list.lastElementChild.remove();
    }
    line.textContent = event.at.slice(11, 19) + ' UTC ' + event.cluster + ' ' + event.job + ': ' + event.text;
  };
}
`;
