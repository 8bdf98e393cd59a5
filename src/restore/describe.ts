/** The plan of a restore in lines for people, most important first. */
import { formatBytes, formatDuration } from '../core/units.ts';
import type { RestorePlan } from './plan.ts';

const PATHS_SHOWN = 5;

/** `label` is the snapshot and the copy it was read from. */
export function describePlan(plan: RestorePlan, label: string): string[] {
  return [
    `restore   ${label}`,
    `into      ${plan.into}, active node ${plan.target}`,
    ...(plan.ageMs === null ? [] : [`age       ${formatDuration(plan.ageMs)}: everything written since is lost`]),
    ...(plan.indexDistance === null ? [] : [`distance  ${distance(plan.indexDistance)}`]),
    `contents  ${contents(plan)}`,
    `${plan.fitKnown ? 'fits  ' : 'unsure'}    ${plan.fit}`,
    `room      the server needs ${formatBytes(plan.unpackedBytes)} in its temporary directory (TMPDIR), and then in its storage`,
    `endpoint  ${plan.force ? 'snapshot-force' : 'snapshot'}: ${plan.forceReason}`,
    `shares    ${plan.sharesNeeded === 0 ? 'none needed' : `${plan.sharesNeeded} unseal key shares of the source, for each node`}`,
    ...leases(plan),
    ...(plan.staticRoles === 0
      ? []
      : [`roles     ${plan.staticRoles} static roles: their passwords may be rotated within seconds of the restore`]),
    `safety    ${plan.safety ? 'a snapshot of the target is kept before the install' : 'none: what the target holds now is lost'}`,
    `time      about ${formatDuration(plan.estimateMs)}, and what people take`,
    ...plan.warnings.map((warning) => `caution   ${warning}`),
  ];
}

function distance(entries: number): string {
  return entries >= 0
    ? `${entries} raft entries of the target are newer than the snapshot`
    : `the snapshot is ${-entries} raft entries ahead of the target`;
}

function contents({ records, bytes }: RestorePlan): string {
  const now = records.now === null ? '' : `; the target has ${records.now} now`;
  return `${records.snapshot} records, ${formatBytes(bytes)}${now}`;
}

/** Leases of the snapshot run on and are revoked when their time is over; those made since are forgotten, never revoked. */
function leases(plan: RestorePlan): string[] {
  const revoked = plan.leases.reduce((sum, { snapshot }) => sum + snapshot, 0);
  // By counts alone: a lease that ended and another that began since look the same.
  const forgotten = plan.leases.map((lease) => ({ ...lease, lost: Math.max(0, (lease.now ?? 0) - lease.snapshot) }));
  const lost = forgotten.filter(({ lost: count }) => count > 0);
  const lines: string[] = [];
  if (revoked > 0) {
    const paths = plan.leases.filter(({ snapshot }) => snapshot > 0).map(({ path, snapshot }) => `${path} ${snapshot}`);
    lines.push(`leases    ${revoked} of the snapshot, revoked for real when their time is over: ${shown(paths)}`);
  }
  if (lost.length > 0) {
    const sum = lost.reduce((total, { lost: count }) => total + count, 0);
    const paths = lost.map(({ path, lost: count }) => `${path} ${count}`);
    lines.push(`leases    at least ${sum} made since are forgotten, and never revoked by the cluster: ${shown(paths)}`);
  }
  return lines;
}

function shown(paths: readonly string[]): string {
  const more = paths.length - PATHS_SHOWN;
  return `${paths.slice(0, PATHS_SHOWN).join(', ')}${more > 0 ? ` and ${more} more paths` : ''}`;
}
