/** Which snapshots a policy keeps by count: the last few, and one of each hour, day, week, month and year. */
import type { SnapshotId } from '../core/ids.ts';
import { PERIOD_KINDS, type PeriodKind, periodsOf } from './generations.ts';

/** How many of each generation are kept; 0 = none. */
export type GenerationCounts = {
  keepLast: number;
  keepHourly: number;
  keepDaily: number;
  keepWeekly: number;
  keepMonthly: number;
  keepYearly: number;
  /** IANA name of the zone in which days begin and end */
  timeZone: string;
};

/** A place in a generation: `rank` 1 is the newest of the `of` that are kept. */
export type Generation =
  | { kind: 'last'; rank: number; of: number }
  | { kind: PeriodKind; period: string; rank: number; of: number };

// The option that counts each kind of period.
const COUNT_OF = {
  hourly: 'keepHourly',
  daily: 'keepDaily',
  weekly: 'keepWeekly',
  monthly: 'keepMonthly',
  yearly: 'keepYearly',
} as const satisfies Record<PeriodKind, keyof GenerationCounts>;

type Dated = { snapshot: SnapshotId; createdAt: Date };

/**
 * The generations that each snapshot of `newestFirst` is the keeper of; a snapshot without any is not in the map. Count
 * goes back over the periods that *have* a snapshot: seven days are the last seven days with one, however long ago.
 *
 * The keeper of a period is its **first** snapshot, not its last. The last one of today, this month and this year is
 * another after every run: each run would take the place of the one before, and as locks are set at the upload, each
 * hourly snapshot would be locked for as long as a yearly one. The first one stays what it is: what comes later in the
 * period changes nothing, so its lock is right from the beginning, and what is kept does not depend on how often and when
 * somebody pruned. It also keeps the history as long as the counts allow, because the oldest snapshot of all is the first
 * one of its year. The newest snapshot needs no generation: the policy never removes it.
 */
export function generationsOf(newestFirst: readonly Dated[], counts: GenerationCounts): Map<SnapshotId, Generation[]> {
  const found = new Map<SnapshotId, Generation[]>();
  const add = (snapshot: SnapshotId, generation: Generation): void => {
    const others = found.get(snapshot);
    if (others === undefined) found.set(snapshot, [generation]);
    else others.push(generation);
  };
  for (const [index, { snapshot }] of newestFirst.slice(0, counts.keepLast).entries()) {
    add(snapshot, { kind: 'last', rank: index + 1, of: counts.keepLast });
  }
  const kinds = PERIOD_KINDS.filter((kind) => counts[COUNT_OF[kind]] > 0);
  const periods = kinds.length === 0 ? [] : newestFirst.map(({ createdAt }) => periodsOf(createdAt, counts.timeZone));
  for (const kind of kinds) {
    const of = counts[COUNT_OF[kind]];
    const first = new Map<string, SnapshotId>();
    for (const [index, { snapshot }] of newestFirst.entries()) {
      const period = periods[index]?.[kind] ?? '';
      if (first.size < of || first.has(period)) first.set(period, snapshot);
    }
    for (const [index, [period, snapshot]] of [...first].entries())
      add(snapshot, { kind, period, rank: index + 1, of });
  }
  return found;
}

/** `daily 2026-11-21 (3 of 7)`, `last (1 of 10)`. */
export function describeGeneration(generation: Generation): string {
  const { kind, rank, of } = generation;
  return kind === 'last' ? `last (${rank} of ${of})` : `${kind} ${generation.period} (${rank} of ${of})`;
}
