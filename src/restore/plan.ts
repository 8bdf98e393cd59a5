/** What a restore would do, from values alone: nothing here talks to anyone. */
import type { ArchiveReport } from '../archive/report.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { StrongroomError } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import { formatDuration } from '../core/units.ts';

/** The target as it answers now. */
export type TargetState = {
  activeNode: string;
  clusterId: string | null;
  product: 'openbao' | 'vault' | 'unknown';
  version: string | null;
  sealType: string;
  threshold: number;
  raftAppliedIndex: number | null;
};

export type RestorePlan = {
  cluster: ClusterName;
  target: string;
  /** snapshot-force instead of snapshot: it skips the server's seal check, and only that */
  force: boolean;
  /** why, in one sentence */
  forceReason: string;
  /** unseal key shares that will be asked for; 0 for auto seals and for a cluster that keeps its keys */
  sharesNeeded: number;
  ageMs: number | null;
  /** entries that the target has and the snapshot does not; null when that cannot be said */
  indexDistance: number | null;
  warnings: string[];
};

/**
 * Rejects (throws) with E_PRECONDITION where the restore cannot end well: a foreign product, another seal type, a target
 * initialised with a smaller threshold than the snapshot's.
 */
export function planRestore(input: {
  cluster: ClusterName;
  target: TargetState;
  report: ArchiveReport;
  manifest: Manifest | null;
  now: Date;
  /** use snapshot-force also where the target is the same cluster, as after a rekey */
  force: boolean;
}): RestorePlan {
  const { cluster, target, report, manifest } = input;
  refuseMisfit(target, report);
  const sourceId = manifest?.source.clusterId ?? null;
  const sameCluster = sourceId !== null && sourceId === target.clusterId;
  const unsealedSums = report.seal.sealedSums !== 'present';
  // A Shamir Vault that is sent an archive without sealed sums on the normal path panics: force is the only safe one.
  const force = input.force || !sameCluster || unsealedSums;
  const warnings = [...report.cautions];
  if (report.productVersion !== null && target.version !== null && older(target.version, report.productVersion)) {
    warnings.push(`the target runs ${target.version}, older than ${report.productVersion} of the snapshot`);
  }
  return {
    cluster,
    target: target.activeNode,
    force,
    forceReason:
      input.force && sameCluster ? 'asked for' : forceReason(sameCluster, unsealedSums, sourceId, target.clusterId),
    sharesNeeded: force && report.seal.type === 'shamir' ? Math.max(report.seal.threshold, target.threshold) : 0,
    ageMs: manifest === null ? null : input.now.getTime() - Date.parse(manifest.createdAt),
    indexDistance: sameCluster && target.raftAppliedIndex !== null ? target.raftAppliedIndex - report.raft.index : null,
    warnings,
  };
}

/** Lines for people, most important first. */
export function describePlan(plan: RestorePlan, label: string): string[] {
  return [
    `restore   ${label}`,
    `into      ${plan.cluster}, active node ${plan.target}`,
    ...(plan.ageMs === null ? [] : [`age       ${formatDuration(plan.ageMs)}: everything written since is lost`]),
    ...(plan.indexDistance === null ? [] : [`distance  ${plan.indexDistance} raft entries behind the target`]),
    `endpoint  ${plan.force ? 'snapshot-force' : 'snapshot'}: ${plan.forceReason}`,
    `shares    ${plan.sharesNeeded === 0 ? 'none needed' : `${plan.sharesNeeded} unseal key shares of the source, for each node`}`,
    ...plan.warnings.map((warning) => `caution   ${warning}`),
  ];
}

function refuseMisfit(target: TargetState, report: ArchiveReport): void {
  if (report.product !== 'unknown' && target.product !== 'unknown' && report.product !== target.product) {
    throw new StrongroomError(
      'E_PRECONDITION',
      `the snapshot is of ${report.product}, the target runs ${target.product}: it would not start on this storage`,
      { hint: `restore into a ${report.product} cluster` },
    );
  }
  if (report.seal.type !== target.sealType) {
    throw new StrongroomError(
      'E_PRECONDITION',
      `the snapshot's seal is ${report.seal.type}, the target's is ${target.sealType}: it would end sealed`,
      { hint: rightSeal(report.seal) },
    );
  }
  if (report.seal.type === 'shamir' && target.threshold < report.seal.threshold) {
    throw new StrongroomError(
      'E_PRECONDITION',
      `the target was initialised with threshold ${target.threshold}, the snapshot has ${report.seal.threshold}: its active node would refuse the right shares until restarted`,
      {
        hint: `initialise the fresh cluster with -key-shares=${report.seal.shares} -key-threshold=${report.seal.threshold}`,
      },
    );
  }
}

/** Changing the stanza of a node that is initialised would be a seal migration: a fresh target is set up again. */
function rightSeal({ type, shares, threshold, keyIds }: ArchiveReport['seal']): string {
  const how =
    type === 'shamir'
      ? `without a seal stanza, initialised with -key-shares=${shares} -key-threshold=${threshold}`
      : `with seal "${type}" and access to ${keyIds.length === 0 ? 'the key of the source' : keyIds.join(' and ')}`;
  return `set up the fresh target again, empty, ${how}; then repeat`;
}

function forceReason(same: boolean, unsealed: boolean, source: string | null, target: string | null): string {
  if (unsealed) return 'the archive has no sealed sums, which the normal endpoint cannot take';
  if (same) return 'same cluster, so the server checks the seal as well';
  if (source === null) return 'the cluster it was taken from is not known';
  return `the target is another cluster (${target ?? 'unknown id'}) than the source (${source})`;
}

/** Is `a` an older major.minor.patch than `b`? Suffixes such as +ent are ignored. */
function older(a: string, b: string): boolean {
  const parse = (text: string): number[] => text.split(/[+-]/)[0]?.split('.').map(Number) ?? [];
  const [left, right] = [parse(a), parse(b)];
  for (let i = 0; i < 3; i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
