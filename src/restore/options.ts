/** What a restore needs from whoever runs it. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { ClusterName } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { OnProgress } from '../core/progress.ts';
import type { Secret } from '../core/secret.ts';
import type { Clock } from '../core/units.ts';
import type { KmsKey } from '../crypt/kms.ts';
import type { SpoolOptions } from '../spool/spool.ts';
import type { Store } from '../store/store.ts';
import type { VaultCluster } from '../vault/cluster.ts';

export type RestoreDeps = {
  cluster: ClusterName;
  /** the target, with the credentials that may install a snapshot there now */
  target: VaultCluster;
  /** the same nodes, with credentials that are valid *after* the restore: the snapshot brings its own tokens */
  restored: VaultCluster;
  catalogue: Catalogue;
  stores: readonly Store[];
  kms: readonly KmsKey[];
  identities: readonly Secret<string>[];
  spool: SpoolOptions;
  /** gives the next unseal key share, or null when there are no more; asked only when a Shamir node is sealed */
  nextShare: (need: { node: string; progress: number; threshold: number }) => Promise<Secret<string> | null>;
  clock: Clock;
  log: Log;
  onProgress: OnProgress;
};

export type RestoreOptions = {
  /** `latest`, a snapshot id, or the path of a plain archive */
  snapshot: string;
  /** install with snapshot-force even into the same cluster: needed when its unseal keys or seal changed since */
  force: boolean;
  /** the longest wait for the cluster to serve again after the install, in milliseconds */
  settleTimeoutMs: number;
};
