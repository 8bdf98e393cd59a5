/** The frame of a run: what the log and the trace say of it, however it ends. */
import { expect, it } from 'vitest';
import { type ErrorCode, StrongroomError } from '../../../src/core/errors.ts';
import { createLog } from '../../../src/core/log.ts';
import { inScope, inStage } from '../../../src/core/scope.ts';
import { withinRun } from '../../../src/run/within-run.ts';
import type { SpanAttributes, Tracing } from '../../../src/trace/tracing.ts';
import { untraced } from '../../../src/trace/tracing.ts';

const FRAME = { cluster: 'prod', job: 'verify', run: '01RUN', door: 'schedule' } as const;

function recorder() {
  const spans: { name: string; attributes: SpanAttributes }[] = [];
  const lines: string[] = [];
  const tracing: Tracing = {
    ...untraced,
    inSpan: async (name, attributes, work) => {
      const span = { name, attributes };
      spans.push(span);
      const set = (more: SpanAttributes): void => {
        span.attributes = { ...span.attributes, ...more };
      };
      return await work({ traceId: 'abc', set });
    },
  };
  const log = createLog('debug', { write: (line: string) => void lines.push(line) });
  const said = (): Record<string, unknown>[] => lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return { app: { log, tracing: () => Promise.resolve(tracing) }, spans, said };
}

it('puts the stages below the run, and names it in every line, also in that of its door afterwards', async () => {
  const { app, spans, said } = recorder();
  await inScope({ cluster: 'prod', job: 'verify' }, async () => {
    const stages = async (): Promise<number> => await inStage('verify a', () => Promise.resolve(7));
    expect(await withinRun(app, FRAME, stages, (n) => (n === 7 ? 'partly' : 'done'))).toBe(7);
    app.log.info('told by the door');
  });
  expect(spans).toEqual([
    {
      name: 'verify',
      attributes: {
        'strongroom.cluster': 'prod',
        'strongroom.job': 'verify',
        'strongroom.run': '01RUN',
        'strongroom.door': 'schedule',
        'strongroom.outcome': 'partly',
      },
    },
    { name: 'verify a', attributes: {} },
  ]);
  expect(said().map(({ msg, stage, traceId }) => [msg, stage, traceId])).toEqual([
    ['run begins', undefined, 'abc'],
    ['stage ended', 'verify a', 'abc'],
    ['told by the door', undefined, undefined],
  ]);
  for (const line of said()) expect(line).toMatchObject({ cluster: 'prod', job: 'verify', run: '01RUN' });
});

it.each<[ErrorCode, string]>([
  ['E_STORE_FULL', 'failed'],
  ['E_LOCKED', 'locked'],
])('a run that ends with %s is %s, and passes it on', async (code, outcome) => {
  const { app, spans } = recorder();
  const e = new StrongroomError(code, 'no');
  await expect(
    withinRun(
      app,
      FRAME,
      () => Promise.reject(e),
      () => 'done',
    ),
  ).rejects.toBe(e);
  expect(spans[0]?.attributes['strongroom.outcome']).toBe(outcome);
});
