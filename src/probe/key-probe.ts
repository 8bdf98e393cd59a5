/**
 * One KMS key, tried as it is used: by an Encrypt. A server notices up to ten minutes late that the key of its seal is dead,
 * and calls itself healthy all the while; until then every snapshot of it is a stump.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { KMSClient } from '@aws-sdk/client-kms';
import { openKmsClient } from '../aws-clients.ts';
import type { KmsKeyConfig } from '../config/schema.ts';
import { describeError, isError, StrongroomError } from '../core/errors.ts';
import type { ClusterName } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import { Secret } from '../core/secret.ts';
import type { Clock } from '../core/units.ts';
import { KmsKey } from '../crypt/kms.ts';
import { parseKeyArn } from '../crypt/kms-arn.ts';

/** `seal`: opens the cluster; `wrap`: wraps the identities of its snapshots. */
export type KeyUse = 'seal' | 'wrap';

/** What is known of one key. What was never found out is null. */
export type KeyFacts = {
  /** last part of its ARN */
  key: string;
  region: string;
  use: KeyUse;
  /** when it was last tried */
  triedAt: Date | null;
  isUp: boolean;
  lastSuccessAt: Date | null;
  /** as KMS names it; null also where the login may not ask */
  state: string | null;
  /** null = none is pending, or unknown */
  deletionAt: Date | null;
};

export type KeyProbeOptions = {
  cluster: ClusterName;
  use: KeyUse;
  key: KmsKeyConfig;
  clock: Clock;
  log: Log;
  /** until a failure that may pass is tried again before it is believed, in milliseconds */
  confirmMs: number;
};

/** A healthy key is asked for its state so often, in milliseconds: what cannot wait, its Encrypt tells. */
const DESCRIBE_EVERY_MS = 10 * 60_000;
/** Words of the policy for the probe of a seal: it opens nothing, and is known in logs. */
const SNAPSHOT = { seal: 'seal-probe', wrap: 'key-probe' } as const;

/** Whoever made it closes it. */
export class KeyProbe {
  readonly #options: KeyProbeOptions;
  readonly facts: KeyFacts;
  #opened: { client: KMSClient; key: KmsKey } | null = null;
  #describedAt = Number.NEGATIVE_INFINITY;
  #told: string | null = null;

  /** `known` = facts of the same key from before. */
  constructor(options: KeyProbeOptions, known: KeyFacts | null = null) {
    this.#options = options;
    const { id: key, region } = parseKeyArn(options.key.keyId);
    const nothing = { triedAt: null, isUp: false, lastSuccessAt: null, state: null, deletionAt: null };
    this.facts = { ...nothing, ...known, key, region, use: options.use };
  }

  /** Tries the key; `deadline` ends the try, and then it failed. Rejects only when `signal` aborts. */
  async probe(deadline: AbortSignal, signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([deadline, signal]);
    const error = await this.#tryTwice(either, signal);
    const { clock } = this.#options;
    this.facts.triedAt = clock.now();
    this.facts.isUp = error === null;
    if (error === null) this.facts.lastSuccessAt = this.facts.triedAt;
    this.#tell(error);
    await this.#look(error !== null, either, signal);
  }

  close(): void {
    this.#opened?.client.destroy();
    this.#opened = null;
  }

  async #tryTwice(either: AbortSignal, signal: AbortSignal): Promise<StrongroomError | null> {
    const first = await this.#try(either, signal);
    if (first === null || !first.retryable || either.aborted) return first;
    try {
      await delay(this.#options.confirmMs, undefined, { signal: either });
    } catch {
      signal.throwIfAborted();
      return first;
    }
    return await this.#try(either, signal);
  }

  /** null = it encrypted. */
  async #try(either: AbortSignal, signal: AbortSignal): Promise<StrongroomError | null> {
    const { cluster, use } = this.#options;
    try {
      const key = await this.#open(either);
      await key.wrap(new Secret('probe'), { cluster, snapshot: SNAPSHOT[use] }, either);
      return null;
    } catch (e) {
      signal.throwIfAborted();
      // The next try reads the credentials anew, and makes new connections.
      this.close();
      return this.#ours(e, either);
    }
  }

  /** Its state, when it is time for that. A login may lack the right to ask, and an answer may be lost: then it is unknown. */
  async #look(isDown: boolean, either: AbortSignal, signal: AbortSignal): Promise<void> {
    const isQuiet = this.facts.state === null || this.facts.state === 'Enabled';
    if (!isDown && isQuiet && performance.now() - this.#describedAt < DESCRIBE_EVERY_MS) return;
    try {
      const found = await (await this.#open(either)).describe(either);
      this.facts.state = found?.state ?? null;
      this.facts.deletionAt = found?.deletionAt ?? null;
      this.#describedAt = performance.now();
    } catch (e) {
      signal.throwIfAborted();
      this.close();
      this.#describedAt = Number.NEGATIVE_INFINITY;
      // A deletion that was announced takes place whether we are told again or not; anything else may have changed.
      if (this.facts.deletionAt === null) this.facts.state = null;
      const { cluster, log } = this.#options;
      log.debug({ cluster, key: this.facts.key, err: describeError(e) }, 'the state of a KMS key is not known');
    }
  }

  async #open(signal: AbortSignal): Promise<KmsKey> {
    if (this.#opened !== null) return this.#opened.key;
    const { key: config } = this.#options;
    const client = await openKmsClient(config, signal);
    const key = new KmsKey({ client, keyId: config.keyId, region: config.region });
    this.#opened = { client, key };
    return key;
  }

  #ours(e: unknown, either: AbortSignal): StrongroomError {
    const { keyId } = this.#options.key;
    if (either.aborted) return new StrongroomError('E_TIMEOUT', `the probe of ${keyId} takes too long`, { cause: e });
    return isError(e) ? e : new StrongroomError('E_BUG', `the probe of ${keyId} failed`, { cause: e });
  }

  /** Once for each change: a key that is dead for a day is no reason for a thousand lines. */
  #tell(error: StrongroomError | null): void {
    const { cluster, log } = this.#options;
    const { key, use } = this.facts;
    if (error !== null && error.code !== this.#told) {
      log.error({ cluster, key, use, err: error.toJSON() }, 'a KMS key does not encrypt');
    } else if (error === null && this.#told !== null) {
      log.info({ cluster, key, use }, 'a KMS key encrypts again');
    }
    this.#told = error?.code ?? null;
  }
}
