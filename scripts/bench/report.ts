/** Many runs into one row each, and the rows into tables. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { formatBytes } from '../../src/core/units.ts';
import { type Run, SUBJECTS, type Subject } from './subjects.ts';

/** Times in milliseconds; medians over the rounds, for one disturbed round must not decide. */
export type Row = {
  /** wanted state, in bytes */
  state: number;
  subject: Subject;
  archiveBytes: number;
  rounds: number;
  wallMs: number;
  cpuMs: number;
  heldMs: number | null;
  servingMs: number | null;
  /** the largest of all rounds */
  peakRssBytes: number;
  /** medians of the rounds' own ratios, against another subject of the same act, state and round */
  ratio: { toBare: Ratio | null; toScript: Ratio | null };
};

export type Ratio = { wall: number; cpu: number; held: number | null; serving: number | null };

export function summarise(runs: readonly Run[]): Row[] {
  const groups = Map.groupBy(runs, ({ state, subject }) => `${state} ${subject}`);
  const rows = [...groups.values()].map((group): Row => {
    const [first] = group;
    if (first === undefined) throw new Error('an empty group');
    return {
      state: first.state,
      subject: first.subject,
      archiveBytes: first.archiveBytes,
      rounds: group.length,
      wallMs: median(group.map((run) => run.wallMs)),
      cpuMs: median(group.map((run) => run.cpuMs)),
      heldMs: medianOrNull(group.map((run) => run.heldMs)),
      servingMs: medianOrNull(group.map((run) => run.servingMs)),
      peakRssBytes: Math.max(...group.map((run) => run.peakRssBytes)),
      ratio: { toBare: ratioTo('bare', group, runs), toScript: ratioTo('script', group, runs) },
    };
  });
  // Rounds change the order in which subjects run; the table keeps one.
  const order = Object.keys(SUBJECTS);
  return rows.toSorted((a, b) => a.state - b.state || order.indexOf(a.subject) - order.indexOf(b.subject));
}

function ratioTo(role: 'bare' | 'script', group: readonly Run[], runs: readonly Run[]): Ratio | null {
  const pairs = group.flatMap((run) => {
    const { act } = SUBJECTS[run.subject];
    const other = runs.find(
      ({ subject, state, round }) =>
        state === run.state &&
        round === run.round &&
        subject !== run.subject &&
        SUBJECTS[subject].act === act &&
        SUBJECTS[subject].role === role,
    );
    return other === undefined || SUBJECTS[run.subject].role === 'bare' ? [] : [{ run, other }];
  });
  if (pairs.length === 0) return null;
  const ratioOf = (value: (run: Run) => number): number =>
    median(pairs.map(({ run, other }) => value(run) / value(other)));
  const ratioOrNull = (value: (run: Run) => number | null): number | null => {
    const ratios = pairs.map(({ run, other }) => {
      const [a, b] = [value(run), value(other)];
      return a === null || b === null ? null : a / b;
    });
    return medianOrNull(ratios);
  };
  return {
    wall: ratioOf((run) => run.wallMs),
    cpu: ratioOf((run) => run.cpuMs),
    held: ratioOrNull((run) => run.heldMs),
    serving: ratioOrNull((run) => run.servingMs),
  };
}

/** Below that, the start of a process is most of its CPU. */
const MIN_FOR_RATE = 100 * 2 ** 20;

type Column = readonly [title: string, value: (row: Row) => string];

const COMMON: readonly Column[] = [
  ['state', ({ archiveBytes }) => formatBytes(archiveBytes)],
  ['what', ({ subject }) => SUBJECTS[subject].label],
  ['wall', ({ wallMs }) => seconds(wallMs)],
];
const USED: readonly Column[] = [
  ['CPU', ({ cpuMs }) => seconds(cpuMs)],
  [
    'CPU per GiB',
    ({ cpuMs, archiveBytes }) => seconds(archiveBytes < MIN_FOR_RATE ? null : (cpuMs / archiveBytes) * 2 ** 30),
  ],
  ['peak RSS', ({ peakRssBytes }) => formatBytes(peakRssBytes)],
];
const RATIOS: readonly Column[] = [
  ['wall ÷ bare', ({ ratio }) => times(ratio.toBare?.wall)],
  ['wall ÷ script', ({ ratio }) => times(ratio.toScript?.wall)],
  ['CPU ÷ script', ({ ratio }) => times(ratio.toScript?.cpu)],
];
const COLUMNS: Record<'backup' | 'restore', readonly Column[]> = {
  backup: [
    ...COMMON,
    ['rate', ({ wallMs, archiveBytes }) => `${formatBytes(Math.round((archiveBytes / wallMs) * 1000))}/s`],
    ['server held', ({ heldMs }) => seconds(heldMs)],
    ...USED,
    ['held ÷ bare', ({ ratio }) => times(ratio.toBare?.held)],
    ...RATIOS,
  ],
  restore: [
    ...COMMON,
    ['serving after', ({ servingMs }) => seconds(servingMs)],
    ...USED,
    ['serving ÷ bare', ({ ratio }) => times(ratio.toBare?.serving)],
    ...RATIOS,
  ],
};

/** As Markdown tables, which are also readable as they are; one for each act that was measured. */
export function renderTables(rows: readonly Row[]): string {
  const acts = ['backup', 'restore'] as const;
  const tables = acts.map((act) =>
    renderTable(
      COLUMNS[act],
      rows.filter(({ subject }) => SUBJECTS[subject].act === act),
    ),
  );
  return tables.filter((table) => table !== null).join('\n\n');
}

function renderTable(columns: readonly Column[], rows: readonly Row[]): string | null {
  if (rows.length === 0) return null;
  const cells = [columns.map(([title]) => title), ...rows.map((row) => columns.map(([, value]) => value(row)))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
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

function medianOrNull(values: readonly (number | null)[]): number | null {
  const there = values.filter((value) => value !== null);
  return there.length === 0 ? null : median(there);
}

export function seconds(ms: number | null): string {
  return ms === null ? '' : `${(ms / 1000).toFixed(2)} s`;
}

function times(ratio: number | null | undefined): string {
  return ratio?.toFixed(2) ?? '';
}
