import { describe, expect, it } from 'vitest';
import { newSnapshotId } from '../../../src/core/ids.ts';
import { url } from '../../../src/http/html.ts';
import { renderPage } from '../../../src/http/layout.ts';
import { overviewPage, overviewQuery } from '../../../src/http/pages/overview.ts';
import type { WatchedStatus } from '../../../src/observe/watch.ts';
import { cpuMsSince } from '../../support/cpu-time.ts';

const NOW = new Date('2027-03-10T12:00:00Z');
const HOUR = 3_600_000;

type State = 'red' | 'old' | 'amber' | 'green';

function watched(cluster: string, state: State): WatchedStatus {
  const at = new Date(NOW.getTime() - (state === 'old' ? 50 : 2) * HOUR);
  const facts = { bytes: 1, storedBytes: 1, records: 1, members: [], previous: null };
  const newest = state === 'red' ? null : { snapshot: newSnapshotId(at), at, finishedAt: at, ...facts };
  const proof = new Date(NOW.getTime() - (state === 'amber' ? 40 * 24 : 1) * HOUR);
  const status: WatchedStatus['status'] = {
    cluster,
    readAt: NOW,
    newest,
    newestWhole: newest,
    members: [],
    isWholeKnown: true,
    fromTheFuture: [],
    destinations: [
      { name: 'a', away: null, problems: [], newest, copiesMissing: 0, badCopies: 0, lastProofAt: proof, locks: null },
    ],
    jobs: {},
    recordsProblem: null,
  };
  return { status, since: NOW, limits: { maxAgeMs: 8 * HOUR, maxProofAgeMs: 7 * 24 * HOUR, maxStatusAgeMs: null } };
}

const render = (fleet: readonly WatchedStatus[], query: Record<string, string> = {}): string => {
  const page = overviewPage(fleet, () => 'Europe/Berlin', NOW, overviewQuery(query));
  const assets = { style: url`/s`, script: url`/j`, icon: url`/i` };
  return renderPage(page, { visitor: null, assets, now: NOW });
};
const named = (page: string): string[] =>
  [...page.matchAll(/<a href="\/clusters\/([^"]+)"/g)].map(([, name = '']) => name);

describe('the overview', () => {
  it('has the worst first, and before an old backup none at all', () => {
    const fleet = [
      watched('d', 'green'),
      watched('c', 'amber'),
      watched('b', 'old'),
      watched('a', 'red'),
      watched('z', 'red'),
    ];
    expect(named(render(fleet))).toEqual(['a', 'z', 'b', 'c', 'd']);
    expect(named(render(fleet.toReversed()))).toEqual(['a', 'z', 'b', 'c', 'd']);
  });

  it('of a thousand clusters is made in less than a second, and is of a bounded size', () => {
    const states = ['green', 'amber', 'red', 'old'] as const;
    const fleet = Array.from({ length: 1_000 }, (_, i) => watched(`cluster-${i}`, states[i % 4] ?? 'green'));
    const before = process.threadCpuUsage();
    const page = render(fleet);
    expect(cpuMsSince(before)).toBeLessThan(1_000);
    expect(Buffer.byteLength(page)).toBeLessThan(150_000);
    const all = Array.from({ length: 10 }, (_, i) => named(render(fleet, { page: String(i + 1) }))).flat();
    expect(new Set(all).size).toBe(1_000);
    expect(all.slice(0, 250).every((name) => Number(name.slice(8)) % 4 === 2)).toBe(true);
    expect(page).toContain('Clusters 1 to 100 of 1000, worst first');
    expect(page).toContain('href="/?state=&amp;name=&amp;page=2"');
    expect(page).not.toContain('rel="prev"');
  });

  it('shows what is looked for, counts all the same, and takes no nonsense', () => {
    const fleet = Array.from({ length: 40 }, (_, i) =>
      watched(i % 2 === 0 ? `eu-${i}` : `us-${i}`, i < 4 ? 'red' : 'green'),
    );
    expect(named(render(fleet, { state: 'critical' }))).toEqual(['eu-0', 'eu-2', 'us-1', 'us-3']);
    expect(named(render(fleet, { state: 'critical', name: 'us' }))).toEqual(['us-1', 'us-3']);
    expect(render(fleet, { state: 'critical', name: 'us' })).toContain('aria-label="Only ok, 36"');
    expect(named(render(fleet, { state: 'nothing', page: '-3' }))).toHaveLength(40);
    expect(named(render(fleet, { page: '999999' }))).toHaveLength(40);
    const none = render(fleet, { name: '"><script>' });
    expect(none).toContain('No cluster is like that.');
    expect(none).not.toContain('<script>');
  });

  it('has no filter for a few', () => {
    expect(render([watched('a', 'green')])).not.toContain('<form');
    expect(render([])).toContain('No cluster is configured.');
  });
});
