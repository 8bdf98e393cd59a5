/** What there is to tell of a run: pure, so that every worker and every CronJob says the same of the same. */
import type { RunRecord } from '../catalogue/record-types.ts';
import { isError } from '../core/errors.ts';
import type { SavedNotice } from '../notify/book.ts';
import type { NotifyEvent, Severity } from '../notify/event.ts';
import type { JobName } from './job.ts';

/** How a run ended that will not be tried again. */
export type RunEnd = {
  cluster: string;
  job: JobName;
  /** null = not known here; its record says it */
  run: string | null;
  dueAt: Date | null;
  at: Date;
} & (
  | { outcome: 'done' | 'partly'; missing: readonly string[] }
  /** by whatever the job rejected with */
  | { outcome: 'failed'; error: unknown }
);

export function runKeyOf({ cluster, job }: { cluster: string; job: string }): string {
  return `${cluster}/${job}`;
}

export function missedKeyOf(of: { cluster: string; job: string }): string {
  return `${runKeyOf(of)}/missed`;
}

/** The event of a run that failed or did not keep every promise. `before` = bad runs right before it. */
export function badRun(end: RunEnd, before: number): NotifyEvent {
  const row = before === 0 ? '' : `It is the ${ordinal(before + 1)} in a row that did not keep its whole promise.`;
  return {
    ...base(end),
    state: 'open',
    severity: severityOf(end.job, end.outcome, codeOf(end)),
    title: end.outcome === 'failed' ? `the ${end.job} failed` : `the ${end.job} did not keep its whole promise`,
    text: [whatIsWrong(end), row, next(end)].filter((line) => line !== '').join('\n'),
    fields: fieldsOf(end),
  };
}

/** The end of all that {@link badRun} told. */
export function goodRun(end: Omit<RunEnd, 'outcome'>): NotifyEvent {
  return {
    ...base(end),
    state: 'resolved',
    severity: 'info',
    title: `the ${end.job} is good again`,
    text: 'The last run kept its whole promise.',
    fields: end.run === null ? {} : { run: end.run },
  };
}

export function missedRun(of: { cluster: string; job: JobName }, dueAt: Date, at: Date): NotifyEvent {
  const due = dueAt.toISOString();
  return {
    key: missedKeyOf(of),
    cluster: of.cluster,
    at,
    state: 'open',
    severity: 'warning',
    title: `a ${of.job} was missed; it is made up for now`,
    text: `Nobody ran the ${of.job} that was due at ${due}. Was every worker down, or the queue away?`,
    fields: { job: of.job, dueAt: due },
  };
}

/** The end of {@link missedRun}. */
export function madeUp(end: Omit<RunEnd, 'outcome'>): NotifyEvent {
  const text = 'What was missed is made up for.';
  return { ...goodRun(end), key: missedKeyOf(end), title: `a missed ${end.job} is made up for`, text };
}

/** What was open before a run, by the records of the bad runs before it, newest first. */
export function openBefore(cluster: string, job: JobName, bad: readonly RunRecord[]): SavedNotice[] {
  const [last] = bad;
  const first = bad.at(-1);
  if (last === undefined || first === undefined) return [];
  const at = last.endedAt;
  const fields = { run: last.run, job };
  const problem: SavedNotice = {
    key: runKeyOf({ cluster, job }),
    cluster,
    state: 'open',
    severity: severityOf(job, last.outcome, last.error?.code ?? null),
    title: last.outcome === 'failed' ? `the ${job} failed` : `the ${job} did not keep its whole promise`,
    text: last.error?.message ?? last.missing.join('\n'),
    at,
    openedAt: first.endedAt,
    fields,
  };
  const missed = bad.findLast(({ door, outcome }) => door === 'catch-up' && outcome === 'failed');
  if (missed?.dueAt === undefined || missed.dueAt === null) return [problem];
  const told = missedRun({ cluster, job }, new Date(missed.dueAt), new Date(missed.startedAt));
  return [problem, { ...told, at: missed.startedAt, openedAt: missed.startedAt }];
}

function base({ cluster, job, at }: Pick<RunEnd, 'cluster' | 'job' | 'at'>) {
  return { key: runKeyOf({ cluster, job }), cluster, at };
}

/** Without a backup, or with one that cannot be read, there is nothing to go back to; the rest can wait for the morning. */
function severityOf(job: JobName, outcome: RunRecord['outcome'], code: string | null): Severity {
  const isVital = job === 'backup' || job === 'verify';
  return outcome === 'failed' && isVital && code !== 'E_INTERRUPTED' ? 'critical' : 'warning';
}

function codeOf(end: RunEnd): string | null {
  if (end.outcome !== 'failed') return null;
  return isError(end.error) ? end.error.code : 'E_BUG';
}

function whatIsWrong(end: RunEnd): string {
  if (end.outcome !== 'failed') return `missing: ${end.missing.join('; ')}`;
  // The words of a foreign error may hold anything: they go to third parties.
  return isError(end.error) ? end.error.message : 'a defect of strongroom; its log says more';
}

function next(end: RunEnd): string {
  const hint = end.outcome === 'failed' && isError(end.error) ? end.error.hint : undefined;
  return hint ?? `then: strongroom job run ${end.job} --cluster ${end.cluster}`;
}

function fieldsOf(end: RunEnd): Record<string, string> {
  const code = codeOf(end);
  return {
    job: end.job,
    ...(end.run === null ? {} : { run: end.run }),
    ...(end.dueAt === null ? {} : { dueAt: end.dueAt.toISOString() }),
    ...(code === null ? {} : { code }),
  };
}

function ordinal(n: number): string {
  const tens = n % 100;
  const suffix = tens >= 11 && tens <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${suffix}`;
}
