import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import { ok } from '../../../src/doctor/finding.ts';
import { attempt, type Check, runChecks } from '../../../src/doctor/run-checks.ts';

const never = new AbortController().signal;
const good = (what: string): Check => ({ area: 'config', what, run: () => Promise.resolve([ok(what, 'good')]) });

describe('runChecks', () => {
  it('lets one that fails, one that is broken and one that hangs hide no other', async () => {
    const refused = new StrongroomError('E_STORE_DENIED', 'no', { hint: 'grant it' });
    const found = await runChecks(
      [
        { area: 'kms', what: 'fails', run: () => Promise.reject(refused) },
        { area: 'kms', what: 'broken', run: () => Promise.reject(new TypeError('x is not a function')) },
        { area: 'kms', what: 'hangs', limitMs: 20, run: (signal) => wait(60_000, [], { signal }) },
        good('good'),
      ],
      never,
    );
    expect(found).toEqual([
      { area: 'kms', what: 'fails', status: 'problem', detail: 'E_STORE_DENIED: no', fix: 'grant it' },
      expect.objectContaining({
        what: 'broken',
        status: 'problem',
        detail: 'a defect in this check: x is not a function',
      }),
      expect.objectContaining({ what: 'hangs', status: 'problem', detail: 'no answer within 20ms' }),
      { area: 'config', what: 'good', status: 'ok', detail: 'good', fix: null },
    ]);
  });

  it('waits for what a check that ran out of time still removes, and keeps what it says', async () => {
    const steps: string[] = [];
    const cleaning: Check = {
      area: 'destinations',
      what: 'bucket',
      limitMs: 20,
      run: async (signal) => {
        try {
          await wait(60_000, undefined, { signal });
          return [];
        } finally {
          await setImmediate();
          steps.push('removed');
        }
      },
    };
    await runChecks([cleaning], never);
    expect(steps).toEqual(['removed']);
  });

  it('runs more checks than it does at once, and rejects with the reason of an abort', async () => {
    const many = Array.from({ length: 40 }, (_, index) => good(String(index)));
    expect((await runChecks(many, never)).map(({ what }) => what)).toEqual(many.map(({ what }) => what));
    const reason = new StrongroomError('E_INTERRUPTED', 'stopped');
    const stop = new AbortController();
    const hanging: Check = { area: 'kms', what: 'hangs', run: (signal) => wait(60_000, [], { signal }) };
    const running = runChecks([hanging], stop.signal);
    stop.abort(reason);
    await expect(running).rejects.toBe(reason);
  });

  it('goes on with the next part of a check after one that fails', async () => {
    const refuse = () => Promise.reject(new StrongroomError('E_NOT_FOUND', 'gone'));
    expect(await attempt('part', never, refuse)).toMatchObject([{ what: 'part', status: 'problem' }]);
    expect(await attempt('part', never, () => Promise.resolve(ok('part', 'good')))).toHaveLength(1);
  });
});
