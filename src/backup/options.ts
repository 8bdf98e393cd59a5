/** What a backup needs from whoever runs it. `app.ts` makes it from the config; tests make it by hand. */
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Manifest } from '../catalogue/manifest.ts';
import type { ClusterName, RunId } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { OnProgress } from '../core/progress.ts';
import type { Clock } from '../core/units.ts';
import type { KmsKey } from '../crypt/kms.ts';
import type { RecipientPolicy } from '../crypt/policy.ts';
import type { Signer } from '../crypt/sign.ts';
import type { LeaseDeps, TakeOptions } from '../lease/lease.ts';
import type { RetentionPolicy } from '../retention/facts.ts';
import type { LockLimits } from '../retention/lock-until.ts';
import type { SpoolOptions } from '../spool/spool.ts';
import type { ProofKind } from '../store/prove-copy.ts';
import type { LockMode, Store } from '../store/store.ts';
import type { VaultCluster } from '../vault/cluster.ts';

export type Destination = {
  store: Store;
  /**
   * keep every object of a snapshot against deletion for so long, in milliseconds; with `follow` until the policy could let go of
   * it, and `keepMs` is for what is stored before that is known
   */
  lock: { mode: LockMode; keepMs: number; follow?: { policy: RetentionPolicy; limits: LockLimits } } | null;
};

export type BackupLimits = {
  /** tries of the snapshot itself, the first included */
  attempts: number;
  /** wait before the second try, in milliseconds; doubles */
  retryBaseMs: number;
  /** how long one try waits for a node to be active, in milliseconds: an election is no reason to use up a try */
  electionMs: number;
  /** the longest that one GET of a snapshot may take, in milliseconds */
  snapshotTimeoutMs: number;
  /** fall of records or bytes against the last good snapshot that is a warning, 0 to 1 */
  warnFall: number;
  /** the fall that fails the run, 0 to 1 */
  maxFall: number;
};

export type BackupDeps = {
  cluster: ClusterName;
  vault: VaultCluster;
  catalogue: Catalogue;
  destinations: readonly Destination[];
  /** how many destinations must hold a proven copy; all of them under the policy `all` */
  requiredCopies: number;
  prove: ProofKind;
  kms: readonly KmsKey[];
  breakGlass: readonly string[];
  recipientPolicy: RecipientPolicy;
  /** the seal's own key, to be probed before any byte is asked for; null = not configured */
  sealKms: KmsKey | null;
  signer: Signer;
  /** the raft inventory; empty = not configured */
  members: readonly { id: string; address: string }[];
  spool: SpoolOptions;
  limits: BackupLimits;
  /** how the cluster's lease is taken, and how this run is named to those who find it taken */
  lease: Pick<LeaseDeps, 'ttlMs' | 'self' | 'onWaited'> & Pick<TakeOptions, 'waitMs' | 'door'>;
  /** a backup that began at this time or later is the one that this run was to make; null = it makes its own in any case */
  unlessSince: Date | null;
  /** text of the README that explains a destination, by its name, to whoever finds it; null = none is written */
  readmeOf: (destination: string) => string | null;
  toolVersion: string;
  clock: Clock;
  log: Log;
  onProgress: OnProgress;
};

export type BackupOptions = {
  /** `safety`: of the target of a restore. It continues no lineage, and the pointer to the newest backup stays where it is */
  purpose: Manifest['purpose'];
  /** accept an index, cluster id, size or record count that does not continue the last good snapshot */
  newLineage: boolean;
  /** the run that this is the work of; default: a new one */
  run?: RunId;
};
