/** What a restore needs from whoever runs it. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { ClusterName, RunId, SnapshotId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { OnProgress } from '../core/progress.ts';
import type { Secret } from '../core/secret.ts';
import type { Clock } from '../core/units.ts';
import type { KmsKey } from '../crypt/kms.ts';
import type { Lease } from '../lease/lease.ts';
import type { SpoolOptions } from '../spool/spool.ts';
import type { Store } from '../store/store.ts';
import type { VaultCluster } from '../vault/cluster.ts';

export type RestoreDeps = {
  /** the cluster that the snapshot is of */
  cluster: ClusterName;
  /** the cluster that it is restored into; mostly the same */
  into: ClusterName;
  /** the target, with the credentials that may install a snapshot there now */
  target: VaultCluster;
  /** the same nodes, with credentials that are valid *after* the restore: the snapshot brings its own tokens */
  restored: VaultCluster;
  catalogue: Catalogue;
  stores: readonly Store[];
  kms: readonly KmsKey[];
  identities: readonly Secret<string>[];
  spool: SpoolOptions;
  /**
   * takes and stores a snapshot of the target as it is before the install; null = declined in words. The caller holds the
   * lock of {@link into}, and its lease where one could be had
   */
  takeSafety: ((held: Held, signal: AbortSignal) => Promise<SafetySnapshot>) | null;
  /** takes the lease of {@link into}: E_LOCKED while another run holds it */
  takeLease: (run: RunId, signal: AbortSignal) => Promise<Lease>;
  /** gives the next unseal key share, or null when there are no more; asked only when a Shamir node is sealed */
  nextShare: (need: { node: string; progress: number; threshold: number }) => Promise<Secret<string> | null>;
  /** tells people which processes to restart, in this order; the nodes are watched meanwhile */
  askRestart: (needs: readonly RestartNeed[]) => void;
  clock: Clock;
  log: Log;
  onProgress: OnProgress;
};

/** A run, and the lease of the target that it holds; null = no destination answered, and it goes on without. */
export type Held = { run: RunId; lease: Lease | null };

export type SafetySnapshot = {
  snapshot: SnapshotId;
  /** copies or wraps that it lacks */
  missing: string[];
};

export type RestartNeed = {
  /** the node, as configured */
  url: string;
  /** one sentence */
  why: string;
};

export type RestoreOptions = {
  /** `latest`, a snapshot id, the path of a plain archive, or the newest backup up to a time */
  snapshot: string | { notAfter: Date };
  /** take a snapshot that is named by its id also when it is marked to be ignored; it is verified like any other. Default: refuse it */
  takeMarked?: boolean;
  /** install with snapshot-force even into the same cluster: needed when its unseal keys or seal changed since */
  force: boolean;
  /** the longest wait for the cluster to serve again after the install, in milliseconds */
  settleTimeoutMs: number;
  /** the longest wait for people to restart nodes, in milliseconds; 0 = what needs it is left unproven and said */
  restartWaitMs: number;
  /** the snapshot was handed over by a run that nothing here knows of: open the cluster and prove it, install nothing */
  resume: boolean;
  /** of whoever calls, who has given it a name already; default: a new one */
  run?: RunId;
};
