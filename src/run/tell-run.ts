/**
 * Tells the sinks how a run ended. What was open before is not what this process remembers but what the signed records of
 * the runs before say: the process that told of it may be gone, and another one may have told of its end.
 */
import type { RunRecord } from '../catalogue/record-types.ts';
import type { Notifier } from '../notify/notifier.ts';
import { badRun, goodRun, madeUp, missedKeyOf, openBefore, type RunEnd, runKeyOf } from './run-notice.ts';

export type TellRun = {
  /** the bad runs right before, newest first; null = not known: then this process goes by what it told itself */
  bad: readonly RunRecord[] | null;
  /** somebody else did the work, and told the dead man's services */
  isByOther?: boolean;
  /** the first good run of the job in this process: whoever told of a problem before may have died over its end */
  isFirstGood: boolean;
};

/** Returns at once. One problem is opened once: where the records show it open already, this tells an update of it. */
export function tellRun(notifier: Notifier, end: RunEnd, { bad, isByOther = false, isFirstGood }: TellRun): void {
  const known = bad === null ? [] : openBefore(end.cluster, end.job, bad);
  const isKnownHere = notifier.isOpen(runKeyOf(end));
  notifier.know(known);
  if (end.outcome === 'done') {
    notifier.notify(madeUp(end));
    notifier.notify(goodRun(end));
    if (isFirstGood) notifier.endedElsewhere(goodRun(end));
  } else {
    // A good run of somebody else lies between: what is told now is another problem.
    if (isKnownHere && bad?.length === 0) notifier.endedElsewhere(goodRun(end));
    if (end.outcome === 'partly' && notifier.isOpen(missedKeyOf(end))) notifier.notify(madeUp(end));
    const isFirstWord = known.length > 0 && !isKnownHere;
    // Nobody knows whether those who were to be told were reached: an update is told to all of them.
    notifier.notify({ ...badRun(end, bad?.length ?? 0), ...(isFirstWord ? { state: 'update' } : {}) });
  }
  if (isByOther) return;
  const text = end.outcome === 'done' ? '' : badRun(end, bad?.length ?? 0).text;
  const { cluster, job, at } = end;
  notifier.ran({ cluster, job, at, text, isKept: end.outcome === 'done' });
}
