/** A prune in lines for people, and as JSON. */
import { formatBytes } from '../core/units.ts';
import type { Orphan } from './orphans.ts';
import type { DestinationResult, PruneResult } from './prune.ts';
import type { DestinationPlan, PrunePlan } from './prune-plan.ts';

/** The plan without what only the executor needs. */
export function planDocument(plan: PrunePlan): unknown {
  return {
    ...plan,
    destinations: plan.destinations.map((one) => ({
      ...one,
      orphans: one.orphans.map(({ uploads, versions, ...orphan }) => ({
        ...orphan,
        uploads: uploads.length,
        versions: versions.length,
      })),
      totals: totalsOf(one),
    })),
  };
}

export function pruneDocument({ run, plan, destinations, marks }: PruneResult): unknown {
  return {
    run,
    cluster: plan.cluster,
    plan: planDocument(plan),
    destinations: destinations.map(({ error, ...one }) => ({ ...one, error: error?.toJSON() ?? null })),
    marks,
  };
}

/** Counts and bytes by what is to become of them; orphans that stay are not counted. */
export function totalsOf({
  snapshots,
  orphans,
}: Pick<DestinationPlan, 'snapshots' | 'orphans'>): Record<
  'keep' | 'remove' | 'defer' | 'orphans',
  { count: number; bytes: number }
> {
  const sum = (of: readonly { bytes: number }[]): { count: number; bytes: number } => {
    return { count: of.length, bytes: of.reduce((total, { bytes }) => total + bytes, 0) };
  };
  return {
    keep: sum(snapshots.filter(({ action }) => action === 'keep')),
    remove: sum(snapshots.filter(({ action }) => action === 'remove')),
    defer: sum(snapshots.filter(({ action }) => action === 'defer')),
    orphans: sum(orphans.filter(({ action }) => action === 'remove')),
  };
}

/** `7 snapshots, 3.20 MiB` */
export function countText({ count, bytes }: { count: number; bytes: number }, what = 'snapshot(s)'): string {
  return `${count} ${what}, ${formatBytes(bytes)}`;
}

/** First line: the verdict. */
export function summarisePrune({ plan, destinations, marks }: PruneResult): string[] {
  const removed = destinations.flatMap((one) => one.removed);
  const failed = destinations.filter(({ error }) => error !== null);
  const bytes = removed.reduce((sum, one) => sum + one.bytes, 0);
  const verdict = failed.length === 0 ? 'pruned' : 'pruned in part';
  return [
    `${verdict}: ${countText({ count: removed.length, bytes })} removed of ${plan.cluster}`,
    ...destinations.flatMap((one) => [...linesOf(one), ...staying(plan, one)]),
    ...marks.map(({ snapshot, act, why }) => `  ${act === 'ignore' ? 'marked' : 'mark lifted'}  ${snapshot}: ${why}`),
  ];
}

function linesOf({ destination, removed, orphans, deferred, extended, error }: DestinationResult): string[] {
  return [
    ...removed.map(({ snapshot, bytes }) => `  removed     ${snapshot} in ${destination}, ${formatBytes(bytes)}`),
    ...orphans.map(({ name, bytes }) => `  cleared     ${name} in ${destination}, ${formatBytes(bytes)}`),
    ...deferred.map(({ snapshot, why }) => `  deferred    ${snapshot} in ${destination}: ${why}`),
    ...extended.map(
      ({ snapshot, until }) => `  locked      ${snapshot} in ${destination} until ${until.toISOString()}`,
    ),
    ...(error === null ? [] : [`  GIVEN UP    ${destination}: ${error.message}`]),
  ];
}

function staying({ destinations }: PrunePlan, { destination }: DestinationResult): string[] {
  const plan = destinations.find((one) => one.destination === destination);
  const kept = (plan?.orphans ?? []).filter((orphan: Orphan) => orphan.action === 'keep');
  return [
    ...kept.map(({ name, reason }) => `  left alone  ${name} in ${destination}: ${reason}`),
    ...(plan?.notes ?? []).map((note) => `  note        ${destination}: ${note}`),
  ];
}
