/** The month from facts, by table; and its page. */
import { describe, expect, it } from 'vitest';
import type { RunRecord } from '../../../src/catalogue/record-types.ts';
import type { SnapshotId } from '../../../src/core/ids.ts';
import type { BackupFact, MonthFacts } from '../../../src/report/facts.ts';
import { reportLines } from '../../../src/report/markdown.ts';
import { monthOf } from '../../../src/report/month.ts';
import { composeReport } from '../../../src/report/report.ts';

const HOUR = 3_600_000;
const FROM = new Date('2026-11-01T00:00:00Z');
const at = (hour: number): Date => new Date(FROM.getTime() + hour * HOUR);

const backup = (hour: number, bytes: number | null = 100): BackupFact => ({
  snapshot: `S${hour}` as SnapshotId,
  at: at(hour),
  bytes,
  records: bytes,
});

function run(job: string, hour: number, outcome: RunRecord['outcome'], code = 'E_VAULT_SEALED'): RunRecord {
  const time = at(hour).toISOString();
  return {
    schema: '1',
    cluster: 'prod',
    run: 'R',
    job,
    door: 'schedule',
    dueAt: time,
    startedAt: time,
    endedAt: time,
    outcome,
    error: outcome === 'failed' ? { code, message: `words of ${code}` } : null,
    missing: outcome === 'partly' ? ['copy in b'] : [],
    snapshot: null,
    timings: {},
    host: 'h',
    tool: '0',
  };
}

function factsOf(change: Partial<MonthFacts>): MonthFacts {
  const month = monthOf(new Date('2026-12-01T00:00:00Z'));
  return {
    cluster: 'prod',
    month,
    now: new Date('2026-12-01T00:00:00Z'),
    runs: [],
    backups: [],
    copies: [],
    holds: [],
    lacks: [],
    ...change,
  };
}

describe('which month', () => {
  it.each([
    ['2026-12-01T00:00:00Z', '2026-11', '2026-12-01T00:00:00.000Z', true],
    ['2026-12-03T23:59:59Z', '2026-11', '2026-12-01T00:00:00.000Z', true],
    ['2026-12-04T00:00:00Z', '2026-12', '2026-12-04T00:00:00.000Z', false],
    ['2027-01-02T05:00:00Z', '2026-12', '2027-01-01T00:00:00.000Z', true],
    ['2028-03-01T00:00:00Z', '2028-02', '2028-03-01T00:00:00.000Z', true],
    ['2026-11-30T23:00:00Z', '2026-11', '2026-11-30T23:00:00.000Z', false],
  ])('on %s it is %s', (now, name, to, isOver) => {
    const month = monthOf(new Date(now));
    expect(month).toEqual({ name, from: new Date(`${name}-01T00:00:00Z`), to: new Date(to), isOver });
  });
});

describe('the longest time without a good backup', () => {
  const END = 30 * 24;
  it.each([
    ['none, where there never was one', [], null],
    ['between two', [0, 6, 20, 26, END - 1], [26, END - 1]],
    ['from one before the month to the first in it', [-40, 300, 500, END - 1], [-40, 300]],
    ['to a first one that is late', [-400, 2, 300, 600], [-400, 2]],
    ['behind the last one, to the end of the month', [0, 6], [6, END]],
    ['not before the first one that ever was', [700, 710], [700, 710]],
    ['all of it, where the last one was before', [-1], [-1, END]],
  ] as const)('%s', (_name, hours, gap) => {
    const { longestGap } = composeReport(factsOf({ backups: hours.map((hour) => backup(hour)) }), []);
    expect(longestGap).toEqual(
      gap === null
        ? null
        : { from: at(gap[0]).toISOString(), to: at(gap[1]).toISOString(), ms: (gap[1] - gap[0]) * HOUR },
    );
  });
});

it('counts runs by job, the worst first, and the share of backups that kept the whole promise', () => {
  const runs = [
    run('verify', 1, 'done'),
    run('backup', 1, 'done'),
    run('backup', 2, 'partly'),
    run('backup', 3, 'failed'),
    run('backup', 4, 'done'),
  ];
  const report = composeReport(factsOf({ runs }), []);
  expect(report.jobs).toEqual([
    { job: 'backup', done: 2, partly: 1, failed: 1 },
    { job: 'verify', done: 1, partly: 0, failed: 0 },
  ]);
  expect(report.backupSuccess).toBe(0.5);
  expect(composeReport(factsOf({ runs: [run('verify', 1, 'done')] }), []).backupSuccess).toBeNull();
});

it('tells what failed most, and when last', () => {
  const runs = [
    run('backup', 1, 'failed', 'E_VAULT_SEALED'),
    run('backup', 2, 'failed', 'E_STORE_FULL'),
    run('backup', 3, 'failed', 'E_STORE_FULL'),
    run('replicate', 4, 'partly'),
  ];
  expect(composeReport(factsOf({ runs }), []).failures).toMatchObject([
    { job: 'backup', code: 'E_STORE_FULL', count: 2, last: at(3).toISOString() },
    { job: 'replicate', code: 'E_PARTIAL', count: 1, message: 'copy in b' },
    { job: 'backup', code: 'E_VAULT_SEALED', count: 1 },
  ]);
});

it('takes sizes from what still has a manifest, the one before the month first', () => {
  const backups = [backup(-2, 50), backup(3, null), backup(5, 80), backup(9, null)];
  const { sizes, backups: count, age } = composeReport(factsOf({ backups }), []);
  expect([sizes.start?.bytes, sizes.end?.bytes, count]).toEqual([50, 80, 3]);
  expect(age).toBe((30 * 24 - 9) * HOUR);
  expect(composeReport(factsOf({ backups: [backup(3, null)] }), []).sizes).toEqual({ start: null, end: null });
});

it('counts copies by their newest reading', () => {
  const proof = (verdict: 'good' | 'bad') => ({ verdict, at: at(1) });
  const copies = [
    { snapshot: 'S1' as SnapshotId, destination: 'a', proof: proof('good') },
    { snapshot: 'S1' as SnapshotId, destination: 'b', proof: proof('bad') },
    { snapshot: 'S2' as SnapshotId, destination: 'a', proof: null },
  ];
  expect(composeReport(factsOf({ copies }), []).copies).toEqual({
    proven: 1,
    unproven: 1,
    bad: [{ snapshot: 'S1', destination: 'b', at: at(1).toISOString() }],
  });
});

describe('the page', () => {
  it('begins with what matters most, and says so where there is nothing', () => {
    expect(reportLines(composeReport(factsOf({}), [])).slice(0, 8)).toEqual([
      '# prod: 2026-11',
      '',
      '- **Good backups:** 0; no backup ran',
      '- **Longest time without a good backup** (measured RPO): there is none',
      '- **Age of the newest one** at the end of the month: there is none',
      '- **Size:** unknown at the start, unknown at the end',
      '- **Copies now:** 0 proven by reading, 0 not read again since they were stored, 0 bad',
      '',
    ]);
  });

  it('says that a month still runs, and what the report lacks', () => {
    const month = monthOf(new Date('2026-11-22T13:00:00Z'));
    const lines = reportLines(composeReport(factsOf({ month, lacks: ['b does not answer', 'b does not answer'] }), []));
    expect(lines[0]).toBe('# prod: 2026-11, up to 2026-11-22 13:00Z');
    expect(lines.filter((line) => line.startsWith('> '))).toEqual([
      '> This report is not complete:',
      '> - b does not answer',
    ]);
  });

  it('never rounds up to all, and no words of a failure break its table', () => {
    const runs = Array.from({ length: 2999 }, (_, i) => run('backup', i / 5, 'done'));
    const wild = { ...run('backup', 600, 'failed'), error: { code: 'E_BUG', message: 'a | b\n| c |' } };
    const lines = reportLines(composeReport(factsOf({ runs: [...runs, wild] }), []));
    expect(lines[2]).toContain('99.9 % of the backup runs');
    expect(lines).toContain(String.raw`| 1 | backup | E_BUG | 2026-11-26 00:00Z | a \| b \| c \| |`);
  });

  it('has what is due next in the order of time, and who holds what', () => {
    const next = [
      { job: 'verify', due: at(800) },
      { job: 'backup', due: at(730) },
    ];
    const hold = { snapshot: 'S1', who: 'ana', why: 'audit', until: null };
    const lines = reportLines({ ...composeReport(factsOf({}), next), holds: [hold] });
    expect(lines.slice(lines.indexOf('## Due next') + 2)).toEqual([
      '- backup: 2026-12-01 10:00Z',
      '- verify: 2026-12-04 08:00Z',
    ]);
    expect(lines).toContain('| S1 | ana | released | audit |');
  });
});
