/** The sinks for a process that makes one run and ends, such as a CronJob. */
import type { App } from '../app.ts';
import type { RunRecord } from '../catalogue/record-types.ts';
import { isError } from '../core/errors.ts';
import { systemClock } from '../core/units.ts';
import { logObserver, startNotifier } from '../notifications.ts';
import type { Notifier } from '../notify/notifier.ts';
import { badRunsBefore, isLastWord } from './history.ts';
import type { RunEnd } from './run-notice.ts';
import { tellRun } from './tell-run.ts';

/** What was before the run is worth so long a wait, in milliseconds. */
const BEFORE_MS = 5_000;
/** A sink that does not take it by then is left; the next run tells what is still open. */
const DELIVERY_MS = 10_000;

/**
 * Tells the sinks of the config how a run ended that began at `begun`, and waits until they took it, for 15 s in all; a
 * run of somebody else is told only where its record says that it kept every promise, and no later one was bad. Never rejects: what goes wrong is
 * logged, and changes nothing of the run.
 */
export async function tellOnce(app: App, end: RunEnd, begun: Date, isByOther = false): Promise<void> {
  const { config, log } = app;
  if (Object.keys(config.notifications.sinks).length === 0) return;
  try {
    const soon = AbortSignal.timeout(BEFORE_MS);
    const bad = await readBefore(app, end, begun, soon);
    if (isByOther && !(await isWhole(app, end, soon))) return;
    const signal = AbortSignal.timeout(DELIVERY_MS);
    const wiring = { clock: systemClock, observer: logObserver(log), restore: () => Promise.resolve([]) };
    await using notifier = await startNotifier(config, wiring, signal);
    tellRun(notifier, end, { bad, isByOther, isFirstGood: true });
    await flush(notifier, signal);
  } catch (e) {
    log.error({ cluster: end.cluster, job: end.job, err: said(e) }, 'the end of a run could not be told');
  }
}

async function readBefore(
  app: App,
  end: RunEnd,
  begun: Date,
  signal: AbortSignal,
): Promise<readonly RunRecord[] | null> {
  try {
    const records = await app.records(end.cluster, signal, { isReadOnly: true });
    return await badRunsBefore(records, { job: end.job, before: begun, dueAt: null }, signal);
  } catch (e) {
    app.log.warn({ cluster: end.cluster, job: end.job, err: said(e) }, 'the runs before this one cannot be read');
    return null;
  }
}

async function isWhole(app: App, { cluster, job, run }: RunEnd, signal: AbortSignal): Promise<boolean> {
  if (run === null) return false;
  const records = await app.records(cluster, signal, { isReadOnly: true });
  return await isLastWord(records, { job, run, now: systemClock.now() }, signal);
}

/** What a dead sink makes the others be told of comes while they are flushed. Late ones are in the observer's hands. */
async function flush(notifier: Notifier, signal: AbortSignal): Promise<void> {
  while (Object.values(notifier.waiting()).some((count) => count > 0)) {
    try {
      await notifier.flush(signal);
    } catch {
      return;
    }
  }
}

function said(e: unknown): unknown {
  return isError(e) ? e.toJSON() : String(e);
}
