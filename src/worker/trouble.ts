/** What there is to tell of the worker itself, and of destinations that it cannot read. Pure. */
import type { StrongroomError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { NotifyEvent } from '../notify/event.ts';
import { JOB_NAMES, type JobName } from '../run/job.ts';

/** Redis is away since `since` because of `why`; null = it is there. */
export function queueAway(why: StrongroomError | null, since: Date, at: Date): NotifyEvent {
  const key = 'worker/queue';
  if (why === null) return resolved(key, null, 'Redis is there again', 'The worker takes jobs.', at);
  const age = formatDuration(at.getTime() - since.getTime());
  const text = `Away for ${age}: nothing is scheduled until it is back. What is missed meanwhile is made up for then.`;
  return opened(key, null, 'critical', 'the worker does not reach Redis', text, why, at);
}

/** `error` = why the changed config file is refused; null = it is good. */
export function configRefused(error: StrongroomError | null, at: Date): NotifyEvent {
  const key = 'worker/config';
  if (error === null) return resolved(key, null, 'the config file is good', 'It is in force.', at);
  const title = 'the changed config file is refused';
  return opened(key, null, 'warning', title, 'The one before stays in force, until the next restart.', error, at);
}

/** No destination of `cluster` can be read. */
export function blind(cluster: string, error: StrongroomError, at: Date): NotifyEvent {
  const title = 'the destinations cannot be read';
  const text = 'It is not known whether a run was missed.';
  return opened(`${cluster}/destinations`, cluster, 'critical', title, text, error, at);
}

/** The end of {@link blind}. */
export function sighted(cluster: string, at: Date): NotifyEvent {
  const title = 'the destinations can be read again';
  return resolved(`${cluster}/destinations`, cluster, title, 'They were looked at.', at);
}

/** Whose problem it is, where it is one of a cluster's runs or destinations; `job` null = of the cluster as a whole. */
export function isAboutRuns({ key, cluster }: NotifyEvent): { cluster: string; job: JobName | null } | null {
  if (cluster === null || !key.startsWith(`${cluster}/`)) return null;
  const rest = key.slice(cluster.length + 1).replace(/\/missed$/, '');
  if (rest === 'destinations') return { cluster, job: null };
  const job = JOB_NAMES.find((name) => name === rest);
  return job === undefined ? null : { cluster, job };
}

function opened(
  key: string,
  cluster: string | null,
  severity: NotifyEvent['severity'],
  title: string,
  text: string,
  error: StrongroomError,
  at: Date,
): NotifyEvent {
  const lines = [text, error.message, ...(error.hint === undefined ? [] : [error.hint])];
  return { key, cluster, state: 'open', severity, title, text: lines.join('\n'), at, fields: { code: error.code } };
}

function resolved(key: string, cluster: string | null, title: string, text: string, at: Date): NotifyEvent {
  return { key, cluster, state: 'resolved', severity: 'info', title, text, at, fields: {} };
}
