/** How the end of a run is told: by what real directories hold of the runs before it, over a real notifier. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunRecord } from '../../../src/catalogue/record-types.ts';
import { StrongroomError } from '../../../src/core/errors.ts';
import type { Notice } from '../../../src/notify/event.ts';
import type { Notifier } from '../../../src/notify/notifier.ts';
import type { Sink } from '../../../src/notify/sink.ts';
import { badRunsBefore, isLastWord, lastRun } from '../../../src/run/history.ts';
import type { RunEnd } from '../../../src/run/run-notice.ts';
import { tellRun } from '../../../src/run/tell-run.ts';
import { startTestNotifier } from '../../support/notices.ts';
import { PlainSnapshots } from '../../support/plain-snapshots.ts';

const never = new AbortController().signal;
const at = (hour: number): Date => new Date(Date.UTC(2027, 2, 10) + hour * 3_600_000);
let on: PlainSnapshots;

beforeEach(async () => {
  on = await PlainSnapshots.create('a', 'b');
});
afterEach(() => on[Symbol.asyncDispose]());

async function record(hour: number, change: Partial<RunRecord> = {}): Promise<RunRecord> {
  const dueAt = at(hour).toISOString();
  const run = { ...on.run(at(hour), { job: 'backup', outcome: 'failed' }), dueAt, ...change };
  await (await on.records()).writeRun(run, never);
  return run;
}

async function before(hour: number, dueAt: Date | null = at(hour)): Promise<RunRecord[]> {
  return await badRunsBefore(await on.records(), { job: 'backup', before: at(hour), dueAt }, never);
}

describe('what was before', () => {
  it('is the row of bad runs back to the last good one, of this job and before this run', async () => {
    await record(1);
    await record(2, { outcome: 'done' });
    const first = await record(3, { outcome: 'partly' });
    const second = await record(4);
    await record(4, { job: 'verify', outcome: 'done' });
    await record(7);
    expect((await before(6)).map(({ run }) => run)).toEqual([second.run, first.run]);
    expect(await before(3)).toEqual([]);
    expect(await before(2)).toHaveLength(1);
  });

  it('does not count earlier tries for the same due time: those were told nobody', async () => {
    const dueAt = at(5).toISOString();
    await record(5, { dueAt });
    await record(5.1, { dueAt });
    expect(await before(6, at(5))).toEqual([]);
    expect(await before(6, at(6))).toHaveLength(2);
    await record(5.2, { dueAt: at(4).toISOString() });
    expect(await before(6, at(5))).toHaveLength(1);
  });

  it('is found a month later, where the job runs once a month', async () => {
    const run = await record(-24 * 30);
    expect((await before(6)).map((one) => one.run)).toEqual([run.run]);
  });

  it('a good run is the last word only while no later one was bad, and never without a record', async () => {
    const good = await record(1, { outcome: 'done' });
    const records = await on.records();
    const isLast = (run: string) => isLastWord(records, { job: 'backup', run, now: at(9) }, never);
    expect(await isLast(good.run)).toBe(true);
    expect(await isLast(on.run(at(3), {}).run)).toBe(false);
    const bad = await record(2, { outcome: 'partly' });
    expect(await Promise.all([good.run, bad.run].map(isLast))).toEqual([false, false]);
    expect((await lastRun(records, 'backup', at(9), never))?.run).toBe(bad.run);
    expect(await lastRun(records, 'prune', at(9), never)).toBeNull();
  });
});

/** Takes what it is sent. */
class Ear implements Sink {
  readonly type = 'ear';
  readonly heard: string[] = [];
  readonly name: string;
  readonly holdsIncidents: boolean;
  constructor(name: string, holdsIncidents: boolean) {
    this.name = name;
    this.holdsIncidents = holdsIncidents;
  }
  async send(notices: readonly Notice[]): Promise<void> {
    this.heard.push(...notices.map(({ state, key, severity }) => `${state} ${key} ${severity}`));
  }
}

describe('the end of a run', () => {
  let chat: Ear;
  let pager: Ear;
  let notifier: Notifier;

  /** A process that knows nothing yet. */
  async function fresh(): Promise<void> {
    chat = new Ear('chat', false);
    pager = new Ear('pager', true);
    const all = { minSeverity: 'info', clusters: null } as const;
    ({ notifier } = await startTestNotifier({ sinks: [chat, pager].map((sink) => ({ ...all, sink })) }));
  }
  beforeEach(fresh);
  afterEach(() => notifier[Symbol.asyncDispose]());

  async function tell(
    hour: number,
    how: { outcome: 'done' | 'partly' } | { error: unknown },
    isFirstGood = false,
  ): Promise<void> {
    const named = { cluster: 'prod', job: 'backup', run: null, dueAt: at(hour), at: at(hour) } as const;
    const end: RunEnd =
      'error' in how ? { ...named, outcome: 'failed', ...how } : { ...named, ...how, missing: ['copy in b'] };
    tellRun(notifier, end, { bad: await before(hour), isFirstGood });
    await notifier.flush(AbortSignal.timeout(5_000));
  }

  const denied = { error: new StrongroomError('E_VAULT_DENIED', 'no') };

  it('opens once, goes on in another process, and is resolved by a third', async () => {
    await record(1, { outcome: 'done' });
    await record(2);
    await tell(2, denied);
    expect(chat.heard).toEqual(['open prod/backup critical']);
    await record(3);
    await tell(3, denied);
    expect(chat.heard).toHaveLength(1);
    await notifier[Symbol.asyncDispose]();
    await fresh();
    await record(4);
    await tell(4, denied);
    await record(5);
    await tell(5, denied);
    expect([chat.heard, pager.heard]).toEqual([['update prod/backup critical'], ['update prod/backup critical']]);
    await notifier[Symbol.asyncDispose]();
    await fresh();
    await tell(6, { outcome: 'done' });
    expect([chat.heard, pager.heard]).toEqual([['resolved prod/backup info'], ['resolved prod/backup info']]);
    expect(notifier.open()).toEqual([]);
  });

  it('that is good, after a good one, is told nobody; the first of a process closes what another one died over', async () => {
    await record(1, { outcome: 'done' });
    await tell(2, { outcome: 'done' });
    expect([chat.heard, pager.heard]).toEqual([[], []]);
    await tell(3, { outcome: 'done' }, true);
    expect([chat.heard, pager.heard]).toEqual([[], ['resolved prod/backup info']]);
  });

  it('is another problem when somebody else had a good run between', async () => {
    await tell(2, denied);
    await record(2);
    await record(3, { outcome: 'done' });
    await tell(4, denied);
    // Told as opened again, and not passed over as known; the pager goes on in the incident that it holds.
    expect(chat.heard).toEqual(['open prod/backup critical', 'open prod/backup critical']);
    expect(pager.heard).toEqual(chat.heard);
  });

  it('that kept not everything is open, too, and never a resolution', async () => {
    await record(1);
    await tell(2, { outcome: 'partly' }, true);
    expect(chat.heard).toEqual(['update prod/backup warning']);
    expect(notifier.isOpen('prod/backup')).toBe(true);
  });

  it('resolves a missed run whose making up failed in another process', async () => {
    await record(1, { door: 'catch-up' });
    await tell(2, { outcome: 'done' });
    expect(chat.heard.toSorted()).toEqual(['resolved prod/backup info', 'resolved prod/backup/missed info']);
  });

  it('does not hand the words of a foreign error to third parties', async () => {
    await tell(2, { error: new Error('password=hunter2') });
    const [open] = notifier.open();
    expect(open?.text).toContain('its log says more');
    expect(JSON.stringify(open)).not.toContain('hunter2');
  });
});
