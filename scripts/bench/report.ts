/** Many runs into one row each, and the rows into a table. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { formatBytes } from '../../src/core/units.ts';

/** What is measured: the bare download, or a backup to two destinations of a kind. */
export type Subject = 'download' | 'directories' | 'buckets';

/** One process. Times in milliseconds. */
export type Run = {
  /** wanted state, in bytes */
  state: number;
  subject: Subject;
  round: number;
  /** of the archive as the server sent it */
  archiveBytes: number;
  wallMs: number;
  cpuMs: number;
  peakRssBytes: number;
  /** how long the server was kept busy with the snapshot: of a download, from the request to its last byte */
  holdMs: number;
  /** stages of a backup */
  timings: Record<string, number> | null;
  load: number;
};

export type Row = {
  state: number;
  subject: Subject;
  archiveBytes: number;
  rounds: number;
  wallMs: number;
  cpuMs: number;
  holdMs: number;
  /** the largest of all rounds */
  peakRssBytes: number;
  /** against the bare download of the same state, in the same rounds; medians of the rounds' own ratios */
  ratio: { wall: number; cpu: number; hold: number } | null;
};

/** Medians over the rounds: one disturbed round must not decide. */
export function summarise(runs: readonly Run[]): Row[] {
  const groups = Map.groupBy(runs, ({ state, subject }) => `${state} ${subject}`);
  return [...groups.values()].map((group): Row => {
    const [first] = group;
    if (first === undefined) throw new Error('an empty group');
    const pairs = group.flatMap((run) => {
      const bare = runs.find((r) => r.subject === 'download' && r.state === run.state && r.round === run.round);
      return bare === undefined || run.subject === 'download' ? [] : [{ run, bare }];
    });
    const ratioOf = (value: (run: Run) => number): number =>
      median(pairs.map(({ run, bare }) => value(run) / value(bare)));
    return {
      state: first.state,
      subject: first.subject,
      archiveBytes: first.archiveBytes,
      rounds: group.length,
      wallMs: median(group.map((run) => run.wallMs)),
      cpuMs: median(group.map((run) => run.cpuMs)),
      holdMs: median(group.map((run) => run.holdMs)),
      peakRssBytes: Math.max(...group.map((run) => run.peakRssBytes)),
      ratio:
        pairs.length === 0
          ? null
          : {
              wall: ratioOf((run) => run.wallMs),
              cpu: ratioOf((run) => run.cpuMs),
              hold: ratioOf((run) => run.holdMs),
            },
    };
  });
}

const COLUMNS: readonly (readonly [title: string, value: (row: Row) => string])[] = [
  ['state', ({ archiveBytes }) => formatBytes(archiveBytes)],
  ['what', ({ subject }) => (subject === 'download' ? 'bare download' : `backup, two ${subject}`)],
  ['wall', ({ wallMs }) => seconds(wallMs)],
  ['rate', ({ wallMs, archiveBytes }) => `${formatBytes(Math.round((archiveBytes / wallMs) * 1000))}/s`],
  ['CPU', ({ cpuMs }) => seconds(cpuMs)],
  ['peak RSS', ({ peakRssBytes }) => formatBytes(peakRssBytes)],
  ['server held', ({ holdMs }) => seconds(holdMs)],
  ['wall ratio', ({ ratio }) => ratio?.wall.toFixed(2) ?? ''],
  ['CPU ratio', ({ ratio }) => ratio?.cpu.toFixed(2) ?? ''],
  ['held ratio', ({ ratio }) => ratio?.hold.toFixed(2) ?? ''],
];

/** As a Markdown table, which is also readable as it is. */
export function renderTable(rows: readonly Row[]): string {
  const cells = [COLUMNS.map(([title]) => title), ...rows.map((row) => COLUMNS.map(([, value]) => value(row)))];
  const widths = COLUMNS.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  const lines = cells.map((line) => `| ${line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`);
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [lines[0], rule, ...lines.slice(1)].join('\n');
}

export type Machine = {
  processors: number;
  model: string;
  hasShaInstructions: boolean;
  memoryBytes: number;
  node: string;
};

/** What the numbers depend on. */
export function machine(): Machine {
  let flags = '';
  try {
    flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  } catch {
    // Only Linux tells.
  }
  return {
    processors: availableParallelism(),
    model: cpus()[0]?.model ?? 'unknown',
    hasShaInstructions: /\bsha_ni\b/.test(flags),
    memoryBytes: totalmem(),
    node: process.versions.node,
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
