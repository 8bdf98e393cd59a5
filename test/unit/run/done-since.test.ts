/** Was it done? By what real directories hold, whoever did it. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StrongroomError } from '../../../src/core/errors.ts';
import type { RunId } from '../../../src/core/ids.ts';
import { generateSigningKey } from '../../../src/crypt/generate.ts';
import { localSigner } from '../../../src/crypt/sign.ts';
import { type Attempt, attemptSince } from '../../../src/run/done-since.ts';
import type { JobName } from '../../../src/run/job.ts';
import { runKey } from '../../../src/store/record-layout.ts';
import { PlainSnapshots } from '../../support/plain-snapshots.ts';

const never = new AbortController().signal;
const at = (hour: number, minute = 0): Date => new Date(Date.UTC(2027, 0, 2, hour, minute));

let on: PlainSnapshots;
beforeEach(async () => {
  on = await PlainSnapshots.create('a', 'b');
});
afterEach(() => on[Symbol.asyncDispose]());

const ask = async (job: JobName, since: Date): Promise<Attempt | null> =>
  await attemptSince({ catalogue: await on.catalogue(), records: await on.records() }, job, since, never);
const record = async (hour: number, change: Parameters<PlainSnapshots['run']>[1] = {}, minute = 0): Promise<string> => {
  const run = on.run(at(hour, minute), { job: 'verify', ...change });
  await (await on.records()).writeRun(run, never);
  return run.run;
};

describe('a backup', () => {
  it('is done when its manifest is there, with or without a record', async () => {
    expect(await ask('backup', at(6))).toBeNull();
    const { run } = await on.publish(at(6));
    expect(await ask('backup', at(6))).toEqual({ outcome: 'done', run, at: at(6) });
    expect(await ask('backup', at(6, 1))).toBeNull();
  });

  it('is not done by a safety snapshot, nor by a manifest that nobody trusts', async () => {
    await on.publish(at(6), (plain) => ({ ...plain, purpose: 'safety' }));
    expect(await ask('backup', at(6))).toBeNull();
    const { snapshot } = await on.publish(at(7));
    for (const name of ['a', 'b']) await writeFile(on.path(name, 'sigs', snapshot), 'nobody');
    expect(await ask('backup', at(6))).toBeNull();
  });

  it('that failed was tried', async () => {
    const run = await record(7, { job: 'backup', outcome: 'failed' });
    expect(await ask('backup', at(6))).toEqual({ outcome: 'failed', run, at: at(7) });
    await on.publish(at(6, 30));
    expect(await ask('backup', at(6))).toMatchObject({ outcome: 'done' });
  });

  it('that was stopped was not tried: somebody has to make it', async () => {
    const error = { code: 'E_INTERRUPTED', message: 'the worker was stopped' } as const;
    await record(7, { job: 'backup', outcome: 'failed', error });
    expect(await ask('backup', at(6))).toBeNull();
  });
});

describe('a try that was to be followed by another', () => {
  it('was none by itself: the next one may have been lost with the queue', async () => {
    await record(7, { outcome: 'failed', willRetry: true });
    expect(await ask('verify', at(6))).toBeNull();
    const last = await record(7, { outcome: 'failed' }, 1);
    expect(await ask('verify', at(6))).toMatchObject({ outcome: 'failed', run: last });
  });

  it('hides no earlier run that was the end of it', async () => {
    const run = await record(6, { outcome: 'failed' });
    await record(7, { outcome: 'failed', willRetry: true });
    expect(await ask('verify', at(6))).toMatchObject({ run });
  });
});

describe('any other job', () => {
  it('is done by a run that began since then, and by no other job', async () => {
    await record(5);
    await record(7, { job: 'replicate' });
    expect(await ask('verify', at(6))).toBeNull();
    const run = await record(6);
    expect(await ask('verify', at(6))).toEqual({ outcome: 'done', run, at: at(6) });
    expect(await ask('verify', at(6, 1))).toBeNull();
  });

  it('a good run counts before a failed one that came later, and of failed ones the newest', async () => {
    await record(6, { outcome: 'failed' });
    const second = await record(7, { outcome: 'failed' });
    expect(await ask('verify', at(6))).toMatchObject({ outcome: 'failed', run: second });
    const partly = await record(6, { outcome: 'partly' }, 30);
    expect(await ask('verify', at(6))).toMatchObject({ outcome: 'partly', run: partly });
    expect(await ask('verify', at(6, 45))).toMatchObject({ outcome: 'failed', run: second });
  });

  it('a record that nobody trusted signed is none', async () => {
    const stranger = await on.records(localSigner(generateSigningKey().privateKeyPem));
    await stranger.writeRun(on.run(at(7), { job: 'verify' }), never);
    expect(await ask('verify', at(6))).toBeNull();
    const run = await record(6);
    expect(await ask('verify', at(6))).toMatchObject({ run });
  });

  it('a record that is listed and cannot be read now is no reason to do it again: that is said', async () => {
    await record(7);
    const records = await on.records();
    const e = new StrongroomError('E_STORE_UNREACHABLE', 'it went away between two questions');
    records.readRun = () => Promise.reject(e);
    await expect(attemptSince({ catalogue: await on.catalogue(), records }, 'verify', at(6), never)).rejects.toBe(e);
  });

  it('is known as long as one destination is there', async () => {
    const run = await record(7);
    await rm(join(on.root, 'a'), { recursive: true });
    await writeFile(join(on.root, 'a'), 'no folder');
    expect(await ask('verify', at(6))).toMatchObject({ run });
    await rm(join(on.root, 'b', runKey(on.cluster, run as RunId, 'verify')));
    expect(await ask('verify', at(6))).toBeNull();
    await rm(join(on.root, 'b'), { recursive: true });
    await expect(ask('verify', at(6))).rejects.toMatchObject({ code: expect.stringMatching(/^E_STORE_/) as string });
  });
});
