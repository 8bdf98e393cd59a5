/** One run of one job, whichever door it came through: the work, and a signed record of how it ended. */
import { hostname } from 'node:os';
import type { App } from '../app.ts';
import type { RunRecord } from '../catalogue/record-types.ts';
import { isError } from '../core/errors.ts';
import { type ClusterName, newRunId, type RunId } from '../core/ids.ts';
import { systemClock } from '../core/units.ts';
import { TOOL_VERSION } from '../version.ts';
import type { Job, JobOutcome, Request } from './job.ts';
import { withinRun } from './within-run.ts';

/** A run that was stopped still says so: for so long, in milliseconds. */
const LAST_WORDS_MS = 5_000;

/** A record that is too large is refused by whoever reads it, and the run would be one that nobody ever made. */
const MAX_TEXT = 1_000;
const MAX_LINES = 50;

export type Ran = JobOutcome & {
  run: RunId;
  /** destinations that hold the record of this run; empty = nobody will know of it from there */
  recordedIn: readonly string[];
};

/**
 * Runs `job` and records how it ended. Rejects with what the job rejects with; that is recorded too, but for E_LOCKED:
 * then another run is at work, and it will speak for itself. A record that cannot be written is logged: it changes
 * nothing of what was done, and is no reason to call it failed.
 */
export async function runJob(
  job: Job,
  app: App,
  cluster: ClusterName,
  request: Request,
  signal: AbortSignal,
): Promise<Ran> {
  const startedAt = systemClock.now();
  const run = newRunId(startedAt);
  const frame = { cluster, job: job.name, run, door: request.door };
  return await withinRun(
    app,
    frame,
    () => runRecorded(job, app, cluster, request, { run, startedAt }, signal),
    ({ missing }) => (missing.length === 0 ? 'done' : 'partly'),
  );
}

async function runRecorded(
  job: Job,
  app: App,
  cluster: ClusterName,
  request: Request,
  { run, startedAt }: { run: RunId; startedAt: Date },
  signal: AbortSignal,
): Promise<Ran> {
  const began = performance.now();
  const known = {
    schema: '1',
    cluster,
    run,
    job: job.name,
    door: request.door,
    ...(request.askedBy === undefined ? {} : { askedBy: request.askedBy }),
    dueAt: request.dueAt?.toISOString() ?? null,
    startedAt: startedAt.toISOString(),
    host: hostname(),
    tool: TOOL_VERSION,
  } as const;
  try {
    const outcome = await job.run(app, cluster, run, signal);
    const recordedIn = await record(app, cluster, {
      ...known,
      endedAt: systemClock.now().toISOString(),
      outcome: outcome.missing.length === 0 ? 'done' : 'partly',
      error: null,
      missing: shortList(outcome.missing),
      snapshot: outcome.snapshot ?? null,
      timings: { total: performance.now() - began, ...outcome.timings },
    });
    return { ...outcome, run, recordedIn };
  } catch (e) {
    if (!isError(e, 'E_LOCKED')) {
      await record(app, cluster, {
        ...known,
        endedAt: systemClock.now().toISOString(),
        outcome: 'failed',
        error: failureOf(e),
        ...(request.hasMoreTries === true && isError(e) && e.retryable ? { willRetry: true } : {}),
        missing: [],
        snapshot: null,
        timings: { total: performance.now() - began },
      });
    }
    throw e;
  }
}

function failureOf(e: unknown): RunRecord['error'] {
  if (!isError(e)) return { code: 'E_BUG', message: shortText(e instanceof Error ? e.message : String(e)) };
  return {
    code: e.code,
    message: shortText(e.message),
    ...(e.hint === undefined ? {} : { hint: shortText(e.hint) }),
  };
}

function shortText(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)} …`;
}

function shortList(lines: readonly string[]): string[] {
  const shown = lines.slice(0, MAX_LINES).map(shortText);
  return lines.length <= MAX_LINES ? shown : [...shown, `and ${lines.length - MAX_LINES} more`];
}

async function record(app: App, cluster: ClusterName, record: RunRecord): Promise<readonly string[]> {
  try {
    const records = await app.records(cluster, AbortSignal.timeout(LAST_WORDS_MS));
    const { stored, failures } = await records.writeRun(record, AbortSignal.timeout(LAST_WORDS_MS));
    for (const { store, error } of failures) {
      app.log.warn({ cluster, store, run: record.run, err: error.toJSON() }, 'the record of a run was not stored');
    }
    return stored;
  } catch (e) {
    const err = isError(e) ? e.toJSON() : String(e);
    app.log.error({ cluster, run: record.run, job: record.job, err }, 'the record of a run was stored nowhere');
    return [];
  }
}
