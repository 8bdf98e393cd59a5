/** What an App is opened with, and what it gives to commands. */
import type { AwsPool } from './aws-pool.ts';
import type { Destination } from './backup/options.ts';
import type { Catalogue } from './catalogue/catalogue.ts';
import type { ClusterName } from './core/ids.ts';
import type { Log } from './core/log.ts';
import type { OnProgress } from './core/progress.ts';
import type { Secret } from './core/secret.ts';
import type { KmsKey } from './crypt/kms.ts';
import type { RecipientPolicy } from './crypt/policy.ts';
import type { RestoreDeps } from './restore/options.ts';
import type { SpoolOptions } from './spool/spool.ts';
import type { Store } from './store/store.ts';
import type { Tracing } from './trace/tracing.ts';

export type OpenOptions = {
  onProgress?: OnProgress;
  /** the command that it is opened for, as whoever finds a cluster locked by it shall read it */
  door?: string;
  /** a backup that others began since then will do as well; default: none will */
  askedAt?: Date | null;
  /** for the log lines; default: as the config says, to standard error */
  log?: Log;
  /** stays the caller's; default: opened for the first run, as the config and the environment say */
  tracing?: Tracing;
  /** told how long each lease was waited for, in milliseconds */
  onLockWait?: (ms: number) => void;
  /** AWS clients that outlive it; stays the caller's. Default: its own */
  aws?: AwsPool;
};

export type RestoreAppOptions = {
  /** the cluster to restore into; default: the one that the snapshot is of */
  into?: string;
  /**
   * installs the snapshot where the target does not know the configured login yet, as a fresh cluster does; after the
   * install only the configured login counts
   */
  targetToken: Secret<string> | null;
  /** keep a snapshot of the target before the install */
  withSafety: boolean;
  nextShare: RestoreDeps['nextShare'];
  askRestart: RestoreDeps['askRestart'];
};

export type SnapshotDeps = {
  cluster: ClusterName;
  catalogue: Catalogue;
  stores: readonly Store[];
  /** the same stores, with what locks them */
  destinations: readonly Destination[];
  kms: readonly KmsKey[];
  breakGlass: readonly string[];
  recipientPolicy: RecipientPolicy;
  identities: readonly Secret<string>[];
  spool: SpoolOptions;
  log: Log;
  onProgress: OnProgress;
};
