/** The composition root: a config becomes clients, stores and keys. */
import type { KMSClient } from '@aws-sdk/client-kms';
import type { S3Client } from '@aws-sdk/client-s3';
import type { OpenOptions, RestoreAppOptions, SnapshotDeps } from './app-options.ts';
import {
  destinationLock,
  followOf,
  noRetention,
  noSigner,
  pruneRefusal,
  readAuth,
  recipientPolicy,
} from './app-secrets.ts';
import { s3StoreOptions } from './aws-clients.ts';
import { AwsPool, type Lent } from './aws-pool.ts';
import type { BackupDeps, Destination } from './backup/options.ts';
import { Catalogue } from './catalogue/catalogue.ts';
import { Records } from './catalogue/records.ts';
import { type ClusterConfig, clusterConfig, readRecipients } from './config/cluster-config.ts';
import type { Config } from './config/load.ts';
import { retentionOf } from './config/retention.ts';
import type { DestinationConfig, KmsKeyConfig } from './config/schema.ts';
import { traceUrl } from './config/tracing.ts';
import type { RunId, SnapshotId } from './core/ids.ts';
import { type Log, openLog } from './core/log.ts';
import { type OnProgress, unwatched } from './core/progress.ts';
import type { Secret } from './core/secret.ts';
import { systemClock } from './core/units.ts';
import { KmsKey } from './crypt/kms.ts';
import { kmsSigner } from './crypt/kms-signer.ts';
import { DECLINE_KMS } from './crypt/policy.ts';
import { localSigner, type Signer } from './crypt/sign.ts';
import { type Fence, LEASE_TTL_MS, type Lease, type TakeOptions } from './lease/lease.ts';
import { takeLease } from './lease/take.ts';
import type { StatusDeps } from './observe/cluster-status.ts';
import { recoveryPageOf } from './recovery.ts';
import type { Held, RestoreDeps, SafetySnapshot } from './restore/options.ts';
import type { PruneDeps } from './retention/prune.ts';
import type { PruneDestination } from './retention/prune-plan.ts';
import type { SpoolOptions } from './spool/spool.ts';
import { FileStore } from './store/file.ts';
import { S3Store } from './store/s3.ts';
import type { Store } from './store/store.ts';
import { openTracing, type Tracing } from './trace/tracing.ts';
import type { VaultAuth } from './vault/auth.ts';
import { VaultCluster } from './vault/cluster.ts';
import { TOOL_VERSION } from './version.ts';

/** Wait before the second try of a snapshot. */
const RETRY_BASE_MS = 2_000;
/** After the death of a leader: up to 15 s until raft notices and elects, and some for the new one to become active. */
const ELECTION_MS = 30_000;

/** On the day of a restore the destinations may be silent, and nobody waits minutes to be told so. */
const RESTORE_PATIENCE_MS = 30_000;

/** One config, opened for one command. The owner disposes it: tokens are revoked and connections closed. */
export class App implements AsyncDisposable {
  readonly config: Config;
  readonly log: Log;
  readonly #onProgress: OnProgress;
  readonly #door: string;
  readonly #onLockWait: (ms: number) => void;
  readonly #askedAt: Date | null;
  readonly #stack = new AsyncDisposableStack();
  readonly #aws: AwsPool;
  readonly #stores = new Map<string, Store>();
  #tracing: Promise<Tracing> | undefined;

  constructor(config: Config, options: OpenOptions = {}) {
    this.config = config;
    this.log = options.log ?? openLog(config.log);
    this.#onProgress = options.onProgress ?? unwatched;
    this.#door = options.door ?? 'strongroom';
    this.#askedAt = options.askedAt ?? null;
    this.#aws = options.aws ?? this.#stack.use(new AwsPool());
    this.#onLockWait = options.onLockWait ?? (() => undefined);
    if (options.tracing !== undefined) this.#tracing = Promise.resolve(options.tracing);
  }

  /** Where runs are traced. Never rejects, and loads nothing where there is no collector. */
  async tracing(): Promise<Tracing> {
    this.#tracing ??= openTracing(traceUrl(this.config.tracing, process.env), this.log).then((opened) =>
      this.#stack.use(opened),
    );
    return await this.#tracing;
  }

  /** Everything a backup of `name` needs. Reads secrets and opens no connection yet. */
  async backupDeps(name: string, signal: AbortSignal): Promise<BackupDeps> {
    const cluster = clusterConfig(this.config, name);
    const signer = await this.signer(signal);
    if (signer === null) throw noSigner('a backup is signed');
    const destinations = await this.#destinations(cluster, signal);
    const breakGlass = await readRecipients(cluster.encryption.breakGlass, signal);
    const publicKey = await signer.publicKeyPem(signal);
    return {
      cluster: cluster.name,
      vault: await this.#vault(cluster, await readAuth(cluster.auth, signal), signal),
      catalogue: await this.#catalogue(cluster, destinations, signal),
      destinations,
      requiredCopies: cluster.writePolicy.copies,
      prove: cluster.prove,
      kms: await this.#kmsKeys(cluster.encryption.kms, signal),
      breakGlass,
      recipientPolicy: recipientPolicy(cluster),
      sealKms: cluster.sealKms === undefined ? null : await this.#kmsKey(cluster.sealKms, signal),
      signer,
      members: cluster.members,
      spool: this.spool,
      lease: { ttlMs: LEASE_TTL_MS, waitMs: 0, door: this.#door, onWaited: this.#onLockWait },
      unlessSince: this.#askedAt,
      limits: {
        ...cluster.backup,
        snapshotTimeoutMs: cluster.backup.snapshotTimeout,
        retryBaseMs: RETRY_BASE_MS,
        electionMs: ELECTION_MS,
      },
      readmeOf: (destination) => {
        const options = this.config.destinations[destination];
        return options === undefined ? null : recoveryPageOf(cluster, options, { breakGlass, signing: [publicKey] });
      },
      toolVersion: TOOL_VERSION,
      clock: systemClock,
      log: this.log,
      onProgress: this.#onProgress,
    };
  }

  /** Everything a restore of a snapshot of `name` needs. */
  async restoreDeps(name: string, options: RestoreAppOptions, signal: AbortSignal): Promise<RestoreDeps> {
    const cluster = clusterConfig(this.config, name);
    const into = clusterConfig(this.config, options.into ?? name);
    const destinations = await this.#destinations(cluster, signal);
    const { targetToken } = options;
    // After the install the users and roles are those of the source, on the nodes of the target.
    const { namespace: _, ...nodes } = into;
    const source = { ...nodes, ...(cluster.namespace === undefined ? {} : { namespace: cluster.namespace }) };
    const restored = await this.#vault(source, await readAuth(cluster.auth, signal), signal);
    let target = restored;
    if (targetToken !== null) target = await this.#vault(into, { method: 'token', token: targetToken }, signal);
    else if (into.name !== cluster.name) target = await this.#vault(into, await readAuth(into.auth, signal), signal);
    return {
      cluster: cluster.name,
      into: into.name,
      target,
      restored,
      takeSafety: options.withSafety ? (held, abort) => this.#takeSafety(into.name, target, held, abort) : null,
      takeLease: (run, abort) => this.#takeLease(into, run, abort),
      askRestart: options.askRestart,
      catalogue: await this.#catalogue(cluster, destinations, signal),
      stores: destinations.map(({ store }) => store),
      kms: await this.#kmsKeys(cluster.encryption.kms, signal),
      identities: await this.#identities(cluster, signal),
      spool: this.spool,
      nextShare: options.nextShare,
      clock: systemClock,
      log: this.log,
      onProgress: this.#onProgress,
    };
  }

  /**
   * The records of one cluster: what ran, what was proven, what is held. `isReadOnly` = also where the signing key is not at
   * hand, as long as `signing.trusted` says whose signatures count.
   */
  async records(
    name: string,
    signal: AbortSignal,
    { isReadOnly = false }: { isReadOnly?: boolean } = {},
  ): Promise<Records> {
    const cluster = clusterConfig(this.config, name);
    const stores = (await this.#destinations(cluster, signal)).map(({ store }) => store);
    const signer = isReadOnly ? null : await this.signer(signal);
    return new Records({ cluster: cluster.name, stores, trusted: await this.#trusted(signal), signer });
  }

  /** Catalogue, records and stores of one cluster, to see how safe it is. No key is asked for. */
  async statusDeps(name: string, signal: AbortSignal): Promise<StatusDeps> {
    const cluster = clusterConfig(this.config, name);
    const destinations = await this.#destinations(cluster, signal);
    const stores = destinations.map(({ store }) => store);
    const parts = { cluster: cluster.name, stores, trusted: await this.#trusted(signal) };
    const locked = destinations.flatMap(({ store, lock }) => (lock === null ? [] : [store.name]));
    return { stores, locked, catalogue: new Catalogue(parts), records: new Records({ ...parts, signer: null }) };
  }

  /** Everything a prune of `name` needs. Rejects with E_CONFIG_INVALID where no retention is configured: then nothing is ever pruned. */
  async pruneDeps(name: string, signal: AbortSignal): Promise<PruneDeps> {
    const cluster = clusterConfig(this.config, name);
    const stores = await this.#destinations(cluster, signal);
    const catalogue = await this.#catalogue(cluster, stores, signal);
    const destinations = cluster.destinations.map(({ name: destination, options }, i): PruneDestination => {
      const policy = retentionOf(cluster.retention, destination);
      const store = stores[i]?.store;
      if (policy === null || store === undefined) throw noRetention(cluster.name);
      return { store, policy, follow: followOf(options), ...pruneRefusal(destination, options) };
    });
    return {
      cluster: cluster.name,
      catalogue,
      clock: systemClock,
      log: this.log,
      records: await this.records(name, signal),
      destinations,
      takeLease: async (run, abort) => {
        if ((await this.signer(abort)) === null) throw noSigner('what a prune removes is put on record and signed');
        return await this.takeLease(name, { run, need: 'all', waitMs: 0 }, abort);
      },
    };
  }

  /**
   * The lease of `name` for a run that changes what its destinations hold. What a former holder was about to publish is fenced where
   * there is something to sign with, and else stays on record for the next. Rejects as takeLease() does.
   */
  async takeLease(
    name: string,
    options: Pick<TakeOptions, 'run' | 'need' | 'waitMs'>,
    signal: AbortSignal,
  ): Promise<Lease> {
    const cluster = clusterConfig(this.config, name);
    const destinations = await this.#destinations(cluster, signal);
    const stores = destinations.map(({ store }) => store);
    const held = { cluster: cluster.name, stores, clock: systemClock, log: this.log, ttlMs: LEASE_TTL_MS };
    const deps = { ...held, onWaited: this.#onLockWait };
    const fence: Fence = async (...args) => {
      const [signer, { tombstones }] = await Promise.all([this.signer(args[2]), import('./backup/fence.ts')]);
      if (signer === null) return [];
      const catalogue = await this.#catalogue(cluster, destinations, args[2]);
      return await tombstones({ ...deps, catalogue, signer }, options.run)(...args);
    };
    return await takeLease(deps, { ...options, door: this.#door, fence }, signal);
  }

  /** Catalogue, stores and keys of one cluster, for commands that do not talk to it. */
  async snapshotDeps(name: string, signal: AbortSignal): Promise<SnapshotDeps> {
    const cluster = clusterConfig(this.config, name);
    const destinations = await this.#destinations(cluster, signal);
    return {
      cluster: cluster.name,
      catalogue: await this.#catalogue(cluster, destinations, signal),
      stores: destinations.map(({ store }) => store),
      destinations,
      kms: await this.#kmsKeys(cluster.encryption.kms, signal),
      breakGlass: await readRecipients(cluster.encryption.breakGlass, signal),
      recipientPolicy: recipientPolicy(cluster),
      identities: await this.#identities(cluster, signal),
      spool: this.spool,
      log: this.log,
      onProgress: this.#onProgress,
    };
  }

  /** One copy is enough, and one kind of key: on the day of a restore a destination or KMS may well be down. */
  async #takeSafety(name: string, vault: VaultCluster, held: Held, signal: AbortSignal): Promise<SafetySnapshot> {
    const [{ backupWithin }, configured] = await Promise.all([
      import('./backup/within.ts'),
      this.backupDeps(name, signal),
    ]);
    const hasBreakGlass = configured.breakGlass.length > 0;
    const recipientPolicy = hasBreakGlass
      ? { minKmsWraps: 0, minBreakGlass: 1, accept: { noKms: DECLINE_KMS } }
      : configured.recipientPolicy;
    const deps = { ...configured, vault, requiredCopies: 1, recipientPolicy };
    const { manifest, missing } = await backupWithin(deps, { purpose: 'safety', newLineage: true }, held, signal);
    return { snapshot: manifest.snapshot as SnapshotId, missing: missing.map(({ what }) => what) };
  }

  /** A restore machine may have no signing key: what is to be fenced stays on record for the next backup. */
  async #takeLease(into: ClusterConfig, run: RunId, signal: AbortSignal): Promise<Lease> {
    const stores = (await this.#destinations(into, signal)).map(({ store }) => store);
    return await takeLease(
      { cluster: into.name, stores, clock: systemClock, log: this.log, ttlMs: LEASE_TTL_MS },
      { need: 'any', waitMs: 0, answerMs: RESTORE_PATIENCE_MS, run, door: this.#door, fence: null },
      signal,
    );
  }

  /** The cluster itself, with its own login. Opens no connection yet. */
  async vault(cluster: ClusterConfig, signal: AbortSignal): Promise<VaultCluster> {
    return await this.#vault(cluster, await readAuth(cluster.auth, signal), signal);
  }

  get spool(): SpoolOptions {
    const { directory, maxBytes, reserveBytes } = this.config.spool;
    return { directory, maxBytes, reserveBytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #vault(cluster: ClusterConfig, auth: VaultAuth, signal: AbortSignal): Promise<VaultCluster> {
    const { tls, kubernetes, nodes, namespace } = cluster;
    const [ca, cert, key] = await Promise.all([
      tls.ca?.resolve(signal),
      tls.cert?.resolve(signal),
      tls.key?.resolve(signal),
    ]);
    const vault = new VaultCluster({
      name: cluster.name,
      nodes:
        kubernetes === undefined
          ? (nodes ?? [])
          : {
              kubernetes: {
                namespace: kubernetes.namespace,
                port: kubernetes.port,
                scheme: kubernetes.scheme,
                ...(kubernetes.service === undefined ? {} : { headlessService: kubernetes.service }),
                ...(kubernetes.labelSelector === undefined ? {} : { labelSelector: kubernetes.labelSelector }),
              },
            },
      tls: {
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
        ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
        insecureSkipVerify: tls.dangerouslySkipVerification,
      },
      auth,
      ...(namespace === undefined ? {} : { namespace }),
      log: this.log,
    });
    return this.#stack.use(vault);
  }

  async #destinations(cluster: ClusterConfig, signal: AbortSignal): Promise<Destination[]> {
    const destinations: Destination[] = [];
    for (const { name, options } of cluster.destinations) {
      const store = this.#stores.get(name) ?? (await this.#store(name, options, signal));
      this.#stores.set(name, store);
      destinations.push({ store, lock: destinationLock(options, retentionOf(cluster.retention, name)) });
    }
    return destinations;
  }

  async #store(name: string, options: DestinationConfig, signal: AbortSignal): Promise<Store> {
    if (options.type === 'directory') return this.#stack.use(new FileStore({ name, directory: options.path }));
    const store = new S3Store({
      ...s3StoreOptions(name, options, this.#borrow(await this.#aws.s3(options, signal))),
      onLeftover: (upload, e) =>
        this.log.warn({ store: name, key: upload.key, err: String(e) }, 'an unfinished upload could not be aborted'),
    });
    return this.#stack.use(store);
  }

  #borrow<T extends S3Client | KMSClient>(lent: Lent<T>): T {
    return this.#stack.use(lent).client;
  }

  async #kmsKeys(keys: readonly KmsKeyConfig[], signal: AbortSignal): Promise<KmsKey[]> {
    return await Promise.all(keys.map((key) => this.#kmsKey(key, signal)));
  }

  async #kmsKey(key: KmsKeyConfig, signal: AbortSignal): Promise<KmsKey> {
    return new KmsKey({ client: this.#borrow(await this.#aws.kms(key, signal)), keyId: key.keyId, region: key.region });
  }

  /** What signs manifests; null when the config has nothing to sign with, as on a machine that only restores. */
  async signer(signal: AbortSignal): Promise<Signer | null> {
    const { key, kms } = this.config.signing;
    if (key !== undefined) return localSigner(await key.resolve(signal));
    return kms === undefined
      ? null
      : kmsSigner({ client: this.#borrow(await this.#aws.kms(kms, signal)), keyId: kms.keyId });
  }

  async #catalogue(cluster: ClusterConfig, destinations: Destination[], signal: AbortSignal): Promise<Catalogue> {
    const stores = destinations.map(({ store }) => store);
    return new Catalogue({ cluster: cluster.name, stores, trusted: await this.#trusted(signal) });
  }

  /** Public keys whose signatures count: those of the config, or that of our own signer. */
  async #trusted(signal: AbortSignal): Promise<string[]> {
    const configured = await Promise.all(this.config.signing.trusted.map((ref) => ref.resolve(signal)));
    const own = configured.length > 0 ? null : await this.signer(signal);
    return own === null ? configured : [await own.publicKeyPem(signal)];
  }

  async #identities(cluster: ClusterConfig, signal: AbortSignal): Promise<Secret<string>[]> {
    return await Promise.all(cluster.encryption.identities.map((ref) => ref.resolve(signal)));
  }
}
