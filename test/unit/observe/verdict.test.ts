import { describe, expect, it } from 'vitest';
import type { RunRecord } from '../../../src/catalogue/record-types.ts';
import { StrongroomError } from '../../../src/core/errors.ts';
import { newSnapshotId } from '../../../src/core/ids.ts';
import type { BackupFact, ClusterStatus, DestinationStatus } from '../../../src/observe/cluster-status.ts';
import { judge, type Limits, worst } from '../../../src/observe/verdict.ts';
import { at, HOUR } from './scene.ts';

const fact = (hour: number): BackupFact => ({
  snapshot: newSnapshotId(at(hour)),
  at: at(hour),
  finishedAt: at(hour),
  bytes: 1,
  storedBytes: 1,
  records: 1,
  members: [],
  previous: null,
});
const good = fact(6);
const old = fact(-2);
const limits: Limits = { maxAgeMs: 8 * HOUR, maxProofAgeMs: 24 * HOUR, maxStatusAgeMs: 10 * 60_000 };
const now = at(7);

const store = (name: string, change: Partial<DestinationStatus> = {}): DestinationStatus => ({
  name,
  away: null,
  newest: good,
  problems: [],
  copiesMissing: 0,
  lastProofAt: at(5),
  badCopies: 0,
  locks: null,
  ...change,
});
const run = (change: Partial<RunRecord>): RunRecord =>
  ({ outcome: 'done', error: null, missing: [], ...change }) as RunRecord;
const status = (change: Partial<ClusterStatus> = {}): ClusterStatus => ({
  cluster: 'prod',
  readAt: now,
  newest: good,
  newestWhole: good,
  isWholeKnown: true,
  fromTheFuture: [],
  members: [],
  destinations: [store('a'), store('b')],
  jobs: { backup: { last: run({}), lastDone: run({}), failuresSince: 0 } },
  recordsProblem: null,
  ...change,
});
const with1 = (change: Partial<DestinationStatus>): ClusterStatus =>
  status({ destinations: [store('a'), store('b', change)] });
const gone = new StrongroomError('E_STORE_UNREACHABLE', 'b is silent');

describe('a verdict', () => {
  it('is ok when nothing is wrong, up to the last millisecond', () => {
    expect(judge(status(), limits, now)).toEqual({ level: 'ok', ageMs: HOUR, reasons: [] });
    const fresh = status({ readAt: at(14) });
    expect(judge(fresh, limits, at(14)).level).toBe('ok');
    expect(judge(fresh, limits, new Date(at(14).getTime() + 1)).level).toBe('critical');
  });

  it.each<[string, ClusterStatus, Limits | null, string, RegExp]>([
    ['no backup', status({ newest: null, newestWhole: null }), null, 'critical', /^there is no backup$/],
    ['none whole', status({ newestWhole: null }), null, 'critical', /^no backup is whole in every destination$/],
    [
      'old',
      status({ newestWhole: old, newest: old }),
      null,
      'critical',
      /^the newest whole backup is 9h old, 8h at most$/,
    ],
    ['no limit', status(), { ...limits, maxAgeMs: null }, 'unknown', /limits\.maxAge or schedule\.backup/],
    [
      'newer not whole',
      status({ newestWhole: fact(3) }),
      null,
      'warning',
      /is newer, and not whole in every destination$/,
    ],
    [
      'unknown what is whole',
      status({ newestWhole: null, isWholeKnown: false }),
      null,
      'critical',
      /nobody can say which/,
    ],
    ['never read', status({ readAt: null }), null, 'critical', /no destination has answered/],
    ['read long ago', status({ readAt: at(6) }), null, 'critical', /were last read 1h ago/],
    [
      'records unknown',
      status({ recordsProblem: gone }),
      null,
      'warning',
      /runs or proofs cannot be read: b is silent/,
    ],
    ['future', status({ fromTheFuture: [good.snapshot] }), null, 'warning', /dated in the future/],
    ['away', with1({ away: gone }), null, 'critical', /^b cannot be read: b is silent$/],
    [
      'refused',
      with1({ problems: [new StrongroomError('E_SIGNATURE', 'unsigned')] }),
      null,
      'critical',
      /^b: unsigned$/,
    ],
    ['one bad copy', with1({ badCopies: 1 }), null, 'critical', /^1 copy in b read as bad$/],
    ['bad copies', with1({ badCopies: 3 }), null, 'critical', /^3 copies in b read as bad$/],
    ['never proven', with1({ lastProofAt: null }), null, 'warning', /^no copy in b was ever read again/],
    [
      'proven long ago',
      with1({ lastProofAt: at(-18) }),
      null,
      'warning',
      /^the last proof in b is 1d 1h old, 1d at most$/,
    ],
    [
      'failed run',
      status({
        jobs: {
          prune: {
            last: run({ outcome: 'failed', error: { code: 'E', message: 'denied' } }),
            lastDone: null,
            failuresSince: 1,
          },
        },
      }),
      null,
      'warning',
      /^the last run of prune did not keep the promise: denied$/,
    ],
    [
      'partly, again and again',
      status({
        jobs: {
          backup: { last: run({ outcome: 'partly', missing: ['b', 'a wrap'] }), lastDone: null, failuresSince: 4 },
        },
      }),
      null,
      'warning',
      /^the last 4 runs of backup did not keep the promise: lacks b, a wrap$/,
    ],
  ])('%s', (_name, found, change, level, text) => {
    const verdict = judge(found, change ?? limits, now);
    expect(verdict.level).toBe(level);
    expect(verdict.reasons).toHaveLength(1);
    expect(verdict.reasons[0]?.text).toMatch(text);
  });

  it('asks for no proof where none is wanted, where nothing is, or where nothing is known of it', () => {
    const unproven = with1({ lastProofAt: null });
    expect(judge(unproven, { ...limits, maxProofAgeMs: null }, now).level).toBe('ok');
    expect(judge(with1({ lastProofAt: null, newest: null }), limits, now).level).toBe('ok');
    expect(judge(with1({ lastProofAt: null, badCopies: null }), limits, now).level).toBe('ok');
  });

  it('gives a run time to publish before its backup counts as not whole', () => {
    const newest = { ...good, finishedAt: new Date(now.getTime() - 4 * 60_000) };
    expect(judge(status({ newest, newestWhole: fact(3) }), limits, now).level).toBe('ok');
  });

  it('says the worst first, and everything', () => {
    const all = status({
      newestWhole: fact(-3),
      destinations: [store('a', { lastProofAt: null }), store('b', { away: gone, badCopies: 2 })],
    });
    const { level, ageMs, reasons } = judge(all, { ...limits, maxAgeMs: null }, now);
    expect({ level, ageMs }).toEqual({ level: 'critical', ageMs: 10 * HOUR });
    expect(reasons.map((reason) => reason.level)).toEqual(['critical', 'critical', 'unknown', 'warning', 'warning']);
  });
});

it('the worst of several: not to know is worse than a warning', () => {
  expect(worst([])).toBe('ok');
  expect(worst(['ok', 'warning', 'ok'])).toBe('warning');
  expect(worst(['warning', 'unknown'])).toBe('unknown');
  expect(worst(['unknown', 'critical', 'ok'])).toBe('critical');
});
