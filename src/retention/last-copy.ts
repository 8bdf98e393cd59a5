/** Nothing is removed here that another destination is to keep and has no good copy of: it may be the last one there is. */
import type { SnapshotId } from '../core/ids.ts';
import type { RetentionPolicy, SnapshotFacts } from './facts.ts';
import { type Decision, decide } from './policy.ts';

/** One destination, decided about by itself. */
export type Decided = {
  destination: string;
  facts: readonly SnapshotFacts[];
  policy: RetentionPolicy;
  decisions: Decision[];
};

/**
 * The decisions of each destination, with what has to stay for another's sake turned into `keep`. A destination wants a snapshot
 * when its policy would keep it, were the good copy there. Pure; throws as decide().
 */
export function keepForOthers(destinations: readonly Decided[], now: Date): Map<string, Decision[]> {
  const good = new Map<SnapshotId, SnapshotFacts>();
  for (const { facts } of destinations) for (const one of facts) if (isGoodCopy(one)) good.set(one.snapshot, one);
  const wanted = destinations.map((one) => ({ destination: one.destination, snapshots: wantedBy(one, good, now) }));
  return new Map(
    destinations.map(({ destination, facts, decisions }) => {
      const copies = new Set(facts.filter(isGoodCopy).map(({ snapshot }) => snapshot));
      const kept = decisions.map((decision): Decision => {
        if (decision.action === 'keep' || !copies.has(decision.snapshot)) return decision;
        const others = wanted
          .filter((other) => other.destination !== destination && other.snapshots.has(decision.snapshot))
          .map((other) => other.destination);
        if (others.length === 0) return decision;
        const reason = `${others.join(' and ')} is to keep it, and has no good copy`;
        return { ...decision, action: 'keep', reasons: [...decision.reasons, reason], deferUntil: null };
      });
      return [destination, kept];
    }),
  );
}

function isGoodCopy({ isGood, isIgnored }: SnapshotFacts): boolean {
  return isGood && !isIgnored;
}

function wantedBy(
  { facts, policy }: Decided,
  good: ReadonlyMap<SnapshotId, SnapshotFacts>,
  now: Date,
): Set<SnapshotId> {
  const own = new Map(facts.map((one) => [one.snapshot, one]));
  const lacked = [...good.values()].filter(({ snapshot }) => {
    const here = own.get(snapshot);
    return here === undefined || !isGoodCopy(here);
  });
  if (lacked.length === 0) return new Set();
  const ids = new Set(lacked.map(({ snapshot }) => snapshot));
  const asIfThere = [...facts.filter(({ snapshot }) => !ids.has(snapshot)), ...lacked];
  const decisions = decide(
    asIfThere.map((one) => ({ ...one, lockedUntil: null })),
    policy,
    now,
    { lastRunFailed: false },
  );
  return new Set(
    decisions.flatMap(({ snapshot, action }) => (action === 'keep' && ids.has(snapshot) ? [snapshot] : [])),
  );
}
