/** A report as one page of Markdown. Pure. */
import { formatBytes, formatDuration } from '../core/units.ts';
import type { Report, Size } from './report.ts';

/** Rows of what may be long; the JSON has them all. */
const MAX_ROWS = 10;
/** Words of one cell. */
const MAX_CELL = 160;

/** Lines; the title first, then the numbers that matter most. */
export function reportLines(report: Report): string[] {
  const until = report.isOver ? '' : `, up to ${minute(report.to)}`;
  return [
    `# ${report.cluster}: ${report.month}${until}`,
    '',
    ...headline(report),
    ...lackLines(report),
    ...section(
      'Runs',
      table(
        ['job', 'kept every promise', 'in part', 'failed'],
        report.jobs.map((job) => [job.job, job.done, job.partly, job.failed]),
      ),
      'No job ran.',
    ),
    ...section(
      'What failed',
      table(
        ['times', 'job', 'code', 'last', 'message'],
        report.failures.map((f) => [f.count, f.job, f.code, minute(f.last), f.message]),
      ),
      'Nothing.',
    ),
    ...section(
      'Bad copies',
      table(
        ['snapshot', 'destination', 'found'],
        report.copies.bad.map((copy) => [copy.snapshot, copy.destination, minute(copy.at)]),
      ),
      'None.',
    ),
    ...section(
      'Held',
      table(
        ['snapshot', 'by', 'until', 'why'],
        report.holds.map((hold) => [
          hold.snapshot,
          hold.who,
          hold.until === null ? 'released' : minute(hold.until),
          hold.why,
        ]),
      ),
      'Nothing.',
    ),
    ...section(
      'Due next',
      report.next.map(({ job, due }) => `- ${job}: ${minute(due)}`),
      'Nothing is scheduled.',
    ),
  ];
}

function headline({ backups, backupSuccess, longestGap, age, sizes, copies, isOver }: Report): string[] {
  const success =
    backupSuccess === null ? 'no backup ran' : `${percent(backupSuccess)} of the backup runs kept every promise`;
  const gap =
    longestGap === null
      ? 'there is none'
      : `${formatDuration(longestGap.ms)}, from ${minute(longestGap.from)} to ${minute(longestGap.to)}`;
  return [
    `- **Good backups:** ${backups}; ${success}`,
    `- **Longest time without a good backup** (measured RPO): ${gap}`,
    `- **Age of the newest one** ${isOver ? 'at the end of the month' : 'now'}: ${age === null ? 'there is none' : formatDuration(age)}`,
    `- **Size:** ${size(sizes.start)} at the start, ${size(sizes.end)} at the end`,
    `- **Copies now:** ${copies.proven} proven by reading, ${copies.unproven} not read again since they were stored, ${copies.bad.length} bad`,
  ];
}

function lackLines({ lacks }: Report): string[] {
  if (lacks.length === 0) return [];
  const more = lacks.length > MAX_ROWS ? [`> - and ${lacks.length - MAX_ROWS} more`] : [];
  return [
    '',
    '> This report is not complete:',
    ...lacks.slice(0, MAX_ROWS).map((lack) => `> - ${cell(lack)}`),
    ...more,
  ];
}

function section(title: string, lines: readonly string[], none: string): string[] {
  return ['', `## ${title}`, '', ...(lines.length === 0 ? [none] : lines)];
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly (string | number)[]): string => `| ${cells.map(cell).join(' | ')} |`;
  const more = rows.length > MAX_ROWS ? ['', `and ${rows.length - MAX_ROWS} more`] : [];
  return [line(head), line(head.map(() => '---')), ...rows.slice(0, MAX_ROWS).map(line), ...more];
}

/** What somebody else wrote must not end the table, nor the line. */
function cell(value: string | number): string {
  const text = String(value).replaceAll(/\s+/g, ' ').replaceAll('|', String.raw`\|`);
  return text.length <= MAX_CELL ? text : `${text.slice(0, MAX_CELL)} …`;
}

function size(value: Size | null): string {
  return value === null ? 'unknown' : `${formatBytes(value.bytes)} (${value.records} records)`;
}

function percent(share: number): string {
  // Never rounded up to all of them.
  return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}

/** 2026-11-22 01:30Z */
function minute(time: string): string {
  return `${time.slice(0, 10)} ${time.slice(11, 16)}Z`;
}
