/** One run of a job and the record of it: whatever becomes of the run, somebody can read it later. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { App } from '../../../src/app.ts';
import type { RunRecord } from '../../../src/catalogue/record-types.ts';
import { StrongroomError } from '../../../src/core/errors.ts';
import { newSnapshotId } from '../../../src/core/ids.ts';
import type { Job, JobOutcome, Request } from '../../../src/run/job.ts';
import { runJob } from '../../../src/run/run-job.ts';
import { Shelf } from '../../support/shelf.ts';
import { openApp } from '../../support/strongroom-app.ts';

const never = new AbortController().signal;
const DUE = new Date('2027-01-01T06:00:00Z');

let shelf: Shelf;
let app: App;
beforeEach(async () => {
  shelf = await Shelf.open({ a: { type: 'directory', path: 'a' }, b: { type: 'directory', path: 'b' } });
  app = await openApp(shelf.app);
});
afterEach(async () => {
  await app?.[Symbol.asyncDispose]();
  await shelf?.[Symbol.asyncDispose]();
});

const jobOf = (run: Job['run']): Job => ({ name: 'verify', summary: 'a trial', run });
const ends = (change: Partial<JobOutcome> = {}): Job =>
  jobOf(() => Promise.resolve({ summary: ['done'], result: { n: 1 }, missing: [], ...change }));

async function recorded(): Promise<RunRecord[]> {
  const records = await app.records(shelf.world.name, never);
  const { names } = await records.runs(new Date(0), never);
  return await Promise.all(names.map((name) => records.readRun(name, never)));
}

const start = async (job: Job, signal = never, more: Partial<Request> = {}) =>
  await runJob(job, app, shelf.deps.cluster, { door: 'schedule', dueAt: DUE, ...more }, signal);

it('a run that keeps every promise is done, in both destinations, under the id that the job was given', async () => {
  const snapshot = newSnapshotId(new Date());
  let given = '';
  const ran = await start(
    jobOf((_app, cluster, run) => {
      given = `${cluster} ${run}`;
      return Promise.resolve({ summary: ['s'], result: 7, missing: [], snapshot, timings: { upload: 5 } });
    }),
  );
  expect(ran).toMatchObject({ result: 7, summary: ['s'], recordedIn: ['a', 'b'] });
  expect(given).toBe(`${shelf.deps.cluster} ${ran.run}`);
  const [record] = await recorded();
  expect(record).toMatchObject({
    run: ran.run,
    job: 'verify',
    door: 'schedule',
    dueAt: DUE.toISOString(),
    outcome: 'done',
    error: null,
    missing: [],
    snapshot,
    timings: { upload: 5, total: expect.any(Number) as number },
  });
});

it('a promise that is not kept makes it partly', async () => {
  await start(ends({ missing: ['copy in b'] }));
  expect(await recorded()).toMatchObject([{ outcome: 'partly', missing: ['copy in b'], error: null }]);
});

it('a failure is recorded with its words, and passed on as it is', async () => {
  const e = new StrongroomError('E_STORE_FULL', 'no room', { hint: 'make some', cause: new Error('a secret') });
  await expect(start(jobOf(() => Promise.reject(e)))).rejects.toBe(e);
  const [record] = await recorded();
  expect(record).toMatchObject({
    outcome: 'failed',
    error: { code: 'E_STORE_FULL', message: 'no room', hint: 'make some' },
  });
  expect(JSON.stringify(record)).not.toContain('a secret');
});

it.each([
  ['E_STORE_UNREACHABLE', true, true],
  ['E_STORE_UNREACHABLE', false, undefined],
  ['E_STORE_FULL', true, undefined],
] as const)(
  '%s, with more tries to follow: %s; recorded as one that is tried again: %s',
  async (code, hasMoreTries, said) => {
    const e = new StrongroomError(code, 'in vain');
    await expect(
      start(
        jobOf(() => Promise.reject(e)),
        never,
        { hasMoreTries },
      ),
    ).rejects.toBe(e);
    expect((await recorded()).map(({ willRetry }) => willRetry)).toEqual([said]);
  },
);

it('a defect is one', async () => {
  await expect(start(jobOf(() => Promise.reject(new TypeError('undefined is no function'))))).rejects.toThrow(
    TypeError,
  );
  expect(await recorded()).toMatchObject([{ outcome: 'failed', error: { code: 'E_BUG' } }]);
});

it('a run that was stopped still says so', async () => {
  const stop = new AbortController();
  const reason = new StrongroomError('E_INTERRUPTED', 'stopped by SIGTERM');
  const running = start(
    jobOf((_app, _cluster, _run, signal) => {
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      stop.abort(reason);
      return promise;
    }),
    stop.signal,
  );
  await expect(running).rejects.toBe(reason);
  expect(await recorded()).toMatchObject([{ outcome: 'failed', error: { code: 'E_INTERRUPTED' } }]);
});

it('one that found another run at work is no run', async () => {
  await expect(start(jobOf(() => Promise.reject(new StrongroomError('E_LOCKED', 'held'))))).rejects.toMatchObject({
    code: 'E_LOCKED',
  });
  expect(await recorded()).toEqual([]);
});

it('what is recorded nowhere was done all the same, and how many know of it is told', async () => {
  await rm(join(shelf.world.directory, 'a'), { recursive: true });
  await writeFile(join(shelf.world.directory, 'a'), 'no folder');
  expect(await start(ends())).toMatchObject({ recordedIn: ['b'] });
  await rm(join(shelf.world.directory, 'b'), { recursive: true });
  await writeFile(join(shelf.world.directory, 'b'), 'no folder');
  expect(await start(ends())).toMatchObject({ recordedIn: [], result: { n: 1 } });
  const e = new StrongroomError('E_STORE_FULL', 'no room');
  await expect(start(jobOf(() => Promise.reject(e)))).rejects.toBe(e);
});

it('ten thousand promises that are not kept still make a record that is read', async () => {
  const words = 'x'.repeat(5_000);
  await start(ends({ missing: Array.from({ length: 10_000 }, (_, i) => `${i} ${words}`) }));
  await expect(
    start(jobOf(() => Promise.reject(new StrongroomError('E_STORE_CHECKSUM', words.repeat(1000))))),
  ).rejects.toThrow();
  const [partly, failed] = await recorded();
  expect(partly?.missing).toHaveLength(51);
  expect(partly?.missing.at(-1)).toBe('and 9950 more');
  expect(failed?.error?.message.length).toBeLessThan(2_000);
});
