/** Sizes of snapshots as bars, oldest left. The table beside it says the same in words. */
import { formatBytes } from '../../core/units.ts';
import { type Html, html } from '../html.ts';
import type { SnapshotRow } from '../source.ts';

const WIDTH = 720;
const HEIGHT = 120;
const TOP = 18;

/** `rows` newest first. One whose manifest was not read is a dashed frame: its size is not known. */
export function sizeChart(rows: readonly SnapshotRow[]): Html {
  const largest = Math.max(1, ...rows.map(({ facts }) => facts?.bytes ?? 0));
  const step = WIDTH / Math.max(rows.length, 12);
  const room = HEIGHT - TOP - 2;
  const bars = rows.toReversed().map(({ facts, snapshot }, i) => {
    const height = facts === null ? room : Math.max(2, (facts.bytes / largest) * room);
    const kind = facts === null ? 'unread' : facts.purpose;
    const says = facts === null ? 'size unknown' : formatBytes(facts.bytes);
    const [x, y, width] = [i * step + 1, HEIGHT - 1 - height, Math.max(1, step - 2)].map((n) => n.toFixed(1));
    return html`<rect class="bar ${kind}" x="${x ?? ''}" y="${y ?? ''}" width="${width ?? ''}" height="${height.toFixed(1)}"><title>${snapshot}: ${says}</title></rect>`;
  });
  const summary = `Sizes of the ${rows.length} newest snapshots, oldest left; the largest has ${formatBytes(largest)}`;
  const legend = [
    rows.some(({ facts }) => facts?.purpose === 'safety') && ' In another colour: made before a restore.',
    rows.some(({ facts }) => facts === null) && ' Dashed: the manifest was not read.',
  ];
  return html`<figure><svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${summary}"><text x="0" y="11">${formatBytes(largest)}</text><line class="axis" x1="0" y1="${TOP}" x2="${WIDTH}" y2="${TOP}" /><line class="axis" x1="0" y1="${HEIGHT - 1}" x2="${WIDTH}" y2="${HEIGHT - 1}" />${bars}</svg><figcaption>${summary}.${legend}</figcaption></figure>`;
}
