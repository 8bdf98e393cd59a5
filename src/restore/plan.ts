/** What a restore would do, from values alone: nothing here talks to anyone. */
import { laterVersion } from '../archive/records.ts';
import type { ArchiveReport } from '../archive/report.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import { StrongroomError } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import type { TargetContents } from './look.ts';

/** The target as it answers now. */
export type TargetState = {
  activeNode: string;
  clusterId: string | null;
  product: 'openbao' | 'vault' | 'unknown';
  version: string | null;
  sealType: string;
  threshold: number;
  raftAppliedIndex: number | null;
  /** the listener's http_read_timeout in milliseconds; null = this login may not read it */
  readTimeoutMs: number | null;
};

/** Leases of one request path: in the snapshot, and in the target now (null = not known). */
export type LeaseChange = { path: string; snapshot: number; now: number | null };

export type RestorePlan = {
  cluster: ClusterName;
  into: ClusterName;
  target: string;
  /** product, version and seal of both, in one sentence */
  fit: string;
  /** false = a product or a version is not known, or the target is the older one: nobody can say that it fits */
  fitKnown: boolean;
  /** snapshot-force instead of snapshot: it skips the server's seal check, and only that */
  force: boolean;
  /** why, in one sentence */
  forceReason: string;
  /** the target is another cluster than the source, or that is not known */
  isForeign: boolean;
  /** unseal key shares that will be asked for; 0 for auto seals and for a cluster that keeps its keys */
  sharesNeeded: number;
  ageMs: number | null;
  /** entries that the target has and the snapshot does not; null when that cannot be said */
  indexDistance: number | null;
  /** of the snapshot, its plain archive in bytes */
  bytes: number;
  /** what the server unpacks it to in its temporary directory, and then keeps, in bytes */
  unpackedBytes: number;
  /** records in the snapshot, and in the target now (null = not known) */
  records: { snapshot: number; now: number | null };
  /** most first */
  leases: LeaseChange[];
  /** passwords that the restored cluster may rotate at once */
  staticRoles: number;
  /** a snapshot of the target is kept before anything is installed */
  safety: boolean;
  /** until the restored cluster is proven, without the time that people take; in milliseconds */
  estimateMs: number;
  warnings: string[];
};

/** The server's own pause between applying a snapshot and serving it, and some for the election and the polls. */
const SERVER_MS = 8_000;
/** Above this rate an upload inside http_read_timeout is not a matter of course, in bytes per second. */
const COMMON_RATE = 20 * 2 ** 20;

/**
 * Rejects (throws) with E_PRECONDITION where the restore cannot end well: a foreign product, another seal type.
 */
export function planRestore(input: {
  cluster: ClusterName;
  into: ClusterName;
  target: TargetState;
  report: ArchiveReport;
  manifest: Manifest | null;
  /** null = not looked at, because nobody wants a safety snapshot either */
  contents: TargetContents | null;
  now: Date;
  /** how long fetching, decrypting and verifying the snapshot took just now, in milliseconds */
  verifyMs: number;
  /** use snapshot-force also where the target is the same cluster, as after a rekey */
  force: boolean;
}): RestorePlan {
  const { cluster, into, target, report, manifest, contents } = input;
  refuseMisfit(target, report);
  const sourceId = manifest?.source.clusterId ?? null;
  const sameCluster = sourceId !== null && sourceId === target.clusterId;
  const unsealedSums = report.seal.sealedSums !== 'present';
  // A Shamir Vault that is sent an archive without sealed sums on the normal path panics: force is the only safe one.
  const force = input.force || !sameCluster || unsealedSums;
  const now = contents !== null && 'report' in contents ? contents : null;
  return {
    cluster,
    into,
    target: target.activeNode,
    fit: fitOf(target, report),
    fitKnown:
      report.product !== 'unknown' &&
      target.product !== 'unknown' &&
      versionWarnings(target.version, report.productVersion).length === 0,
    force,
    forceReason:
      input.force && sameCluster ? 'asked for' : forceReason(sameCluster, unsealedSums, sourceId, target.clusterId),
    isForeign: !sameCluster,
    sharesNeeded: force && report.seal.type === 'shamir' ? Math.max(report.seal.threshold, target.threshold) : 0,
    ageMs: manifest === null ? null : input.now.getTime() - Date.parse(manifest.createdAt),
    indexDistance: sameCluster && target.raftAppliedIndex !== null ? target.raftAppliedIndex - report.raft.index : null,
    bytes: report.bytes,
    unpackedBytes: report.members.find(({ name }) => name === 'state.bin')?.bytes ?? report.bytes,
    records: { snapshot: report.state.records, now: now?.report.state.records ?? null },
    leases: leaseChanges(report, now?.report ?? null),
    staticRoles: report.state.staticRoles,
    safety: contents !== null,
    // Once sent, twice read for the proof; the safety snapshot is taken and stored.
    estimateMs: SERVER_MS + 3 * input.verifyMs + 2 * (now?.tookMs ?? 0),
    warnings: [...warningsOf(target, report, contents), ...report.cautions],
  };
}

function warningsOf(target: TargetState, report: ArchiveReport, contents: TargetContents | null): string[] {
  const warnings: string[] = [];
  if (contents !== null && 'unknown' in contents) {
    warnings.push(
      `the target gives no snapshot (${contents.unknown}): what it holds now is not known, and the safety snapshot will fail the same way`,
    );
  }
  if (report.product === 'unknown' || target.product === 'unknown') {
    const which = report.product === 'unknown' ? 'the snapshot' : 'the target';
    warnings.push(`the product of ${which} is not known: whether both are the same was not checked`);
  }
  warnings.push(...versionWarnings(target.version, report.productVersion));
  if (isStale(target, report)) {
    warnings.push(
      `the target counts ${target.threshold} shares, the snapshot ${report.seal.threshold}: ${target.activeNode} will refuse the right shares until its process is restarted after the install`,
    );
  }
  const timeoutMs = target.readTimeoutMs ?? 30_000;
  if (report.bytes / (timeoutMs / 1000) > COMMON_RATE) {
    const source = target.readTimeoutMs === null ? 'the default, as it cannot be read' : 'as configured';
    warnings.push(
      `the whole upload must be done within http_read_timeout (${Math.round(timeoutMs / 1000)} s, ${source}): ${Math.ceil(report.bytes / 2 ** 20)} MiB need ${Math.ceil(report.bytes / 2 ** 20 / (timeoutMs / 1000))} MiB/s; raise it in the listener stanza if the way to the node is slower`,
    );
  }
  return warnings;
}

function fitOf(target: TargetState, { product, productVersion, seal }: ArchiveReport): string {
  const shares = seal.type === 'shamir' ? ` ${seal.threshold} of ${seal.shares}` : '';
  const source = `${product} ${productVersion ?? 'of unknown version'}, seal ${seal.type}${shares}`;
  return `${source}, into ${target.product} ${target.version ?? 'of unknown version'}, seal ${target.sealType}`;
}

/** After a forced restore the active node goes on counting by its old, smaller number (trap 8). */
function isStale(target: TargetState, { seal }: ArchiveReport): boolean {
  return seal.type === 'shamir' && target.threshold < seal.threshold;
}

function leaseChanges(then: ArchiveReport, now: ArchiveReport | null): LeaseChange[] {
  const countsOf = (report: ArchiveReport | null): Map<string, number> =>
    new Map(report?.state.leases.map(({ path, count }) => [path, count]));
  const [before, after] = [countsOf(then), countsOf(now)];
  const changes = [...new Set([...before.keys(), ...after.keys()])].map((path) => ({
    path,
    snapshot: before.get(path) ?? 0,
    now: now === null ? null : (after.get(path) ?? 0),
  }));
  return changes.toSorted((a, b) => Math.max(b.snapshot, b.now ?? 0) - Math.max(a.snapshot, a.now ?? 0));
}

function refuseMisfit(target: TargetState, report: ArchiveReport): void {
  if (report.product !== 'unknown' && target.product !== 'unknown' && report.product !== target.product) {
    throw new StrongroomError(
      'E_PRECONDITION',
      `the snapshot is of ${report.product}, the target runs ${target.product}: it would not start on this storage`,
      { hint: `restore into a cluster of ${report.product}` },
    );
  }
  if (target.sealType === 'unknown') {
    throw new StrongroomError('E_PRECONDITION', `${target.activeNode} does not say which seal it has`, {
      hint: `the snapshot's seal is ${report.seal.type}, and in a cluster with another one it would end sealed; look at sys/seal-status of that node`,
    });
  }
  if (report.seal.type !== target.sealType) {
    throw new StrongroomError(
      'E_PRECONDITION',
      `the snapshot's seal is ${report.seal.type}, the target's is ${target.sealType}: it would end sealed`,
      { hint: rightSeal(report.seal) },
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

/** A newer server reads what an older one wrote; the reverse is nobody's promise. */
function versionWarnings(target: string | null, snapshot: string | null): string[] {
  if (target === null || snapshot === null || !isVersion(target) || !isVersion(snapshot)) {
    return [
      `versions were not compared: the target's is ${target ?? 'unknown'}, the snapshot's ${snapshot ?? 'unknown'}; an older server may not read what a newer one wrote`,
    ];
  }
  if (laterVersion(target, snapshot) !== target) {
    return [`the target runs ${target}, older than ${snapshot} of the snapshot`];
  }
  return [];
}

function isVersion(text: string): boolean {
  return /^\d+\.\d+\.\d+([+-].*)?$/.test(text);
}
