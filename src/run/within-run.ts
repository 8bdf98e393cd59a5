/** The frame of a run, whichever door it came through: its name in the log, and its trace. */
import type { App } from '../app.ts';
import type { RunRecord } from '../catalogue/record-types.ts';
import { isError } from '../core/errors.ts';
import { type Around, inScope, nameScope } from '../core/scope.ts';

export type RunFrame = {
  cluster: string;
  /** `backup`, `restore`, a job of jobs/ */
  job: string;
  run: string;
  door: RunRecord['door'];
};

/**
 * Does `work` as the run that `frame` names, and settles as it does. `outcomeOf` gives what the trace says of a run that
 * ended: `done` or `partly`.
 */
export async function withinRun<T>(
  app: Pick<App, 'log' | 'tracing'>,
  { cluster, job, run, door }: RunFrame,
  work: () => Promise<T>,
  outcomeOf: (result: T) => RunRecord['outcome'],
): Promise<T> {
  const tracing = await app.tracing();
  // The stages of a run, and how long each took.
  const around: Around = (stage, work) =>
    tracing.inSpan(stage, {}, async () => {
      const began = performance.now();
      try {
        return await work();
      } finally {
        app.log.debug({ ms: Math.round(performance.now() - began) }, 'stage ended');
      }
    });
  // What the door has to say afterwards is about this run, too.
  nameScope({ run });
  const attributes = { 'strongroom.cluster': cluster, 'strongroom.job': job, 'strongroom.run': run };
  return await tracing.inSpan(job, { ...attributes, 'strongroom.door': door }, async (span) => {
    const fields = { cluster, job, run, ...(span.traceId === null ? {} : { traceId: span.traceId }) };
    return await inScope(
      fields,
      async () => {
        app.log.debug({ door }, 'run begins');
        try {
          const result = await work();
          span.set({ 'strongroom.outcome': outcomeOf(result) });
          return result;
        } catch (e) {
          // Whoever waits its turn tries every few seconds: among the failed ones these would hide the others.
          span.set({ 'strongroom.outcome': isError(e, 'E_LOCKED') ? 'locked' : 'failed' });
          throw e;
        }
      },
      around,
    );
  });
}
